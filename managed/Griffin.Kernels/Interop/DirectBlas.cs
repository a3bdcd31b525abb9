namespace Griffin.Kernels.Interop;

/// <summary>cuBLAS bound directly, NVIDIA's or the emulator's.</summary>
internal sealed unsafe class DirectBlas : Blas
{
    private const int ComputeFloat32 = 68;
    private const int DefaultAlgorithm = -1;

    private readonly delegate* unmanaged<nint*, int> _create;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private readonly delegate* unmanaged<nint, int, int> _setMathMode;
    private readonly delegate* unmanaged<nint, int*, int> _getVersion;
    private readonly delegate* unmanaged<nint, nint, int> _setStream;
    private readonly delegate* unmanaged<nint, ulong, nuint, int> _setWorkspace;
    private readonly delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, BlasType, int, ulong, BlasType, int, void*, ulong, BlasType, int, int, int, int> _gemm;
    private readonly delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, BlasType, int, long, ulong, BlasType, int, long, void*, ulong, BlasType, int, long, int, int, int, int> _gemmStridedBatched;

    /// <exception cref="EntryPointNotFoundException">The library lacks a call that the runtime cannot do without.</exception>
    public DirectBlas(ExportTable exports)
    {
        _create = (delegate* unmanaged<nint*, int>)exports.Required("cublasCreate_v2");
        _destroy = (delegate* unmanaged<nint, int>)exports.Required("cublasDestroy_v2");
        _setMathMode = (delegate* unmanaged<nint, int, int>)exports.Required("cublasSetMathMode");
        _getVersion = (delegate* unmanaged<nint, int*, int>)exports.Required("cublasGetVersion_v2");
        _setStream = (delegate* unmanaged<nint, nint, int>)exports.Required("cublasSetStream_v2");
        _setWorkspace = (delegate* unmanaged<nint, ulong, nuint, int>)exports.Required("cublasSetWorkspace_v2");
        _gemm = (delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, BlasType, int, ulong, BlasType, int, void*, ulong, BlasType, int, int, int, int>)exports.Required("cublasGemmEx");
        _gemmStridedBatched = (delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, BlasType, int, long, ulong, BlasType, int, long, void*, ulong, BlasType, int, long, int, int, int, int>)exports.Required("cublasGemmStridedBatchedEx");
    }

    public override int Create(out nint handle)
    {
        nint made = 0;
        int status = _create(&made);
        if (status == 0) status = _setMathMode(made, MathMode);
        if (status != 0 && made != 0) _destroy(made);
        handle = status == 0 ? made : 0;
        return status;
    }

    public override int Destroy(nint handle) => _destroy(handle);

    public override int GetVersion(nint handle, out int version)
    {
        version = 0;
        fixed (int* pointer = &version) return _getVersion(handle, pointer);
    }

    public override int SetStream(nint handle, nint stream) => _setStream(handle, stream);

    public override int SetWorkspace(nint handle, ulong address, ulong bytes) => _setWorkspace(handle, address, (nuint)bytes);

    public override int Gemm(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, ulong b, BlasType bType, int ldb, float beta, ulong c, BlasType cType, int ldc) =>
        _gemm(handle, transposeA ? 1 : 0, transposeB ? 1 : 0, m, n, k, &alpha, a, aType, lda, b, bType, ldb, &beta, c, cType, ldc, ComputeFloat32, DefaultAlgorithm);

    public override int GemmStridedBatched(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, long strideA, ulong b, BlasType bType, int ldb, long strideB,
        float beta, ulong c, BlasType cType, int ldc, long strideC, int batchCount) =>
        _gemmStridedBatched(handle, transposeA ? 1 : 0, transposeB ? 1 : 0, m, n, k, &alpha, a, aType, lda, strideA, b, bType, ldb, strideB,
            &beta, c, cType, ldc, strideC, batchCount, ComputeFloat32, DefaultAlgorithm);
}
