// A test program's cases, checks and device: as little as the tests need.
#pragma once

#include "cuda_api.h"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace testing {

struct Case { const char* name; std::function<void()> body; };

inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

struct Registration {
    Registration(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

inline void report(bool passed, const char* file, int line, const std::string& text) {
    if (passed) return;
    ++failures();
    std::printf("%s:%d: %s\n", file, line, text.c_str());
}

inline std::string error_name(CUresult code) {
    const char* name = nullptr;
    cuGetErrorName(code, &name);
    return (name ? name : "unknown") + std::string(" (") + std::to_string(code) + ")";
}

inline std::string last_fault() {
    char text[4096] = "";
    griffinEmuLastFault(text, sizeof(text));
    return text;
}

inline int run_all() {
    for (const Case& test : cases()) {
        int before = failures();
        test.body();
        std::printf("%s %s\n", failures() == before ? "passed" : "FAILED", test.name);
    }
    std::printf("%zu cases, %d failed checks\n", cases().size(), failures());
    return failures() == 0 ? 0 : 1;
}

// A device of its own with its primary context current.
class Device {
public:
    explicit Device(bool checked = false, uint64_t seed = 1, int minor = 0, int workers = 0, int64_t memory = 0, bool count = false) {
        GriffinEmuDeviceConfig config{8, minor, checked, count, seed, workers, memory};
        cuInit(0);
        _ordinal = griffinEmuAddDevice(&config);
        _checked = checked;
        cuDevicePrimaryCtxRetain(&context, _ordinal);
        cuCtxSetCurrent(context);
    }
    ~Device() {
        cuDevicePrimaryCtxRelease_v2(_ordinal);
        cuCtxSetCurrent(nullptr);
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    bool checked() const { return _checked; }
    int ordinal() const { return _ordinal; }

    CUcontext context = nullptr;

private:
    int _ordinal;
    bool _checked;
};

// Compiles for the device; an empty image and the log when that fails.
inline std::string compile(const Device& device, const std::string& source, const std::vector<std::string>& expressions, std::string& log,
                           std::vector<std::string>& lowered, std::vector<const char*> options = {}) {
    nvrtcProgram program = nullptr;
    nvrtcCreateProgram(&program, source.c_str(), "test_kernel.cu", 0, nullptr, nullptr);
    for (const std::string& expression : expressions) nvrtcAddNameExpression(program, expression.c_str());
    options.push_back("--gpu-architecture=sm_80");
    if (device.checked()) options.push_back("--griffin-checked");
    nvrtcResult result = nvrtcCompileProgram(program, static_cast<int>(options.size()), options.data());
    size_t bytes = 0;
    nvrtcGetProgramLogSize(program, &bytes);
    log.resize(bytes);
    nvrtcGetProgramLog(program, log.data());
    log.resize(bytes - 1);
    std::string image;
    if (result == 0) {
        nvrtcGetCUBINSize(program, &bytes);
        image.resize(bytes);
        nvrtcGetCUBIN(program, image.data());
        for (const std::string& expression : expressions) {
            const char* name = nullptr;
            nvrtcGetLoweredName(program, expression.c_str(), &name);
            lowered.push_back(name ? name : "");
        }
    }
    nvrtcDestroyProgram(&program);
    return image;
}

// One kernel of a program, loaded. Ends the test program when it does not compile.
class Kernel {
public:
    Kernel(const Device& device, const std::string& source, const std::string& expression) {
        std::string log;
        std::vector<std::string> lowered;
        std::string image = compile(device, source, {expression}, log, lowered);
        if (image.empty()) {
            std::printf("%s does not compile:\n%s\n", expression.c_str(), log.c_str());
            std::exit(1);
        }
        CUresult result = cuModuleLoadData(&_module, image.data());
        if (result == 0) result = cuModuleGetFunction(&function, _module, lowered[0].c_str());
        if (result != 0) {
            std::printf("%s does not load: %s %s\n", expression.c_str(), error_name(result).c_str(), last_fault().c_str());
            std::exit(1);
        }
    }
    ~Kernel() { cuModuleUnload(_module); }
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    template <class... A> CUresult launch(CUstream stream, unsigned grid, unsigned block, unsigned shared, A... arguments) const {
        void* parameters[] = {&arguments..., nullptr};
        return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, parameters, nullptr);
    }

    CUfunction function = nullptr;

private:
    CUmodule _module = nullptr;
};

// Device memory of T, filled from or compared with host vectors.
template <class T> class Buffer {
public:
    explicit Buffer(size_t count) : _count(count) { cuMemAlloc_v2(&address, count * sizeof(T)); }
    explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) { cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)); }
    ~Buffer() { cuMemFree_v2(address); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    std::vector<T> read() const {
        std::vector<T> values(_count);
        cuMemcpyDtoH_v2(values.data(), address, _count * sizeof(T));
        return values;
    }

    CUdeviceptr address = 0;

private:
    size_t _count;
};

} // namespace testing

#define TESTING_JOIN2(a, b) a##b
#define TESTING_JOIN(a, b) TESTING_JOIN2(a, b)
#define TEST_CASE(name)                                                                                           \
    static void TESTING_JOIN(test_body_, __LINE__)();                                                             \
    static const testing::Registration TESTING_JOIN(test_case_, __LINE__)(name, &TESTING_JOIN(test_body_, __LINE__)); \
    static void TESTING_JOIN(test_body_, __LINE__)()

#define CHECK(condition) testing::report(condition, __FILE__, __LINE__, "is not so: " #condition)
#define CHECK_RESULT(expected, call)                                                                              \
    do {                                                                                                          \
        CUresult actual_result = (call);                                                                          \
        testing::report(actual_result == (expected), __FILE__, __LINE__,                                          \
                        #call ": " + testing::error_name(actual_result) + ", expected " + testing::error_name(expected)); \
    } while (0)
#define CHECK_CONTAINS(text, part)                                                                                \
    testing::report(std::string(text).find(part) != std::string::npos, __FILE__, __LINE__, "\"" + std::string(text) + "\" does not say: " + (part))
