namespace Griffin.Kernels.Interop;

/// <summary>Element types of matrix products (<c>cudaDataType</c>).</summary>
public enum BlasType
{
    /// <summary>32-bit floating point.</summary>
    Float32 = 0,
    /// <summary>16-bit IEEE floating point.</summary>
    Float16 = 2,
    /// <summary>bfloat16.</summary>
    BFloat16 = 14,
}

/// <summary>The cuBLAS calls that the runtime uses; status codes are cuBLAS's (0 = success). Matrices are column-major, as in cuBLAS.</summary>
public abstract unsafe class Blas
{
    /// <summary>
    /// The mode of <c>cublasSetMathMode</c> that handles are made with: the default one, without TF32, and with parts of a product added in float32
    /// (<c>CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION</c>). By default cuBLAS may round each part to the type of the result before it adds them.
    /// </summary>
    protected const int MathMode = 16;

    /// <summary><c>cublasCreate</c> in the current context, and <c>cublasSetMathMode</c> with <see cref="MathMode"/>.</summary>
    public abstract int Create(out nint handle);
    /// <summary><c>cublasDestroy</c>.</summary>
    public abstract int Destroy(nint handle);
    /// <summary><c>cublasGetVersion</c>.</summary>
    public abstract int GetVersion(nint handle, out int version);
    /// <summary><c>cublasSetStream</c>; resets the workspace to cuBLAS's own.</summary>
    public abstract int SetStream(nint handle, nint stream);
    /// <summary><c>cublasSetWorkspace</c>; 256-byte aligned device memory.</summary>
    public abstract int SetWorkspace(nint handle, ulong address, ulong bytes);
    /// <summary><c>cublasGemmEx</c> with float32 accumulation (<c>CUBLAS_COMPUTE_32F</c>) and the default algorithm: C = alpha · op(A) · op(B) + beta · C.</summary>
    public abstract int Gemm(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, ulong b, BlasType bType, int ldb, float beta, ulong c, BlasType cType, int ldc);
    /// <summary><c>cublasGemmStridedBatchedEx</c> with float32 accumulation and the default algorithm; strides in elements.</summary>
    public abstract int GemmStridedBatched(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, long strideA, ulong b, BlasType bType, int ldb, long strideB,
        float beta, ulong c, BlasType cType, int ldc, long strideC, int batchCount);
}
