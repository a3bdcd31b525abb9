// A product as cuBLAS and cuBLASLt are given it, column-major: checked, then queued on a stream.
#pragma once

#include "blas/gemm.h"
#include "core/enqueue.h"

namespace blas {

/// cublasStatus_t.
enum Status : int {
    Success = 0,
    NotInitialized = 1,
    InvalidValue = 7,
    ExecutionFailed = 13,
    NotSupported = 15,
};

constexpr int Float32Type = 0, BFloat16Type = 14;               // CUDA_R_32F, CUDA_R_16BF
constexpr int ComputeFloat32 = 68, ComputeFloat32Pedantic = 69; // CUBLAS_COMPUTE_32F, …_PEDANTIC
constexpr int NotTransposed = 0, Conjugated = 2;                // CUBLAS_OP_N, CUBLAS_OP_C; T lies between
constexpr int Version = 120000;

/// One matrix as it is given.
struct Matrix {
    const void* data;
    int type;
    std::int64_t leading;
    long long stride;   // from one of a batch to the next
};

/// C = alpha * op(A) * op(B) + beta * C, `batch` times.
struct Call {
    int operation_a, operation_b;
    std::int64_t m, n, k;
    int batch;
    float alpha, beta;
    Matrix a, b, c;
    int device;
    bool checked;
    bool rounds_parts;   // parts of the sum may be rounded to the type of C before they are added
};

/// Whether shapes, types and the way to compute are sound.
Status validate(const Call& call, int compute);

/// Validates the call and queues it on the stream of the current context; alpha and beta are read now.
Status submit(CUstream stream, Call call, const void* alpha, const void* beta, int compute);

}
