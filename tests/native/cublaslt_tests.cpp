// The cuBLASLt interface as a caller sees it: column-major products with a found algorithm, status codes, checks of operands, capture.
#include "testing.h"

using namespace testing;

extern "C" {
typedef struct cublasLtContext* cublasLtHandle_t;
typedef struct cublasLtMatmulDesc* cublasLtMatmulDesc_t;
typedef struct cublasLtMatrixLayout* cublasLtMatrixLayout_t;
typedef struct cublasLtMatmulPreference* cublasLtMatmulPreference_t;
struct LtResult {
    unsigned long long algo[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
int cublasLtCreate(cublasLtHandle_t*);
int cublasLtDestroy(cublasLtHandle_t);
size_t cublasLtGetVersion();
int cublasLtMatmulDescCreate(cublasLtMatmulDesc_t*, int, int);
int cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t);
int cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, int, const void*, size_t);
int cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t*, int, unsigned long long, unsigned long long, long long);
int cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t);
int cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t*);
int cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t);
int cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, int, const void*, size_t);
int cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                   cublasLtMatmulPreference_t, int, LtResult*, int*);
int cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void*, cublasLtMatrixLayout_t, const void*, cublasLtMatrixLayout_t, const void*, const void*,
                   cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t, const unsigned long long*, void*, size_t, CUstream);
}

namespace {

constexpr int R32F = 0, R16F = 2, R16BF = 14, Compute32F = 68, N = 0, T = 1;
constexpr int Success = 0, NotInitialized = 1, InvalidValue = 7, NotSupported = 15;
constexpr size_t Workspace = 1 << 16;

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

std::vector<float> numbers(int count, int seed) {
    std::vector<float> values(count);
    for (int i = 0; i < count; ++i) values[i] = static_cast<float>((i * 37 + seed * 11) % 17 - 8);   // small integers: every sum is exact
    return values;
}

// All that one product needs, for op(A) [m, k] and op(B) [k, n].
class Product {
public:
    Product(int ta, int tb, int m, int n, int k, int type = R32F, unsigned alignment = 4) {
        cublasLtCreate(&handle);
        cublasLtMatmulDescCreate(&desc, Compute32F, R32F);
        cublasLtMatmulDescSetAttribute(desc, 3, &ta, sizeof ta);
        cublasLtMatmulDescSetAttribute(desc, 4, &tb, sizeof tb);
        cublasLtMatrixLayoutCreate(&a, type, ta == N ? m : k, ta == N ? k : m, ta == N ? m : k);
        cublasLtMatrixLayoutCreate(&b, type, tb == N ? k : n, tb == N ? n : k, tb == N ? k : n);
        cublasLtMatrixLayoutCreate(&c, type, m, n, m);
        cublasLtMatmulPreferenceCreate(&preference);
        cublasLtMatmulPreferenceSetAttribute(preference, 1, &Workspace, sizeof Workspace);
        for (int attribute = 5; attribute <= 8; ++attribute) cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof alignment);
    }
    ~Product() {
        cublasLtMatmulPreferenceDestroy(preference);
        for (const auto layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
        cublasLtMatmulDescDestroy(desc);
        cublasLtDestroy(handle);
    }
    Product(const Product&) = delete;
    Product& operator=(const Product&) = delete;

    int find() { return cublasLtMatmulAlgoGetHeuristic(handle, desc, a, b, c, c, preference, 1, &result, &found); }

    int run(CUdeviceptr pa, CUdeviceptr pb, CUdeviceptr pc, CUdeviceptr workspace, float beta = 0, size_t bytes = Workspace, CUstream stream = nullptr) {
        const float alpha = 1;
        return cublasLtMatmul(handle, desc, &alpha, pointer(pa), a, pointer(pb), b, &beta, pointer(pc), c, pointer(pc), c, result.algo, pointer(workspace), bytes, stream);
    }

    cublasLtHandle_t handle = nullptr;
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    LtResult result = {};
    int found = -1;
};

}

TEST_CASE("cuBLASLt: parts of a bfloat16 product are rounded where the search allows it, and not else") {
    Device device;
    Buffer<char> workspace(Workspace);
    Buffer<unsigned short> a({0x4380, 0x3f80, 0x3f80, 0}), b({0x3f80, 0x3f80, 0x3f80, 0x3f80}), c(1);   // 256 + 1 + 1 + 0; there is no 257
    for (const auto& [schemes, sum] : {std::pair<unsigned, unsigned short>{7, 0x4380}, {1, 0x4380}, {2, 0x4381}, {0, 0x4381}}) {
        Product product(T, N, 1, 1, 4, R16BF);
        CHECK(cublasLtMatmulPreferenceSetAttribute(product.preference, 3, &schemes, sizeof schemes) == Success);
        CHECK(product.find() == Success && product.found == 1);
        CHECK(product.run(a.address, b.address, c.address, workspace.address) == Success);
        CHECK(c.read()[0] == sum);
    }
}

TEST_CASE("cuBLASLt: column-major products, every transposition, checked and not") {
    for (const bool checked : {false, true}) {
        Device device(checked, 5);
        Buffer<char> workspace(Workspace);
        const int m = 5, n = 7, k = 9;
        for (int ta : {N, T})
            for (int tb : {N, T}) {
                const auto a = numbers(m * k, 1), b = numbers(n * k, 2), c = numbers(m * n, 3);
                Buffer<float> da(a), db(b), dc(c);
                Product product(ta, tb, m, n, k);
                CHECK(product.find() == Success && product.found == 1 && product.result.state == Success && product.result.workspace <= Workspace);
                CHECK(product.run(da.address, db.address, dc.address, workspace.address, 2) == Success);
                const auto got = dc.read();
                for (int j = 0; j < n; ++j)
                    for (int i = 0; i < m; ++i) {
                        float expected = 2 * c[j * m + i];
                        for (int p = 0; p < k; ++p) expected += (ta == N ? a[p * m + i] : a[i * k + p]) * (tb == N ? b[j * k + p] : b[p * n + j]);
                        CHECK(got[j * m + i] == expected);
                    }
            }
    }
}

TEST_CASE("cuBLASLt: status codes") {
    cublasLtHandle_t none = nullptr;
    CHECK(cublasLtCreate(&none) == NotInitialized);   // no context
    Device device;
    Buffer<float> memory(std::vector<float>(256));
    Buffer<char> workspace(Workspace);
    const CUdeviceptr p = memory.address, w = workspace.address;
    CHECK(cublasLtGetVersion() >= 110000);
    Product product(N, N, 2, 2, 2, R32F, 16);
    CHECK(product.run(p, p + 64, p + 128, w) == InvalidValue);   // no algorithm yet
    CHECK(product.find() == Success);
    CHECK(product.run(p, p + 64, p + 128, w) == Success);
    CHECK(product.run(p + 4, p + 64, p + 128, w) == InvalidValue);   // less aligned than was said
    CHECK(product.run(p, p + 64, p + 128, w, 0, 16) == InvalidValue);   // less workspace than was found
    CHECK(product.run(p, p + 64, p + 128, 0) == InvalidValue);
    Product other(N, N, 2, 4, 2);
    other.result = product.result;
    CHECK(other.run(p, p + 64, p + 128, w) == InvalidValue);   // another shape's algorithm
    Product half(N, N, 2, 2, 2, R16F);
    CHECK(half.find() == NotSupported && half.found == 0);
    Product wrong(N, N, 2, 2, 2);
    CHECK(cublasLtMatmulAlgoGetHeuristic(wrong.handle, wrong.desc, other.b, wrong.b, wrong.c, wrong.c, wrong.preference, 1, &wrong.result, &wrong.found) == InvalidValue);
    CHECK(cublasLtMatmulAlgoGetHeuristic(nullptr, wrong.desc, wrong.a, wrong.b, wrong.c, wrong.c, wrong.preference, 1, &wrong.result, &wrong.found) == NotInitialized);
    CHECK(cublasLtMatmulAlgoGetHeuristic(wrong.handle, nullptr, wrong.a, wrong.b, wrong.c, wrong.c, wrong.preference, 1, &wrong.result, &wrong.found) == InvalidValue);
    const int value = 0;
    CHECK(cublasLtMatmulDescSetAttribute(wrong.desc, 7, &value, sizeof value) == NotSupported);
    CHECK(cublasLtMatmulDescSetAttribute(wrong.desc, 3, &value, 1) == InvalidValue);
    CHECK(cublasLtMatmulPreferenceSetAttribute(wrong.preference, 1, &value, sizeof value) != Success);   // 64-bit
    CHECK(cublasLtMatrixLayoutDestroy(nullptr) == InvalidValue);
    CHECK(cublasLtDestroy(nullptr) == InvalidValue);
}

TEST_CASE("cuBLASLt: a checked device refuses operands outside an allocation") {
    Device device(true, 3);
    Buffer<float> a(std::vector<float>(8)), b(std::vector<float>(8)), c(std::vector<float>(4));
    Buffer<char> workspace(Workspace);
    Product product(N, N, 4, 2, 2);
    CHECK(product.find() == Success);
    CHECK(product.run(a.address, b.address, c.address, workspace.address) == Success);   // C has 8 elements, the buffer 4
    CHECK(cuCtxSynchronize() != 0);
    CHECK_CONTAINS(last_fault(), "operand C");
}
