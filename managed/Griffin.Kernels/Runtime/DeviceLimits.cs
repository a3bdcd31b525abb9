using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>What a device can do, as its driver reports it. Kernel variants are chosen by these, never by the architecture number.</summary>
public sealed record DeviceLimits
{
    /// <summary>Streaming multiprocessors.</summary>
    public required int MultiprocessorCount { get; init; }
    /// <summary>Threads of a warp.</summary>
    public required int WarpSize { get; init; }
    /// <summary>Threads of a block at most.</summary>
    public required int MaxThreadsPerBlock { get; init; }
    /// <summary>Threads resident on a multiprocessor at most.</summary>
    public required int MaxThreadsPerMultiprocessor { get; init; }
    /// <summary>Largest block.</summary>
    public required Dim3 MaxBlock { get; init; }
    /// <summary>Largest grid.</summary>
    public required Dim3 MaxGrid { get; init; }
    /// <summary>Shared memory of a block without opting in, in bytes.</summary>
    public required int SharedBytesPerBlock { get; init; }
    /// <summary>Shared memory of a block after opting in, in bytes.</summary>
    public required int SharedBytesPerBlockOptIn { get; init; }
    /// <summary>Shared memory of a multiprocessor, in bytes.</summary>
    public required int SharedBytesPerMultiprocessor { get; init; }
    /// <summary>32-bit registers of a block.</summary>
    public required int RegistersPerBlock { get; init; }
    /// <summary>32-bit registers of a multiprocessor.</summary>
    public required int RegistersPerMultiprocessor { get; init; }
    /// <summary>Second-level cache, in bytes.</summary>
    public required int L2CacheBytes { get; init; }
    /// <summary>Device memory, in bytes.</summary>
    public required long MemoryBytes { get; init; }
    /// <summary>True when memory can be allocated in the order of a stream.</summary>
    public required bool StreamOrderedMemory { get; init; }
    /// <summary>True when the device has warpgroup products (wgmma) and its compiler makes code for them; they belong to compute capability 9.0 alone.</summary>
    public required bool WarpgroupProducts { get; init; }
    /// <summary>True when kernels can be given tensor maps for bulk copies: compute capability 9.0 or more, and a driver and compiler that know them.</summary>
    public required bool TensorCopies { get; init; }

    internal static DeviceLimits Query(DeviceContext context, int device)
    {
        CudaDriver driver = context.Driver;
        context.Check(driver.DeviceTotalMem(out ulong bytes, device), "cuDeviceTotalMem");
        return new()
        {
            MultiprocessorCount = Get(DeviceAttribute.MultiprocessorCount),
            WarpSize = Get(DeviceAttribute.WarpSize),
            MaxThreadsPerBlock = Get(DeviceAttribute.MaxThreadsPerBlock),
            MaxThreadsPerMultiprocessor = Get(DeviceAttribute.MaxThreadsPerMultiprocessor),
            MaxBlock = new(Get(DeviceAttribute.MaxBlockX), Get(DeviceAttribute.MaxBlockY), Get(DeviceAttribute.MaxBlockZ)),
            MaxGrid = new(Get(DeviceAttribute.MaxGridX), Get(DeviceAttribute.MaxGridY), Get(DeviceAttribute.MaxGridZ)),
            SharedBytesPerBlock = Get(DeviceAttribute.SharedMemoryPerBlock),
            SharedBytesPerBlockOptIn = Get(DeviceAttribute.SharedMemoryPerBlockOptIn),
            SharedBytesPerMultiprocessor = Get(DeviceAttribute.SharedMemoryPerMultiprocessor),
            RegistersPerBlock = Get(DeviceAttribute.RegistersPerBlock),
            RegistersPerMultiprocessor = Get(DeviceAttribute.RegistersPerMultiprocessor),
            L2CacheBytes = Get(DeviceAttribute.L2CacheBytes),
            MemoryBytes = (long)bytes,
            StreamOrderedMemory = driver.HasStreamOrderedMemory && Get(DeviceAttribute.MemoryPoolsSupported) != 0,
            WarpgroupProducts = (Get(DeviceAttribute.ComputeCapabilityMajor), Get(DeviceAttribute.ComputeCapabilityMinor)) == (9, 0) && Compiles(context.Provider),
            TensorCopies = Get(DeviceAttribute.ComputeCapabilityMajor) >= 9 && driver.HasTensorMaps && Compiles(context.Provider),
        };

        // sm_90a came with CUDA 12.
        static bool Compiles(GpuProvider provider) => provider.Emulator is not null || (provider.Nvrtc.Version(out int major, out _) == 0 && major >= 12);

        int Get(DeviceAttribute attribute)
        {
            context.Check(driver.DeviceGetAttribute(out int value, attribute, device), "cuDeviceGetAttribute");
            return value;
        }
    }
}
