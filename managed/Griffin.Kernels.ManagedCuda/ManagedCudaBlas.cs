using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;
using ManagedCuda;
using ManagedCuda.BasicTypes;
using ManagedCuda.CudaBlas;
using BlasMath = ManagedCuda.CudaBlas.Math;

namespace Griffin.Kernels.ManagedCuda;

/// <summary>
/// cuBLAS through ManagedCuda's <see cref="CudaBlas"/>: a handle of this interface stands for one such object. The class has no call of
/// <c>cublasGemmEx</c> (its GemmEx is the older <c>cublasSgemmEx</c>), so that one goes to the binding beneath it, on the object's own cuBLAS handle.
/// </summary>
internal sealed unsafe class ManagedCudaBlas : Blas
{
    public override int Create(out nint handle)
    {
        handle = 0;
        try
        {
            CudaBlas made = new();
            CublasStatus status = CudaBlasNativeMethods.cublasSetMathMode(made.CublasHandle, (BlasMath)MathMode);
            if (status == CublasStatus.Success) handle = GCHandle.ToIntPtr(GCHandle.Alloc(made));
            else made.Dispose();
            return (int)status;
        }
        catch (CudaBlasException refused)
        {
            return (int)refused.CudaBlasError;
        }
    }

    public override int Destroy(nint handle)
    {
        Of(handle).Dispose(); // ManagedCuda ignores the status
        GCHandle.FromIntPtr(handle).Free();
        return 0;
    }

    public override int GetVersion(nint handle, out int version)
    {
        int found = 0;
        int status = Status(() =>
        {
            Version parts = Of(handle).GetVersion();
            found = parts.Major * 1000 + parts.Minor;
        });
        version = found;
        return status;
    }

    public override int SetStream(nint handle, nint stream) => Status(() => Of(handle).Stream = new CUstream { Pointer = stream });

    public override int SetWorkspace(nint handle, ulong address, ulong bytes) =>
        Status(() => Of(handle).SetWorkspace(new CudaDeviceVariable<byte>(new CUdeviceptr { Pointer = address }, bytes)));

    public override int Gemm(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, ulong b, BlasType bType, int ldb, float beta, ulong c, BlasType cType, int ldc) =>
        (int)CudaBlasNativeMethods.cublasGemmEx(Of(handle).CublasHandle, OperationOf(transposeA), OperationOf(transposeB), m, n, k, (nint)(&alpha),
            Pointer(a), (cudaDataType)aType, lda, Pointer(b), (cudaDataType)bType, ldb, (nint)(&beta), Pointer(c), (cudaDataType)cType, ldc,
            ComputeType.Compute32F, GemmAlgo.Default);

    // The class's overload with a compute type takes the factors as device pointers by type; cuBLAS reads them on the host, its pointer mode's default.
    public override int GemmStridedBatched(nint handle, bool transposeA, bool transposeB, int m, int n, int k, float alpha,
        ulong a, BlasType aType, int lda, long strideA, ulong b, BlasType bType, int ldb, long strideB,
        float beta, ulong c, BlasType cType, int ldc, long strideC, int batchCount)
    {
        try
        {
            Of(handle).GemmStridedBatched(OperationOf(transposeA), OperationOf(transposeB), m, n, k, Pointer((ulong)&alpha),
                Pointer(a), (cudaDataType)aType, lda, strideA, Pointer(b), (cudaDataType)bType, ldb, strideB,
                Pointer((ulong)&beta), Pointer(c), (cudaDataType)cType, ldc, strideC, batchCount, ComputeType.Compute32F, GemmAlgo.Default);
            return 0;
        }
        catch (CudaBlasException refused)
        {
            return (int)refused.CudaBlasError;
        }
    }

    private static CudaBlas Of(nint handle) => (CudaBlas)GCHandle.FromIntPtr(handle).Target!;

    private static CUdeviceptr Pointer(ulong address) => new() { Pointer = address };

    private static Operation OperationOf(bool transpose) => transpose ? Operation.Transpose : Operation.NonTranspose;

    private static int Status(Action call)
    {
        try
        {
            call();
            return 0;
        }
        catch (CudaBlasException refused)
        {
            return (int)refused.CudaBlasError;
        }
    }
}
