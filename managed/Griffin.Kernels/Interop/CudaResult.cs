namespace Griffin.Kernels.Interop;

/// <summary>Status of a CUDA driver call (<c>CUresult</c>). Values that are not named here are passed on unchanged.</summary>
public enum CudaResult
{
    /// <summary>The call succeeded.</summary>
    Success = 0,
    /// <summary>An argument is out of range.</summary>
    InvalidValue = 1,
    /// <summary>The device has not enough free memory.</summary>
    OutOfMemory = 2,
    /// <summary><c>cuInit</c> was not called.</summary>
    NotInitialized = 3,
    /// <summary>The driver is shutting down.</summary>
    Deinitialized = 4,
    /// <summary>The library is the toolkit's link-time stub, not a driver.</summary>
    StubLibrary = 34,
    /// <summary>The device is taken or cannot be used now.</summary>
    DeviceUnavailable = 46,
    /// <summary>No CUDA device is present.</summary>
    NoDevice = 100,
    /// <summary>The device ordinal does not exist.</summary>
    InvalidDevice = 101,
    /// <summary>The module image is not valid.</summary>
    InvalidImage = 200,
    /// <summary>No context is current on this thread, or the context is invalid.</summary>
    InvalidContext = 201,
    /// <summary>The module holds no code for this device.</summary>
    NoBinaryForGpu = 209,
    /// <summary>An uncorrectable memory error was met.</summary>
    EccUncorrectable = 214,
    /// <summary>PTX could not be compiled.</summary>
    InvalidPtx = 218,
    /// <summary>An uncorrectable NVLink error was met.</summary>
    NvlinkUncorrectable = 220,
    /// <summary>The PTX is newer than the driver.</summary>
    UnsupportedPtxVersion = 222,
    /// <summary>A handle is not valid.</summary>
    InvalidHandle = 400,
    /// <summary>A named symbol does not exist in the module.</summary>
    NotFound = 500,
    /// <summary>The work is not finished yet.</summary>
    NotReady = 600,
    /// <summary>A kernel accessed an address outside its allocations.</summary>
    IllegalAddress = 700,
    /// <summary>A launch needs more registers, threads or shared memory than there are.</summary>
    LaunchOutOfResources = 701,
    /// <summary>A kernel ran longer than the system allows.</summary>
    LaunchTimeout = 702,
    /// <summary>The context was destroyed.</summary>
    ContextIsDestroyed = 709,
    /// <summary>A device-side assertion failed.</summary>
    Assert = 710,
    /// <summary>The device stack is corrupt.</summary>
    HardwareStackError = 714,
    /// <summary>A kernel met an illegal instruction.</summary>
    IllegalInstruction = 715,
    /// <summary>A kernel accessed a misaligned address.</summary>
    MisalignedAddress = 716,
    /// <summary>A kernel used an address of the wrong space.</summary>
    InvalidAddressSpace = 717,
    /// <summary>A kernel's program counter left its code.</summary>
    InvalidProgramCounter = 718,
    /// <summary>A kernel failed.</summary>
    LaunchFailed = 719,
    /// <summary>The call is not supported here.</summary>
    NotSupported = 801,
    /// <summary>The user-mode driver and the kernel driver differ.</summary>
    SystemDriverMismatch = 803,
    /// <summary>The call is not allowed while a stream captures.</summary>
    StreamCaptureUnsupported = 900,
    /// <summary>An earlier call invalidated the capture.</summary>
    StreamCaptureInvalidated = 901,
    /// <summary>The call would make captured work wait for work outside the capture.</summary>
    StreamCaptureImplicit = 906,
    /// <summary>The capture was begun by another thread, which alone may end it.</summary>
    StreamCaptureWrongThread = 908,
    /// <summary>An error without a better name.</summary>
    Unknown = 999,
}
