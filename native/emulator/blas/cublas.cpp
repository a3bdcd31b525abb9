// The exported cuBLAS interface: names, types and status codes of CUDA 12 and 13, column-major, float32 computation.
#include "blas/gemm.h"
#include "check/hooks.h"
#include "core/enqueue.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_set>

namespace {

enum Status : int {
    Success = 0,
    NotInitialized = 1,
    InvalidValue = 7,
    ExecutionFailed = 13,
    NotSupported = 15,
};

constexpr int Float32Type = 0, BFloat16Type = 14;              // CUDA_R_32F, CUDA_R_16BF
constexpr int ComputeFloat32 = 68, ComputeFloat32Pedantic = 69; // CUBLAS_COMPUTE_32F, …_PEDANTIC
constexpr int NotTransposed = 0, Conjugated = 2;               // CUBLAS_OP_N, CUBLAS_OP_C; T lies between
constexpr int Version = 120000;
constexpr std::uint64_t WorkspaceAlignment = 256;

}

struct cublasContext {
    CUstream stream = nullptr;
    int math_mode = 0;
    std::uint64_t workspace = 0;
    std::uint64_t workspace_bytes = 0;
};

namespace {

std::mutex handles_mutex;
std::unordered_set<cublasContext*>& handles() {
    static auto* const live = new std::unordered_set<cublasContext*>;   // never destroyed: other threads may outlive main
    return *live;
}

bool alive(cublasContext* handle) {
    const std::lock_guard lock(handles_mutex);
    return handles().count(handle) != 0;
}

// One matrix as cuBLAS is given it.
struct Matrix {
    const void* data;
    int type;
    int leading;
    long long stride;   // from one of a batch to the next
};

struct Call {
    int operation_a, operation_b, m, n, k, batch;
    float alpha, beta;
    Matrix a, b, c;
    int device;
    bool checked;
};

bool known(int type) { return type == Float32Type || type == BFloat16Type; }
blas::Element element(int type) { return type == Float32Type ? blas::Element::Float32 : blas::Element::BFloat16; }

Status validate(const Call& call, int compute) {
    const auto operation = [](int o) { return o >= NotTransposed && o <= Conjugated; };
    if (!operation(call.operation_a) || !operation(call.operation_b)) return InvalidValue;
    if (call.m < 0 || call.n < 0 || call.k < 0 || call.batch < 0) return InvalidValue;
    if (call.a.leading < std::max(1, call.operation_a == NotTransposed ? call.m : call.k)) return InvalidValue;
    if (call.b.leading < std::max(1, call.operation_b == NotTransposed ? call.k : call.n)) return InvalidValue;
    if (call.c.leading < std::max(1, call.m)) return InvalidValue;
    if (compute != ComputeFloat32 && compute != ComputeFloat32Pedantic) return NotSupported;
    if (!known(call.a.type) || call.a.type != call.b.type || (call.c.type != call.a.type && call.c.type != Float32Type)) return NotSupported;
    return Success;
}

// The columns of a column-major matrix, for each of the batch.
template <typename Visit>
bool visit(const Call& call, const Matrix& matrix, int rows, int columns, Visit visit_columns) {
    if (rows == 0 || columns == 0) return true;
    const auto size = static_cast<std::uint64_t>(blas::size_of(element(matrix.type)));
    const int batch = matrix.stride == 0 ? 1 : call.batch;
    for (int i = 0; i < batch; ++i) {
        const std::uint64_t address = reinterpret_cast<std::uint64_t>(matrix.data) + static_cast<std::uint64_t>(i * matrix.stride) * size;
        if (!visit_columns(address, static_cast<std::uint64_t>(columns), rows * size, matrix.leading * size)) return false;
    }
    return true;
}

bool operands_are_sound(const Call& call, std::string& text) {
    const auto readable = [&](const char* what) {
        return [&text, &call, what](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
            return check::check_rows_initialised(call.device, address, columns, bytes, stride, what, &text);
        };
    };
    const auto writable = [&](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
        return check::check_rows(call.device, address, columns, bytes, stride, "cuBLAS product, operand C", &text);
    };
    const bool a_plain = call.operation_a == NotTransposed, b_plain = call.operation_b == NotTransposed;
    const bool reads = call.alpha != 0 && call.k != 0;
    return (!reads || visit(call, call.a, a_plain ? call.m : call.k, a_plain ? call.k : call.m, readable("cuBLAS product, operand A"))) &&
           (!reads || visit(call, call.b, b_plain ? call.k : call.n, b_plain ? call.n : call.k, readable("cuBLAS product, operand B"))) &&
           (call.beta == 0 || visit(call, call.c, call.m, call.n, readable("cuBLAS product, operand C"))) && visit(call, call.c, call.m, call.n, writable);
}

void run(const Call& call) {
    if (call.checked) {
        std::string text;
        if (!operands_are_sound(call, text)) return emu::fail_current(CUDA_ERROR_ILLEGAL_ADDRESS, text.c_str());
    }
    const bool a_plain = call.operation_a == NotTransposed, b_plain = call.operation_b == NotTransposed;
    const blas::Product product{
        call.m,
        call.n,
        call.k,
        {call.a.data, element(call.a.type), a_plain ? 1 : call.a.leading, a_plain ? call.a.leading : 1},
        {call.b.data, element(call.b.type), b_plain ? call.b.leading : 1, b_plain ? 1 : call.b.leading},
        {const_cast<void*>(call.c.data), element(call.c.type), call.c.leading, call.alpha, call.beta},
    };
    blas::multiply_batch(product, call.a.stride, call.b.stride, call.c.stride, call.batch);
    if (call.checked)
        visit(call, call.c, call.m, call.n, [](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
            check::mark_initialised(address, columns, bytes, stride);
            return true;
        });
}

int submit(cublasContext* handle, Call call, const void* alpha, const void* beta, int compute) {
    if (!alive(handle)) return NotInitialized;
    if (!alpha || !beta) return InvalidValue;
    __builtin_memcpy(&call.alpha, alpha, sizeof call.alpha);
    __builtin_memcpy(&call.beta, beta, sizeof call.beta);
    if (const Status status = validate(call, compute)) return status;
    if (call.m == 0 || call.n == 0 || call.batch == 0) return Success;
    call.device = emu::current_device();
    if (call.device < 0) return NotInitialized;
    call.checked = emu::current_device_is_checked();
    return emu::enqueue(handle->stream, "cuBLAS product", [call] { run(call); }) == CUDA_SUCCESS ? Success : ExecutionFailed;
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
    return submit(handle, {operation_a, operation_b, m, n, k, 1, 0, 0, {a, a_type, lda, 0}, {b, b_type, ldb, 0}, {c, c_type, ldc, 0}, 0, false}, alpha, beta, compute);
}

GRIFFIN_EXPORT int cublasGemmStridedBatchedEx(cublasContext* handle, int operation_a, int operation_b, int m, int n, int k, const void* alpha, const void* a, int a_type,
                                              int lda, long long stride_a, const void* b, int b_type, int ldb, long long stride_b, const void* beta, void* c,
                                              int c_type, int ldc, long long stride_c, int batch, int compute, int /*algorithm*/) {
    return submit(handle, {operation_a, operation_b, m, n, k, batch, 0, 0, {a, a_type, lda, stride_a}, {b, b_type, ldb, stride_b}, {c, c_type, ldc, stride_c}, 0, false},
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
