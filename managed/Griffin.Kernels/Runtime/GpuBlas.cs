using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>cuBLAS, and cuBLASLt where it is found, on one stream, in row-major terms, with float32 accumulation.</summary>
public sealed class GpuBlas : IDisposable
{
    private const long SmallWorkspace = 4L << 20;
    private const long LargeWorkspace = 32L << 20;

    private readonly GpuStream _stream;
    private readonly DeviceMemory _workspace;
    private readonly BlasHandle _handle;
    private readonly GpuBlasLt? _lt;

    internal GpuBlas(GpuStream stream)
    {
        _stream = stream;
        GpuDevice device = stream.Device;
        DeviceContext context = stream.Enter();
        Blas blas = device.Provider.Blas!;
        Check(blas.Create(out nint handle), "cublasCreate");
        _handle = new BlasHandle(context, stream.Handle, handle);
        try
        {
            Check(blas.SetStream(handle, stream.Handle.Value), "cublasSetStream");
            // cuBLAS's default would be allocated lazily, which a capture forbids.
            _workspace = device.AllocateBytes(WorkspaceBytesFor(device));
            Check(blas.SetWorkspace(handle, _workspace.Address, (ulong)_workspace.Bytes), "cublasSetWorkspace");
            if (device.Provider.BlasLt is { } lt) _lt = new GpuBlasLt(lt, stream, _workspace);
        }
        catch
        {
            _handle.Dispose();
            _workspace?.Dispose();
            throw;
        }
    }

    /// <summary>Bytes of device memory set aside for cuBLAS.</summary>
    public long WorkspaceBytes => _workspace.Bytes;

    /// <summary>Bytes that a stream's products set aside on a device, by cuBLAS's own advice: 32 MiB on Hopper and newer, 4 MiB before; 0 without cuBLAS.</summary>
    public static long WorkspaceBytesFor(GpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (!device.HasBlas) return 0;
        return device.Kind == GpuDeviceKind.Cuda && device.ComputeCapability.Major >= 9 ? LargeWorkspace : SmallWorkspace;
    }

    /// <summary>Queues y [M, N] = op(x) [M, K] · op(w) [K, N], or adds the product to y; op transposes where asked for.</summary>
    /// <param name="x">The left factor.</param>
    /// <param name="transposeX">Whether x is stored as [K, M].</param>
    /// <param name="w">The right factor, of the type of x.</param>
    /// <param name="transposeW">Whether w is stored as [N, K].</param>
    /// <param name="y">The product, of the type of x or float32.</param>
    /// <param name="accumulate">Whether y is added to, with one rounding, instead of written.</param>
    /// <exception cref="ArgumentException">Shapes or types do not fit.</exception>
    public void Multiply(TensorView x, bool transposeX, TensorView w, bool transposeW, TensorView y, bool accumulate = false)
    {
        int inner = CheckShapes(x, transposeX, w, transposeW, y);
        if (y.Length == 0) return;
        using LibraryCall call = Enter();
        // Row-major y is column-major yᵀ [N, M] = op(w)ᵀ · op(x)ᵀ, and a row-major matrix read as a column-major one is its transpose.
        Check(_stream.Device.Provider.Blas!.Gemm(_handle.Value, transposeW, transposeX, (int)y.Columns, (int)y.Rows, inner, 1f,
            w.Address, TypeOf(w), Stride(w), x.Address, TypeOf(x), Stride(x), accumulate ? 1f : 0f, y.Address, TypeOf(y), Stride(y)), "cublasGemmEx");
    }

    /// <summary>
    /// As <see cref="Multiply"/>, through cuBLASLt with the algorithm that its heuristics name for the shape, where it is found and has one, else through cuBLAS.
    /// </summary>
    /// <exception cref="ArgumentException">Shapes or types do not fit.</exception>
    public void MultiplyLarge(TensorView x, bool transposeX, TensorView w, bool transposeW, TensorView y, bool accumulate = false)
    {
        int inner = CheckShapes(x, transposeX, w, transposeW, y);
        if (y.Length == 0) return;
        using LibraryCall call = Enter();
        if (_lt is not { } lt || inner == 0 || !lt.TryMultiply(new(w.Address, TypeOf(w), Stride(w), transposeW), new(x.Address, TypeOf(x), Stride(x), transposeX),
            accumulate ? 1f : 0f, new(y.Address, TypeOf(y), Stride(y), false), (int)y.Columns, (int)y.Rows, inner))
            Multiply(x, transposeX, w, transposeW, y, accumulate);
    }

    /// <summary>Queues a batch of products as <see cref="Multiply"/>; the views are the first of each, the strides are in elements.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not fit.</exception>
    public void MultiplyBatched(TensorView x, bool transposeX, long xStride, TensorView w, bool transposeW, long wStride, TensorView y, long yStride, int count,
        bool accumulate = false)
    {
        int inner = CheckShapes(x, transposeX, w, transposeW, y);
        if (y.Length == 0 || count == 0) return;
        using LibraryCall call = Enter();
        Check(_stream.Device.Provider.Blas!.GemmStridedBatched(_handle.Value, transposeW, transposeX, (int)y.Columns, (int)y.Rows, inner, 1f,
            w.Address, TypeOf(w), Stride(w), wStride, x.Address, TypeOf(x), Stride(x), xStride,
            accumulate ? 1f : 0f, y.Address, TypeOf(y), Stride(y), yStride, count), "cublasGemmStridedBatchedEx");
    }

    /// <summary>Destroys the handles and frees its workspace.</summary>
    public void Dispose()
    {
        _lt?.Dispose();
        _handle.Dispose();
        _workspace.Dispose();
    }

    private LibraryCall Enter()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return new(_stream.Enter().Driver, _stream.IsCapturing);
    }

    private static int CheckShapes(in TensorView x, bool transposeX, in TensorView w, bool transposeW, in TensorView y)
    {
        (long rows, long inner) = transposeX ? (x.Columns, x.Rows) : (x.Rows, x.Columns);
        (long innerW, long columns) = transposeW ? (w.Columns, w.Rows) : (w.Rows, w.Columns);
        if (inner == innerW && y.Rows == rows && y.Columns == columns) return checked((int)inner);
        throw new ArgumentException($"y [{y.Rows}, {y.Columns}] is not the product of [{rows}, {inner}] and [{innerW}, {columns}].");
    }

    private static int Stride(TensorView view) => checked((int)Math.Max(view.RowStride, 1));

    private static BlasType TypeOf(TensorView view) => view.Type switch
    {
        ElementType.Float32 => BlasType.Float32,
        ElementType.BFloat16 => BlasType.BFloat16,
        ElementType.Float16 => BlasType.Float16,
        _ => throw new ArgumentException($"cuBLAS products take floating-point matrices, not {view.Type}."),
    };

    internal static void Check(int status, string call)
    {
        if (status != 0) throw new GpuException(CudaResult.Unknown, call, $"{call} failed: cuBLAS status {status}");
    }

    /// <summary>
    /// A call of the library, which loads a kernel when it is first asked for: a capture must not take that for an allocation of the work that it records.
    /// The mode is one of the thread, and holds for as long as the call.
    /// </summary>
    private readonly ref struct LibraryCall
    {
        private const int Relaxed = 2;

        private readonly CudaDriver? _driver;
        private readonly int _before;

        public LibraryCall(CudaDriver driver, bool isCapturing)
        {
            int mode = Relaxed;
            if (!isCapturing || driver.ThreadExchangeStreamCaptureMode(ref mode) != CudaResult.Success) return;
            (_driver, _before) = (driver, mode);
        }

        public void Dispose()
        {
            int mode = _before;
            _driver?.ThreadExchangeStreamCaptureMode(ref mode);
        }
    }

    private sealed class BlasHandle(DeviceContext context, GpuHandle parent, nint handle) : GpuHandle(context, parent, handle, true)
    {
        protected override bool MayDisturb => true;   // cuBLAS waits for the device

        protected override (CudaResult, string) Release(CudaDriver driver) =>
            (Context.Provider.Blas!.Destroy(handle) == 0 ? CudaResult.Success : CudaResult.Unknown, "cublasDestroy");
    }
}
