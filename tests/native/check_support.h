// Devices, kernels and expectations for the native tests of checked mode.
#pragma once

#include "api/cuda_types.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
CUresult cuInit(unsigned);
CUresult cuDevicePrimaryCtxRetain(CUcontext*, CUdevice);
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxSynchronize();
CUresult cuMemAlloc_v2(CUdeviceptr*, size_t);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemFreeAsync(CUdeviceptr, CUstream);
CUresult cuMemHostAlloc(void**, size_t, unsigned);
CUresult cuMemFreeHost(void*);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void*, size_t);
CUresult cuMemcpyDtoH_v2(void*, CUdeviceptr, size_t);
CUresult cuMemcpyDtoD_v2(CUdeviceptr, CUdeviceptr, size_t);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr, const void*, size_t, CUstream);
CUresult cuMemcpyDtoHAsync_v2(void*, CUdeviceptr, size_t, CUstream);
CUresult cuStreamCreate(CUstream*, unsigned);
CUresult cuStreamDestroy_v2(CUstream);
CUresult cuStreamSynchronize(CUstream);
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned);
CUresult cuStreamBeginCapture_v2(CUstream, int);
CUresult cuStreamEndCapture(CUstream, CUgraph*);
CUresult cuEventCreate(CUevent*, unsigned);
CUresult cuEventDestroy_v2(CUevent);
CUresult cuEventRecord(CUevent, CUstream);
CUresult cuModuleLoadData(CUmodule*, const void*);
CUresult cuModuleUnload(CUmodule);
CUresult cuModuleGetFunction(CUfunction*, CUmodule, const char*);
CUresult cuFuncSetAttribute(CUfunction, int, int);
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**);
nvrtcResult nvrtcCreateProgram(nvrtcProgram*, const char*, const char*, int, const char* const*, const char* const*);
nvrtcResult nvrtcDestroyProgram(nvrtcProgram*);
nvrtcResult nvrtcCompileProgram(nvrtcProgram, int, const char* const*);
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram, size_t*);
nvrtcResult nvrtcGetCUBIN(nvrtcProgram, char*);
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram, size_t*);
nvrtcResult nvrtcGetProgramLog(nvrtcProgram, char*);
int griffinEmuAddDevice(const GriffinEmuDeviceConfig*);
int griffinEmuLastFault(char*, int);
}

namespace check_test {

[[noreturn]] inline void stop(const char* what, int code) {
    printf("cannot go on: %s returned %d\n", what, code);
    exit(2);
}

// For the calls that a test is not about.
#define MUST(call)                                                                  \
    do {                                                                            \
        const int must_code = static_cast<int>(call);                               \
        if (must_code != 0) check_test::stop(#call, must_code);                     \
    } while (false)

inline int failures = 0;
inline const char* running = "";

inline void fail(const std::string& text) {
    printf("FAILED %s: %s\n", running, text.c_str());
    ++failures;
}

#define EXPECT(condition)                                            \
    do {                                                             \
        if (!(condition)) check_test::fail("not true: " #condition); \
    } while (false)

// A program under its source name; the line of a `// @name` marker is looked up in the text.
class Source {
public:
    Source(const char* name, const char* text) : _name(name), _text(text) {}

    std::string line(const std::string& marker) const {
        const size_t at = _text.find("// @" + marker + "\n");
        if (at == std::string::npos) stop(marker.c_str(), 0);
        int number = 1;
        for (size_t i = 0; i < at; ++i) number += _text[i] == '\n';
        return _name + ":" + std::to_string(number);
    }

    const std::string& image() {
        if (!_image.empty()) return _image;
        nvrtcProgram program;
        MUST(nvrtcCreateProgram(&program, _text.c_str(), _name.c_str(), 0, nullptr, nullptr));
        const char* options[] = {"--std=c++17", "--fmad=false", "--gpu-architecture=sm_80", "--griffin-checked"};
        const nvrtcResult result = nvrtcCompileProgram(program, 4, options);
        if (result != NVRTC_SUCCESS) {
            size_t bytes = 0;
            nvrtcGetProgramLogSize(program, &bytes);
            std::string log(bytes, ' ');
            nvrtcGetProgramLog(program, log.data());
            printf("%s\n", log.c_str());
            stop("nvrtcCompileProgram", result);
        }
        size_t bytes = 0;
        MUST(nvrtcGetCUBINSize(program, &bytes));
        _image.resize(bytes);
        MUST(nvrtcGetCUBIN(program, _image.data()));
        MUST(nvrtcDestroyProgram(&program));
        return _image;
    }

private:
    std::string _name, _text, _image;
};

struct Options {
    int minor = 0;           // compute capability 8.0 or 8.6
    bool count = false;
    uint64_t seed = 1;
    int workers = 2;
};

// A checked device of its own, current on the calling thread, with one program loaded.
class Device {
public:
    explicit Device(Source& source, Options options = {}) : Device(source.image(), options) {}
    explicit Device(const std::string& image, Options options) {
        MUST(cuInit(0));
        const GriffinEmuDeviceConfig config{8, options.minor, 1, options.count, options.seed, options.workers, 0};
        ordinal = griffinEmuAddDevice(&config);
        if (ordinal < 1) stop("griffinEmuAddDevice", ordinal);
        CUcontext context;
        MUST(cuDevicePrimaryCtxRetain(&context, ordinal));
        MUST(cuCtxSetCurrent(context));
        MUST(cuModuleLoadData(&_module, image.data()));
    }
    ~Device() {
        cuCtxSetCurrent(nullptr);
        cuDevicePrimaryCtxRelease_v2(ordinal);
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    int ordinal;

    template <class T> CUdeviceptr allocate(size_t count) {
        CUdeviceptr address = 0;
        MUST(cuMemAlloc_v2(&address, count * sizeof(T)));
        return address;
    }
    template <class T> CUdeviceptr upload(const std::vector<T>& values) {
        const CUdeviceptr address = allocate<T>(values.size());
        MUST(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)));
        return address;
    }
    template <class T> std::vector<T> download(CUdeviceptr address, size_t count) {
        std::vector<T> values(count);
        MUST(cuMemcpyDtoH_v2(values.data(), address, count * sizeof(T)));
        return values;
    }

    CUfunction kernel(const char* name) {
        CUfunction function;
        MUST(cuModuleGetFunction(&function, _module, name));
        return function;
    }

    struct Shape {
        unsigned grid = 1, block = 64, shared = 0;
        CUstream stream = nullptr;
    };
    template <class... A> CUresult launch(const char* name, Shape shape, A... arguments) {
        void* pointers[] = {&arguments..., nullptr};
        return cuLaunchKernel(kernel(name), shape.grid, 1, 1, shape.block, 1, 1, shape.shared, shape.stream, pointers, nullptr);
    }
    // Launches and waits.
    template <class... A> CUresult run(const char* name, Shape shape, A... arguments) {
        const CUresult launched = launch(name, shape, arguments...);
        return launched != CUDA_SUCCESS ? launched : cuCtxSynchronize();
    }

    // The launch must end with the code, and the text of the fault must hold every part.
    template <class... A>
    void expect_fault(CUresult code, const std::vector<std::string>& parts, const char* name, Shape shape, A... arguments) {
        const CUresult result = run(name, shape, arguments...);
        const std::string text = last_fault();
        if (result != code) fail("expected " + std::to_string(code) + ", got " + std::to_string(result) + ": " + text);
        for (const std::string& part : parts)
            if (text.find(part) == std::string::npos) fail("\"" + part + "\" is not in: " + text);
    }
    template <class... A> void expect_success(const char* name, Shape shape, A... arguments) {
        const CUresult result = run(name, shape, arguments...);
        if (result != CUDA_SUCCESS) fail("got " + std::to_string(result) + ": " + last_fault());
    }

    static std::string last_fault() {
        std::string text(4096, '\0');
        griffinEmuLastFault(text.data(), static_cast<int>(text.size()));
        return text.c_str();
    }

private:
    CUmodule _module = nullptr;
};

struct Test {
    const char* name;
    std::function<void()> body;
};

// Runs every test, or the one that is named on the command line.
inline int run_tests(const std::vector<Test>& tests, int count, char** arguments) {
    int ran = 0;
    for (const Test& test : tests) {
        if (count > 1 && strcmp(arguments[1], test.name) != 0) continue;
        running = test.name;
        test.body();
        ++ran;
    }
    printf("%d tests, %d failures\n", ran, failures);
    return failures != 0 || ran == 0;
}

} // namespace check_test
