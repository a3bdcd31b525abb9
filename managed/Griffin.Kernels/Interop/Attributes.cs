namespace Griffin.Kernels.Interop;

/// <summary>Device properties that can be queried (<c>CUdevice_attribute</c>); only those the library reads are named.</summary>
public enum DeviceAttribute
{
    /// <summary>Threads of one block at most.</summary>
    MaxThreadsPerBlock = 1,
    /// <summary>Largest block size in x.</summary>
    MaxBlockX = 2,
    /// <summary>Largest block size in y.</summary>
    MaxBlockY = 3,
    /// <summary>Largest block size in z.</summary>
    MaxBlockZ = 4,
    /// <summary>Largest grid size in x.</summary>
    MaxGridX = 5,
    /// <summary>Largest grid size in y.</summary>
    MaxGridY = 6,
    /// <summary>Largest grid size in z.</summary>
    MaxGridZ = 7,
    /// <summary>Shared memory of one block, in bytes, without opting in to more.</summary>
    SharedMemoryPerBlock = 8,
    /// <summary>Threads of one warp.</summary>
    WarpSize = 10,
    /// <summary>32-bit registers of one block at most.</summary>
    RegistersPerBlock = 12,
    /// <summary>Streaming multiprocessors.</summary>
    MultiprocessorCount = 16,
    /// <summary>Memory clock in kHz.</summary>
    MemoryClockRate = 36,
    /// <summary>Memory bus width in bits.</summary>
    MemoryBusWidth = 37,
    /// <summary>Second-level cache in bytes.</summary>
    L2CacheBytes = 38,
    /// <summary>Threads resident on one multiprocessor at most.</summary>
    MaxThreadsPerMultiprocessor = 39,
    /// <summary>Major part of the compute capability.</summary>
    ComputeCapabilityMajor = 75,
    /// <summary>Minor part of the compute capability.</summary>
    ComputeCapabilityMinor = 76,
    /// <summary>Shared memory of one multiprocessor, in bytes.</summary>
    SharedMemoryPerMultiprocessor = 81,
    /// <summary>32-bit registers of one multiprocessor.</summary>
    RegistersPerMultiprocessor = 82,
    /// <summary>Shared memory of one block, in bytes, after opting in.</summary>
    SharedMemoryPerBlockOptIn = 97,
    /// <summary>1 when stream-ordered allocation is supported.</summary>
    MemoryPoolsSupported = 115,
}

/// <summary>Kernel properties that can be queried or set (<c>CUfunction_attribute</c>).</summary>
public enum FunctionAttribute
{
    /// <summary>Threads of one block at most for this kernel.</summary>
    MaxThreadsPerBlock = 0,
    /// <summary>Static shared memory in bytes.</summary>
    SharedBytes = 1,
    /// <summary>Local memory per thread in bytes (stack and spills).</summary>
    LocalBytes = 3,
    /// <summary>Registers per thread.</summary>
    Registers = 4,
    /// <summary>Dynamic shared memory that a launch may ask for, in bytes; can be set.</summary>
    MaxDynamicSharedBytes = 8,
}
