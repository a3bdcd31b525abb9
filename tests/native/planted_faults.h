// Programs of faulty kernels, compiled once, and devices that must catch the faults.
#pragma once

#include "testing.h"

#include <string>
#include <vector>

namespace testing {

constexpr CUresult kSuccess = 0;
constexpr CUresult kInvalidValue = 1;
constexpr CUresult kInvalidContext = 201;
constexpr CUresult kIllegalAddress = 700;
constexpr CUresult kOutOfResources = 701;
constexpr CUresult kMisalignedAddress = 716;
constexpr CUresult kLaunchFailed = 719;
constexpr CUresult kCaptureUnsupported = 900;
constexpr CUresult kCaptureInvalidated = 901;

// Ends the program: for calls without which a test makes no sense.
inline void must(CUresult result, const char* call) {
    if (result == kSuccess) return;
    std::printf("%s: %s %s\n", call, error_name(result).c_str(), last_fault().c_str());
    std::exit(1);
}
#define MUST(call) testing::must(call, #call)

// A program whose lines are known by markers: `// @name` at the end of a line.
class Program {
public:
    explicit Program(const char* text) : _text(text) {}

    // "test_kernel.cu:12".
    std::string line(const std::string& marker) const {
        const size_t at = _text.find("// @" + marker + "\n");
        if (at == std::string::npos) {
            std::printf("no line is marked %s\n", marker.c_str());
            std::exit(1);
        }
        int number = 1;
        for (size_t i = 0; i < at; ++i) number += _text[i] == '\n';
        return "test_kernel.cu:" + std::to_string(number);
    }

    const std::string& image(const Device& device) const {
        if (!_image.empty()) return _image;
        std::string log;
        std::vector<std::string> lowered;
        _image = compile(device, _text, {}, log, lowered);
        if (!_image.empty()) return _image;
        std::printf("the faulty kernels do not compile:\n%s\n", log.c_str());
        std::exit(1);
    }

private:
    std::string _text;
    mutable std::string _image;
};

struct Shape {
    unsigned grid = 1, block = 64, shared = 0;
    CUstream stream = nullptr;
};

// A checked device of its own with the program loaded.
class CheckedDevice : public Device {
public:
    explicit CheckedDevice(const Program& program, uint64_t seed = 1, int minor = 0, int workers = 2, bool count = false)
        : Device(true, seed, minor, workers, 0, count) {
        MUST(cuModuleLoadData(&_module, program.image(*this).data()));
    }

    template <class T> CUdeviceptr allocate(size_t count) const {
        CUdeviceptr address = 0;
        MUST(cuMemAlloc_v2(&address, count * sizeof(T)));
        return address;
    }
    template <class T> CUdeviceptr upload(const std::vector<T>& values) const {
        const CUdeviceptr address = allocate<T>(values.size());
        MUST(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)));
        return address;
    }
    template <class T> std::vector<T> download(CUdeviceptr address, size_t count) const {
        std::vector<T> values(count);
        MUST(cuMemcpyDtoH_v2(values.data(), address, count * sizeof(T)));
        return values;
    }

    CUfunction kernel(const char* name) const {
        CUfunction function;
        MUST(cuModuleGetFunction(&function, _module, name));
        return function;
    }
    template <class... A> CUresult launch(const char* name, Shape shape, A... arguments) const {
        void* pointers[] = {&arguments..., nullptr};
        return cuLaunchKernel(kernel(name), shape.grid, 1, 1, shape.block, 1, 1, shape.shared, shape.stream, pointers, nullptr);
    }
    // Launches and waits.
    template <class... A> CUresult run(const char* name, Shape shape, A... arguments) const {
        const CUresult launched = launch(name, shape, arguments...);
        return launched != kSuccess ? launched : cuCtxSynchronize();
    }

private:
    CUmodule _module = nullptr;
};

// The work must end with the code, and the text of the fault must hold every part.
#define CHECK_FAULT(code, parts, call)                                                  \
    do {                                                                                \
        CHECK_RESULT(code, call);                                                       \
        for (const std::string& part : std::vector<std::string> parts) CHECK_CONTAINS(testing::last_fault(), part); \
    } while (0)
#define CHECK_SUCCESS(call)                                                                                    \
    do {                                                                                                       \
        const CUresult success_result = (call);                                                                \
        testing::report(success_result == testing::kSuccess, __FILE__, __LINE__, #call ": " + testing::last_fault()); \
    } while (0)

} // namespace testing
