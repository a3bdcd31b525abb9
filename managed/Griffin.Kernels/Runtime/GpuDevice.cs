using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>An open device: a GPU or the emulator. It owns a reference to its context; everything made from it keeps that alive.</summary>
public sealed partial class GpuDevice : IDisposable
{
    private const int OldestDriverOfDependentLaunches = 12030;
    private const int OldestArchitectureThatWaits = 90;   // dependent_launch.cuh

    private readonly DeviceContext _context;
    private readonly Lazy<GpuStream> _transfer;
    private readonly int? _countingOrdinal;
    private int _disposed;

    private GpuDevice(GpuProvider provider, DeviceContext context, int device, string where, bool ownsContext, bool isChecked, GpuDeviceOptions options, int? countingOrdinal = null)
    {
        _context = context;
        Provider = provider;
        IsChecked = isChecked;
        _countingOrdinal = countingOrdinal;
        ContextHandle = new ContextHandle(context, device, ownsContext);
        try
        {
            context.MakeCurrent();
            context.Check(context.Driver.DeviceGetName(out string name, device), "cuDeviceGetName");
            ComputeCapability = Capability(context, device);
            Limits = DeviceLimits.Query(context, device);
            Name = name;
            Description = Describe(where);
            // The emulator builds kernels that report their accesses under this option; NVIDIA's compiler never sees it.
            bool instrumented = isChecked || countingOrdinal is not null;
            Compiler = new KernelCompiler(context, ContextHandle, ComputeCapability, options, instrumented ? ["--griffin-checked"] : []);
            provider.Driver.DriverGetVersion(out int version);
            // An NVRTC that knows no sm_90 compiles for an older one, and with it the kernels' waits to nothing.
            HasDependentLaunches = Kind == GpuDeviceKind.Emulator
                || (ComputeCapability.Major >= 9 && version >= OldestDriverOfDependentLaunches && KernelBuild.NumberOf(Compiler.Architecture) >= OldestArchitectureThatWaits);
            Tuning = new TuningRecords(
                options.UseTuning ? Compiler.CacheFolder : null, $"{Name}, {Compiler.Architecture}, driver {version}, {provider.Nvrtc.Identity}", options.Logger);
        }
        catch
        {
            ContextHandle.Dispose();
            throw;
        }
        _transfer = new(() => new GpuStream(this));
    }

    /// <summary>The device's own name.</summary>
    public string Name { get; }

    /// <summary>One line about the device, for users.</summary>
    public string Description { get; }

    /// <summary>A GPU, or the emulator.</summary>
    public GpuDeviceKind Kind => Provider.Emulator is null ? GpuDeviceKind.Cuda : GpuDeviceKind.Emulator;

    /// <summary>True when this is an emulated device that checks accesses and schedules.</summary>
    public bool IsChecked { get; }

    /// <summary>The compute capability, for instance (9, 0).</summary>
    public (int Major, int Minor) ComputeCapability { get; }

    /// <summary>What the device can do.</summary>
    public DeviceLimits Limits { get; }

    /// <summary>How the device is reached.</summary>
    public GpuProvider Provider { get; }

    /// <summary>Compiles kernels for this device.</summary>
    public KernelCompiler Compiler { get; }

    /// <summary>Measured choices between kernels.</summary>
    public TuningRecords Tuning { get; }

    /// <summary>True when matrix products can go to cuBLAS.</summary>
    public bool HasBlas => Provider.Blas is not null;

    /// <summary>True when large matrix products can go to cuBLASLt.</summary>
    public bool HasBlasLt => HasBlas && Provider.BlasLt is not null;

    /// <summary>Free and total device memory in bytes.</summary>
    public (long Free, long Total) MemoryInfo
    {
        get
        {
            DeviceContext context = Enter();
            context.Check(context.Driver.MemGetInfo(out ulong free, out ulong total), "cuMemGetInfo");
            return ((long)free, (long)total);
        }
    }

    internal ContextHandle ContextHandle { get; }

    /// <summary>The stream of synchronous host copies and of zeroing.</summary>
    internal GpuStream TransferStream => _transfer.Value;

    /// <summary>
    /// Whether kernels can be launched before the ones ahead of them have ended: GPUs from compute capability 9.0 with a driver of CUDA 12.3 or newer, which
    /// keeps such launches in captured graphs, and an NVRTC that compiles for 9.0 (11.8 or newer); the emulator, where it changes nothing but what checked devices look for.
    /// </summary>
    public bool HasDependentLaunches { get; }

    /// <summary>Makes a stream.</summary>
    /// <param name="dependentLaunches">Launches kernels that wait by themselves before the ones ahead of them have ended.</param>
    /// <exception cref="NotSupportedException">The device does not have <see cref="HasDependentLaunches"/>.</exception>
    public GpuStream CreateStream(bool dependentLaunches = false)
    {
        Enter();
        if (dependentLaunches && !HasDependentLaunches)
            throw new NotSupportedException($"{Name} has no programmatic dependent launch: that needs compute capability 9.0, a driver of CUDA 12.3 and an NVRTC of 11.8.");
        return new(this, dependentLaunches);
    }

    /// <summary>Makes an event; with <paramref name="timing"/>, times can be taken between events.</summary>
    public GpuEvent CreateEvent(bool timing = false) => new(this, timing);

    /// <summary>Allocates device memory and leaves its contents undefined.</summary>
    /// <exception cref="GpuException">The device has not enough memory.</exception>
    public DeviceMemory AllocateBytes(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        DeviceContext context = Enter();
        CudaResult result = context.Driver.MemAlloc(out ulong address, (ulong)bytes);
        if (result != CudaResult.Success) context.Fail(result, "cuMemAlloc", $"{bytes} bytes asked for");
        return new(this, new MemoryHandle(context, ContextHandle, address, owned: true), bytes);
    }

    /// <summary>Allocates a buffer of zeros; ready when the call returns. A length of 0 is allowed.</summary>
    public DeviceBuffer<T> Allocate<T>(long length) where T : unmanaged
    {
        DeviceBuffer<T> buffer = AllocateUninitialized<T>(length);
        TransferStream.Fill(buffer.Memory, 0, buffer.Memory.Bytes, 0);
        TransferStream.Synchronize();
        return buffer;
    }

    /// <summary>Allocates a buffer with undefined contents. A length of 0 is allowed.</summary>
    public unsafe DeviceBuffer<T> AllocateUninitialized<T>(long length) where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        return new(AllocateBytes(Math.Max(1, checked(length * sizeof(T)))), length);
    }

    /// <summary>Allocates a buffer and copies <paramref name="values"/> into it.</summary>
    public DeviceBuffer<T> Upload<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        DeviceBuffer<T> buffer = AllocateUninitialized<T>(values.Length);
        TransferStream.CopyToDevice(values, buffer.Memory);
        return buffer;
    }

    /// <summary>Allocates page-locked host memory, zeroed.</summary>
    public unsafe PinnedBuffer<T> AllocatePinned<T>(int length) where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        DeviceContext context = Enter();
        ulong bytes = Math.Max(1, (ulong)length * (ulong)sizeof(T));
        context.Check(context.Driver.MemHostAlloc(out nint pointer, bytes, 0), "cuMemHostAlloc");
        PinnedBuffer<T> buffer = new(new PinnedHandle(context, ContextHandle, pointer), length);
        buffer.Span.Clear();
        return buffer;
    }

    /// <summary>Blocks until all work queued on the device has finished; reports faults of kernels and errors that a disposal left behind.</summary>
    public void Synchronize()
    {
        DeviceContext context = Enter();
        context.Check(context.Driver.CtxSynchronize(), "cuCtxSynchronize");
        context.ThrowReleaseError();
    }

    /// <summary>What each launch since the last call did, in order of launch; waits for all work first.</summary>
    /// <exception cref="InvalidOperationException">The device is not an emulated one opened with <see cref="EmulatorOptions.CountAccesses"/>.</exception>
    public IReadOnlyList<LaunchCounters> TakeCounters()
    {
        if (_countingOrdinal is not { } ordinal) throw new InvalidOperationException("Accesses are counted on emulated devices opened with EmulatorOptions.CountAccesses.");
        Synchronize();
        return LaunchCounters.Take(Provider.Emulator!, ordinal);
    }

    /// <summary>
    /// Closes the device: waits for compilations under way, unloads kernels and lets go of the context. Buffers and streams that are still open
    /// can only be disposed then; they keep the context alive until they are.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        _context.Close();
        Compiler.Close();
        if (_transfer.IsValueCreated) _transfer.Value.Dispose();
        ContextHandle.Dispose();
    }

    internal DeviceContext Enter()
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        _context.MakeCurrent();
        return _context;
    }

    private string Describe(string where)
    {
        string capability = $"{ComputeCapability.Major}.{ComputeCapability.Minor}";
        return Kind == GpuDeviceKind.Emulator
            ? $"{where}: CPU emulation of a compute capability {capability} device{(IsChecked ? ", checked" : "")}"
            : $"{where}: {Name}, compute capability {capability}, {Limits.MemoryBytes >> 20} MiB, "
                + $"cuBLAS {(HasBlas ? "found" : "not found")}";
    }
}
