// The cuBLAS interface as a caller sees it: column-major products in stream order, status codes, checks of operands, capture.
#include "testing.h"

#include <cmath>
#include <cstring>

using namespace testing;

extern "C" {
typedef struct cublasContext* cublasHandle_t;
int cublasCreate_v2(cublasHandle_t*);
int cublasDestroy_v2(cublasHandle_t);
int cublasGetVersion_v2(cublasHandle_t, int*);
int cublasSetStream_v2(cublasHandle_t, CUstream);
int cublasGetStream_v2(cublasHandle_t, CUstream*);
int cublasSetWorkspace_v2(cublasHandle_t, void*, size_t);
int cublasSetMathMode(cublasHandle_t, int);
const char* cublasGetStatusString(int);
int cublasGemmEx(cublasHandle_t, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int, const void*, void*, int, int, int, int);
int cublasGemmStridedBatchedEx(cublasHandle_t, int, int, int, int, int, const void*, const void*, int, int, long long, const void*, int, int, long long, const void*,
                               void*, int, int, long long, int, int, int);
}

namespace {

constexpr int R32F = 0, R16F = 2, R16BF = 14, Compute32F = 68, N = 0, T = 1;
constexpr int Success = 0, NotInitialized = 1, InvalidValue = 7, NotSupported = 15;

class Handle {
public:
    Handle() { cublasCreate_v2(&value); }
    ~Handle() { cublasDestroy_v2(value); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    cublasHandle_t value = nullptr;
};

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

std::vector<float> numbers(int count, int seed) {
    std::vector<float> values(count);
    for (int i = 0; i < count; ++i) values[i] = static_cast<float>((i * 37 + seed * 11) % 17 - 8);   // small integers: every sum is exact
    return values;
}

// Element (i, j) of op(matrix), column-major.
float of(const std::vector<float>& m, int leading, int operation, int i, int j) { return operation == N ? m[j * leading + i] : m[i * leading + j]; }

int gemm(cublasHandle_t handle, int ta, int tb, int m, int n, int k, CUdeviceptr a, int lda, CUdeviceptr b, int ldb, CUdeviceptr c, int ldc, float beta = 0, int type = R32F,
         int compute = Compute32F) {
    const float alpha = 1;
    return cublasGemmEx(handle, ta, tb, m, n, k, &alpha, pointer(a), type, lda, pointer(b), type, ldb, &beta, pointer(c), type, ldc, compute, -1);
}

}

TEST_CASE("column-major products, every transposition, checked and not") {
    for (const bool checked : {false, true}) {
        Device device(checked, 5);
        Handle handle;
        const int m = 5, n = 7, k = 9, lda = 11, ldb = 10, ldc = 6;
        for (int ta : {N, T})
            for (int tb : {N, T}) {
                const auto a = numbers(lda * (ta == N ? k : m), 1), b = numbers(ldb * (tb == N ? n : k), 2), c = numbers(ldc * n, 3);
                Buffer<float> da(a), db(b), dc(c);
                CHECK(gemm(handle.value, ta, tb, m, n, k, da.address, lda, db.address, ldb, dc.address, ldc, 2) == Success);
                const auto got = dc.read();
                for (int j = 0; j < n; ++j)
                    for (int i = 0; i < ldc; ++i) {
                        float expected = c[j * ldc + i];
                        if (i < m) {
                            expected *= 2;
                            for (int p = 0; p < k; ++p) expected += of(a, lda, ta, i, p) * of(b, ldb, tb, p, j);
                        }
                        CHECK(got[j * ldc + i] == expected);
                    }
            }
    }
}

TEST_CASE("parts of a bfloat16 product are rounded where the math mode allows it, and not else") {
    Device device;
    Handle handle;
    Buffer<unsigned short> a({0x4380, 0x3f80, 0x3f80, 0}), b({0x3f80, 0x3f80, 0x3f80, 0x3f80}), c(1);   // 256 + 1 + 1 + 0; there is no 257
    for (const auto& [mode, sum] : {std::pair<int, unsigned short>{0, 0x4380}, {16, 0x4381}}) {
        CHECK(cublasSetMathMode(handle.value, mode) == Success);
        CHECK(gemm(handle.value, T, N, 1, 1, 4, a.address, 4, b.address, 4, c.address, 1, 0, R16BF) == Success);
        CHECK(c.read()[0] == sum);
    }
}

TEST_CASE("strided batches") {
    Device device(true, 9);
    Handle handle;
    const int m = 3, n = 2, k = 4, batch = 5;
    const auto a = numbers(m * k, 4), b = numbers(n * k * batch, 5);   // one A for all: stride 0
    Buffer<float> da(a), db(b), dc(std::vector<float>(m * n * batch));
    const float alpha = 2, beta = 0;
    CHECK(cublasGemmStridedBatchedEx(handle.value, T, N, m, n, k, &alpha, pointer(da.address), R32F, k, 0, pointer(db.address), R32F, k, n * k, &beta, pointer(dc.address),
                                     R32F, m, m * n, batch, Compute32F, -1) == Success);
    const auto got = dc.read();
    for (int e = 0; e < batch; ++e)
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) {
                float expected = 0;
                for (int p = 0; p < k; ++p) expected += 2 * a[i * k + p] * b[e * n * k + j * k + p];
                CHECK(got[e * m * n + j * m + i] == expected);
            }
}

TEST_CASE("status codes") {
    cublasHandle_t none = nullptr;
    CHECK(cublasCreate_v2(&none) == NotInitialized);   // no context
    Device device;
    Handle handle;
    Buffer<float> memory(std::vector<float>(64));
    const CUdeviceptr p = memory.address;
    int version = 0;
    CHECK(cublasGetVersion_v2(handle.value, &version) == Success && version >= 120000);
    CHECK(cublasSetMathMode(handle.value, 0) == Success);
    CHECK(cublasSetWorkspace_v2(handle.value, pointer(p + 4), 64) == InvalidValue);
    CHECK(gemm(none, N, N, 2, 2, 2, p, 2, p + 64, 2, p + 128, 2) == NotInitialized);
    CHECK(gemm(handle.value, N, N, 2, 2, -1, p, 2, p, 2, p + 128, 2) == InvalidValue);
    CHECK(gemm(handle.value, N, N, 4, 2, 2, p, 3, p, 2, p + 128, 4) == InvalidValue);
    CHECK(gemm(handle.value, N, T, 2, 4, 2, p, 2, p, 3, p + 128, 2) == InvalidValue);
    CHECK(gemm(handle.value, 7, N, 2, 2, 2, p, 2, p, 2, p + 128, 2) == InvalidValue);
    CHECK(gemm(handle.value, N, N, 2, 2, 2, p, 2, p, 2, p + 128, 2, 0, R16F) == NotSupported);
    CHECK(gemm(handle.value, N, N, 2, 2, 2, p, 2, p, 2, p + 128, 2, 0, R32F, 64) == NotSupported);
    CHECK(gemm(handle.value, N, N, 0, 2, 2, p, 2, p, 2, p + 128, 2) == Success);
    CHECK(std::strlen(cublasGetStatusString(InvalidValue)) > 0);
    CHECK(cublasDestroy_v2(reinterpret_cast<cublasHandle_t>(&version)) == NotInitialized);
}

TEST_CASE("a captured product runs at the replay, with the scalars of the capture") {
    for (const bool checked : {false, true}) {
        Device device(checked, 3);
        Handle handle;
        CUstream stream = nullptr, bound = nullptr;
        cuStreamCreate(&stream, 1);
        CHECK(cublasSetStream_v2(handle.value, stream) == Success);
        CHECK(cublasGetStream_v2(handle.value, &bound) == Success && bound == stream);
        const std::vector<uint16_t> two{0x4000}, three{0x4040};
        Buffer<uint16_t> a(two), b(three);
        Buffer<float> c(std::vector<float>{-1});
        CHECK_RESULT(0, cuStreamBeginCapture_v2(stream, 1));
        float alpha = 1, beta = 0;
        CHECK(cublasGemmEx(handle.value, N, N, 1, 1, 1, &alpha, pointer(a.address), R16BF, 1, pointer(b.address), R16BF, 1, &beta, pointer(c.address), R32F, 1, Compute32F,
                           -1) == Success);
        alpha = beta = 100;
        CUgraph graph = nullptr;
        CUgraphExec exec = nullptr;
        CHECK_RESULT(0, cuStreamEndCapture(stream, &graph));
        CHECK(c.read()[0] == -1);
        CHECK_RESULT(0, cuGraphInstantiateWithFlags(&exec, graph, 0));
        CHECK_RESULT(0, cuGraphLaunch(exec, stream));
        CHECK_RESULT(0, cuStreamSynchronize(stream));
        CHECK(c.read()[0] == 6);
        cuGraphExecDestroy(exec);
        cuGraphDestroy(graph);
        cuStreamDestroy_v2(stream);
    }
}

TEST_CASE("checked products name an operand outside its allocation or never written") {
    const auto fault_of = [](int m, int n, int k, int unwritten, int shift) {
        Device device(true, 11);
        Handle handle;
        Buffer<float> a(std::vector<float>(12, 1.0f)), b(std::vector<float>(12, 1.0f)), c(std::vector<float>(16, 1.0f)), fresh(12);
        CHECK(gemm(handle.value, T, N, m, n, k, unwritten == 0 ? fresh.address : a.address, k, unwritten == 1 ? fresh.address : b.address, k, c.address + shift, m) == Success);
        const CUresult result = cuCtxSynchronize();
        return result == 0 ? std::string() : last_fault();
    };
    CHECK(fault_of(4, 4, 3, -1, 0).empty());
    CHECK_CONTAINS(fault_of(5, 2, 3, -1, 0), "operand A");
    CHECK_CONTAINS(fault_of(2, 5, 3, -1, 0), "operand B");
    CHECK_CONTAINS(fault_of(4, 4, 3, -1, 4), "operand C");
    CHECK_CONTAINS(fault_of(4, 4, 3, 0, 0), "operand A");
    CHECK_CONTAINS(fault_of(4, 4, 3, 1, 0), "operand B");
}

TEST_CASE("a checked product runs as late as its stream allows") {
    Device device(true, 2);
    Handle handle;
    CUstream stream = nullptr;
    cuStreamCreate(&stream, 1);
    cublasSetStream_v2(handle.value, stream);
    const float two = 2, zero = 0;
    Buffer<float> a(std::vector<float>{3}), c(std::vector<float>{-1});
    float* staging = nullptr;
    cuMemHostAlloc(reinterpret_cast<void**>(&staging), sizeof(float), 0);
    *staging = 5;
    Buffer<float> b(1);
    CHECK_RESULT(0, cuMemcpyHtoDAsync_v2(b.address, staging, sizeof(float), stream));
    CHECK(cublasGemmEx(handle.value, N, N, 1, 1, 1, &two, pointer(a.address), R32F, 1, pointer(b.address), R32F, 1, &zero, pointer(c.address), R32F, 1, Compute32F, -1) ==
          Success);
    *staging = 7;   // reused before the stream was waited for: the product must see it, as it may on a GPU
    CHECK_RESULT(0, cuStreamSynchronize(stream));
    CHECK(c.read()[0] == 42);
    cuMemFreeHost(staging);
    cuStreamDestroy_v2(stream);
}
