// The exported cuBLAS interface: names, types and status codes of CUDA 12 and 13, column-major, float32 computation.
#include "blas/product_call.h"

#include <mutex>
#include <unordered_set>

using namespace blas;

struct cublasContext {
    CUstream stream = nullptr;
    int math_mode = 0;
    std::uint64_t workspace = 0;
    std::uint64_t workspace_bytes = 0;
};

namespace {

constexpr std::uint64_t WorkspaceAlignment = 256;
constexpr int KeepPrecisionOfParts = 16;   // CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION

std::mutex handles_mutex;
std::unordered_set<cublasContext*>& handles() {
    static auto* const live = new std::unordered_set<cublasContext*>;   // never destroyed: other threads may outlive main
    return *live;
}

bool alive(cublasContext* handle) {
    const std::lock_guard lock(handles_mutex);
    return handles().count(handle) != 0;
}

int submit_on(cublasContext* handle, Call call, const void* alpha, const void* beta, int compute) {
    if (!alive(handle)) return NotInitialized;
    call.rounds_parts = (handle->math_mode & KeepPrecisionOfParts) == 0;
    return submit(handle->stream, call, alpha, beta, compute);
}

}

GRIFFIN_EXPORT int cublasCreate_v2(cublasContext** handle) {
    if (!handle) return InvalidValue;
    *handle = nullptr;
    if (emu::current_device() < 0) return NotInitialized;
    const std::lock_guard lock(handles_mutex);
    *handle = *handles().insert(new cublasContext).first;
    return Success;
}

GRIFFIN_EXPORT int cublasDestroy_v2(cublasContext* handle) {
    const std::lock_guard lock(handles_mutex);
    if (handles().erase(handle) == 0) return NotInitialized;
    delete handle;
    return Success;
}

GRIFFIN_EXPORT int cublasGetVersion_v2(cublasContext* handle, int* version) {
    if (!alive(handle)) return NotInitialized;
    if (!version) return InvalidValue;
    *version = Version;
    return Success;
}

GRIFFIN_EXPORT int cublasSetStream_v2(cublasContext* handle, CUstream stream) {
    if (!alive(handle)) return NotInitialized;
    handle->stream = stream;
    handle->workspace = handle->workspace_bytes = 0;   // back to the default one, as in cuBLAS
    return Success;
}

GRIFFIN_EXPORT int cublasGetStream_v2(cublasContext* handle, CUstream* stream) {
    if (!alive(handle)) return NotInitialized;
    if (!stream) return InvalidValue;
    *stream = handle->stream;
    return Success;
}

GRIFFIN_EXPORT int cublasSetWorkspace_v2(cublasContext* handle, void* workspace, std::size_t bytes) {
    if (!alive(handle)) return NotInitialized;
    const auto address = reinterpret_cast<std::uint64_t>(workspace);
    if (address % WorkspaceAlignment != 0) return InvalidValue;
    handle->workspace = address;   // kept for form: the products here use memory of the host
    handle->workspace_bytes = bytes;
    return Success;
}

GRIFFIN_EXPORT int cublasSetMathMode(cublasContext* handle, int mode) {
    if (!alive(handle)) return NotInitialized;
    handle->math_mode = mode;
    return Success;
}

GRIFFIN_EXPORT int cublasGetMathMode(cublasContext* handle, int* mode) {
    if (!alive(handle)) return NotInitialized;
    if (!mode) return InvalidValue;
    *mode = handle->math_mode;
    return Success;
}

GRIFFIN_EXPORT int cublasGemmEx(cublasContext* handle, int operation_a, int operation_b, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda,
                                const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int /*algorithm*/) {
    return submit_on(handle, {operation_a, operation_b, m, n, k, 1, 0, 0, {a, a_type, lda, 0}, {b, b_type, ldb, 0}, {c, c_type, ldc, 0}, 0, false, false}, alpha, beta, compute);
}

GRIFFIN_EXPORT int cublasGemmStridedBatchedEx(cublasContext* handle, int operation_a, int operation_b, int m, int n, int k, const void* alpha, const void* a, int a_type,
                                              int lda, long long stride_a, const void* b, int b_type, int ldb, long long stride_b, const void* beta, void* c,
                                              int c_type, int ldc, long long stride_c, int batch, int compute, int /*algorithm*/) {
    return submit_on(handle, {operation_a, operation_b, m, n, k, batch, 0, 0, {a, a_type, lda, stride_a}, {b, b_type, ldb, stride_b}, {c, c_type, ldc, stride_c}, 0, false, false},
                  alpha, beta, compute);
}

GRIFFIN_EXPORT const char* cublasGetStatusString(int status) {
    switch (status) {
        case Success: return "success";
        case NotInitialized: return "the library was not initialized";
        case InvalidValue: return "an unsupported value or parameter was passed to the function";
        case ExecutionFailed: return "the GPU program failed to execute";
        case NotSupported: return "the requested functionality is not supported";
        default: return "unknown cuBLAS status";
    }
}
