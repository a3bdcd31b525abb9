// The emulated NVRTC: errors with the user's file and line, options, names, identity of the compiler, a missing compiler.
#include "testing.h"

#include "core/process.h"

#include <cstring>

using namespace testing;

namespace {

nvrtcResult compile_with(const std::string& source, const std::vector<const char*>& options, const std::vector<std::string>& expressions,
                         std::string& log, const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    std::vector<const char*> names, texts;
    for (const auto& [name, text] : headers) {
        names.push_back(name.c_str());
        texts.push_back(text.c_str());
    }
    nvrtcProgram program = nullptr;
    nvrtcCreateProgram(&program, source.c_str(), "user_kernel.cu", static_cast<int>(headers.size()), texts.data(), names.data());
    for (const std::string& expression : expressions) nvrtcAddNameExpression(program, expression.c_str());
    nvrtcResult result = nvrtcCompileProgram(program, static_cast<int>(options.size()), options.data());
    size_t bytes = 0;
    nvrtcGetProgramLogSize(program, &bytes);
    log.resize(bytes);
    nvrtcGetProgramLog(program, log.data());
    log.resize(bytes - 1);
    nvrtcDestroyProgram(&program);
    return result;
}

std::string identity() {
    char text[1024] = "";
    int length = griffinEmuCompilerIdentity(text, sizeof(text));
    CHECK(length == static_cast<int>(strlen(text)));
    return text;
}

// A variable of the environment, as it was again at the end.
class Environment {
public:
    Environment(const char* name, const char* value) : _name(name), _had(getenv(name) != nullptr), _old(_had ? getenv(name) : "") {
        setenv(name, value, 1);
    }
    ~Environment() {
        if (_had) setenv(_name, _old.c_str(), 1);
        else unsetenv(_name);
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

private:
    const char* _name;
    bool _had;
    std::string _old;
};

} // namespace

TEST_CASE("a compile error names the user's file and line") {
    std::string log;
    CHECK(compile_with("__global__ void k(float* x) {\n    __shared__ float\n        tile[4];\n    x[0] = tile[0] + undeclared;\n}\n", {}, {"k"}, log) == 6);
    CHECK_CONTAINS(log, "user_kernel.cu:4:");
    CHECK_CONTAINS(log, "undeclared");
    CHECK(log.find(emu::kProgramFolderMark) == std::string::npos);
}

TEST_CASE("a compile error in a header names the header and its line") {
    std::string log;
    CHECK(compile_with("#include \"include/helper.cuh\"\n__global__ void k(float* x) { x[0] = helper(); }\n", {}, {"k"}, log,
                       {{"include/helper.cuh", "#pragma once\n__device__ float helper() {\n    return missing_name;\n}\n"}}) == 6);
    CHECK_CONTAINS(log, "include/helper.cuh:3:");
}

TEST_CASE("a name expression that names nothing is an error that quotes it") {
    std::string log;
    CHECK(compile_with("template <int N> __global__ void k(float* x) { x[0] = N; }", {}, {"k<2>", "absent<3>"}, log) == 6);
    CHECK_CONTAINS(log, "absent<3>");
}

TEST_CASE("there are no toolkit or standard headers") {
    std::string log;
    CHECK(compile_with("#include <cmath>\n__global__ void k(float* x) { x[0] = 1; }", {}, {"k"}, log) == 6);
    CHECK_CONTAINS(log, "cmath");
}

TEST_CASE("definitions count, options for the GPU's code generator pass, unknown options are refused") {
    std::string log;
    const std::string source = "__global__ void k(float* x) { x[0] = VALUE + OTHER; static_assert(__CUDA_ARCH__ == 860); }";
    CHECK(compile_with(source, {"--std=c++17", "--fmad=false", "-DVALUE=3", "--define-macro=OTHER=4", "--gpu-architecture=sm_86", "-I/here"},
                       {"k"}, log) == 0);
    CHECK(compile_with(source, {"-DVALUE=3", "--gpu-architecture=sm_86"}, {"k"}, log) == 6);
    CHECK(compile_with(source, {"--no-such-option"}, {"k"}, log) == 5);
    CHECK_CONTAINS(log, "--no-such-option");
}

TEST_CASE("launch bounds and parameters are known of every instantiation") {
    Device device;
    const char* source =
        "struct Params { const float* x; long long n; int rows; };\n"
        "namespace deep { template <class T, int BLOCK = 128>\n"
        "// a comment with __global__ and __shared__ in it\n"
        "__global__ void\n__launch_bounds__(BLOCK * 2, 1)\nscale(Params p, T factor, unsigned char last) {\n"
        "    __shared__ T a[BLOCK], b; // __shared__ int c;\n"
        "    a[threadIdx.x % BLOCK] = factor; b = factor; __syncthreads();\n"
        "    const char* text = \"__shared__ int d;\"; if (p.n < 0) *(T*)p.x = a[0] + b + text[0] + last;\n} }\n";
    Kernel kernel(device, source, "deep::scale<float>");
    int threads = 0, shared = 0;
    CHECK_RESULT(0, cuFuncGetAttribute(&threads, 0, kernel.function));
    CHECK(threads == 256);
    CHECK_RESULT(0, cuFuncGetAttribute(&shared, 1, kernel.function));
    CHECK(shared == 128 * 4 + 4);
    size_t offset = 0, bytes = 0;
    const size_t expected[][2] = {{0, 24}, {24, 4}, {28, 1}};
    for (size_t i = 0; i < 3; ++i) {
        CHECK_RESULT(0, cuFuncGetParamInfo(kernel.function, i, &offset, &bytes));
        CHECK(offset == expected[i][0] && bytes == expected[i][1]);
    }
    CHECK_RESULT(1, cuFuncGetParamInfo(kernel.function, 3, &offset, &bytes));
}

TEST_CASE("the identity spells out compiler, native architecture and shim, and is stable") {
    std::string text = identity();
    CHECK_CONTAINS(text, "-march=");
    CHECK(text.find("-march=native") == std::string::npos);
    CHECK_CONTAINS(text, "shim:");
    CHECK(text == identity());
    char cut[8];
    CHECK(griffinEmuCompilerIdentity(cut, sizeof(cut)) == static_cast<int>(text.size()));
    CHECK(strlen(cut) == 7 && text.compare(0, 7, cut) == 0);
}

TEST_CASE("without a compiler there is one clear line and no identity") {
    Environment path("PATH", "/nonexistent"), chosen("GRIFFIN_CXX", "");
    std::string log;
    CHECK(compile_with("__global__ void k(float* x) { x[0] = 1; }", {}, {"k"}, log) == 6);
    CHECK_CONTAINS(log, "no C++ compiler was found");
    CHECK(log.find('\n') == log.size() - 1);
    CHECK(identity().empty());
}

TEST_CASE("an image that is not the emulator's, or not for this kind of device, is refused with a reason") {
    Device device;
    CUmodule module = nullptr;
    char junk[256] = "not an image";
    CHECK_RESULT(200, cuModuleLoadData(&module, junk));
    CHECK_CONTAINS(last_fault(), "not made by the emulator");
    std::string log;
    std::vector<std::string> lowered;
    std::string image = compile(device, "__global__ void k(float* x) { x[0] = 1; }", {"k"}, log, lowered, {"--griffin-checked"});
    CHECK_RESULT(209, cuModuleLoadData(&module, image.data()));
    CHECK_CONTAINS(last_fault(), "--griffin-checked");
}

TEST_CASE("static shared memory over 48 KB is refused when the module is loaded") {
    Device device;
    std::string log;
    std::vector<std::string> lowered;
    const char* source = "__global__ void k(float* x) { __shared__ float a[12289]; a[threadIdx.x] = 1; __syncthreads(); x[0] = a[0]; }";
    std::string image = compile(device, source, {"k"}, log, lowered);
    CUmodule module = nullptr;
    CHECK_RESULT(200, cuModuleLoadData(&module, image.data()));
    CHECK_CONTAINS(last_fault(), "49156 bytes");
}
