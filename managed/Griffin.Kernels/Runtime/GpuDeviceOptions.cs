using Griffin.Kernels.Interop;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Griffin.Kernels.Runtime;

/// <summary>How a device is opened.</summary>
public sealed record GpuDeviceOptions
{
    /// <summary>Where warnings and progress notes go; nothing is printed.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>Folder of compiled kernels; null for the environment variable GRIFFIN_CACHE, else the user's cache folder.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>False to compile every kernel anew and write nothing to disk.</summary>
    public bool UseDiskCache { get; init; } = true;

    /// <summary>False to ignore measured choices between kernels, which lie beside the compiled ones, and follow the variant tables only.</summary>
    public bool UseTuning { get; init; } = true;

    /// <summary>Kernels compiled at the same time; 0 for one per core.</summary>
    public int ParallelCompiles { get; init; }

    /// <summary>A provider of your own in place of the library's search; its device is picked by the ordinal in "cuda:N". A name that does not fit what is behind it is refused.</summary>
    public GpuProvider? Provider { get; init; }
}

/// <summary>The kind of emulated device.</summary>
public sealed record EmulatorOptions
{
    /// <summary>Compute capability that the device reports: (8, 0), (8, 6) or (9, 0). They differ in shared memory, and only the last has warpgroup products and tensor copies.</summary>
    public (int Major, int Minor) ComputeCapability { get; init; } = (8, 0);

    /// <summary>True to check every access of kernels and every order of host calls; slow.</summary>
    public bool Checked { get; init; }

    /// <summary>True to count the accesses of every launch.</summary>
    public bool CountAccesses { get; init; }

    /// <summary>Seed of the shuffled schedules of a checked device.</summary>
    public ulong Seed { get; init; }

    /// <summary>Worker threads; 0 for one per core.</summary>
    public int Workers { get; init; }

    /// <summary>Device memory in bytes; 0 for the emulator's own choice.</summary>
    public long MemoryBytes { get; init; }
}

/// <summary>What is behind a device.</summary>
public enum GpuDeviceKind
{
    /// <summary>A GPU.</summary>
    Cuda,
    /// <summary>The emulator on the CPU.</summary>
    Emulator,
}
