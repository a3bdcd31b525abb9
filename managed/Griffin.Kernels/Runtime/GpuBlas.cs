using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>cuBLAS on one stream, in row-major terms: y = x · wᵀ with float32 accumulation.</summary>
public sealed class GpuBlas : IDisposable
{
    private const long SmallWorkspace = 4L << 20;
    private const long LargeWorkspace = 32L << 20;

    private readonly GpuStream _stream;
    private readonly DeviceMemory _workspace;
    private readonly BlasHandle _handle;

    internal GpuBlas(GpuStream stream)
    {
        _stream = stream;
        GpuDevice device = stream.Device;
        DeviceContext context = stream.Enter();
        Blas blas = device.Provider.Blas!;
        Check(blas.Create(out nint handle), "cublasCreate");
        _handle = new BlasHandle(context, stream.Handle, handle);
        Check(blas.SetStream(handle, stream.Handle.Value), "cublasSetStream");
        // cuBLAS's own advice: 32 MiB on Hopper and newer, 4 MiB before. Its default would be allocated lazily, which a capture forbids.
        _workspace = device.AllocateBytes(device.Kind == GpuDeviceKind.Cuda && device.ComputeCapability.Major >= 9 ? LargeWorkspace : SmallWorkspace);
        Check(blas.SetWorkspace(handle, _workspace.Address, (ulong)_workspace.Bytes), "cublasSetWorkspace");
    }

    /// <summary>Bytes of device memory set aside for cuBLAS.</summary>
    public long WorkspaceBytes => _workspace.Bytes;

    /// <summary>Queues y [M, N] = x [M, K] · w [N, K]ᵀ; x and w of one type, y of that type or float32.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not fit.</exception>
    public void MultiplyTransposed(TensorView x, TensorView w, TensorView y)
    {
        CheckShapes(x, w, y);
        if (y.Length == 0) return;
        Enter();
        // Row-major y is column-major yᵀ [N, M] = op(w) · x with w read as a column-major [K, N] matrix.
        Check(_stream.Device.Provider.Blas!.Gemm(_handle.Value, true, false, (int)y.Columns, (int)y.Rows, (int)x.Columns, 1f,
            w.Address, TypeOf(w), Stride(w), x.Address, TypeOf(x), Stride(x), 0f, y.Address, TypeOf(y), Stride(y)), "cublasGemmEx");
    }

    /// <summary>Queues a batch of products y_i = x_i · w_iᵀ; the views are the first of each, the strides are in elements.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not fit.</exception>
    public void MultiplyTransposedBatched(TensorView x, long xStride, TensorView w, long wStride, TensorView y, long yStride, int count)
    {
        CheckShapes(x, w, y);
        if (y.Length == 0 || count == 0) return;
        Enter();
        Check(_stream.Device.Provider.Blas!.GemmStridedBatched(_handle.Value, true, false, (int)y.Columns, (int)y.Rows, (int)x.Columns, 1f,
            w.Address, TypeOf(w), Stride(w), wStride, x.Address, TypeOf(x), Stride(x), xStride,
            0f, y.Address, TypeOf(y), Stride(y), yStride, count), "cublasGemmStridedBatchedEx");
    }

    /// <summary>Destroys the cuBLAS handle and frees its workspace.</summary>
    public void Dispose()
    {
        _handle.Dispose();
        _workspace.Dispose();
    }

    private void Enter()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        _stream.Enter();
    }

    private static void CheckShapes(in TensorView x, in TensorView w, in TensorView y)
    {
        if (x.Columns == w.Columns && y.Rows == x.Rows && y.Columns == w.Rows) return;
        throw new ArgumentException($"y [{y.Rows}, {y.Columns}] is not x [{x.Rows}, {x.Columns}] times the transpose of w [{w.Rows}, {w.Columns}].");
    }

    private static int Stride(TensorView view) => checked((int)Math.Max(view.RowStride, 1));

    private static BlasType TypeOf(TensorView view) => view.Type switch
    {
        ElementType.Float32 => BlasType.Float32,
        ElementType.BFloat16 => BlasType.BFloat16,
        ElementType.Float16 => BlasType.Float16,
        _ => throw new ArgumentException($"cuBLAS products take floating-point matrices, not {view.Type}."),
    };

    private static void Check(int status, string call)
    {
        if (status != 0) throw new GpuException(CudaResult.Unknown, call, $"{call} failed: cuBLAS status {status}");
    }

    private sealed class BlasHandle(DeviceContext context, GpuHandle parent, nint handle) : GpuHandle(context, parent, handle, true)
    {
        protected override (CudaResult, string) Release(CudaDriver driver) =>
            (Context.Provider.Blas!.Destroy(handle) == 0 ? CudaResult.Success : CudaResult.Unknown, "cublasDestroy");
    }
}
