using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>The heart of a device: its provider, its context, and the state of errors. Everything that makes native calls goes through it.</summary>
internal sealed class DeviceContext
{
    [ThreadStatic]
    private static DeviceContext? current;

    private readonly nint _context;
    private DeviceLostException? _lost;
    private bool _unusable;
    private string? _releaseError;

    public DeviceContext(GpuProvider provider, nint context)
    {
        Provider = provider;
        Driver = provider.Driver;
        _context = context;
        Captures = CaptureGate.Of(Driver, context);
    }

    public GpuProvider Provider { get; }

    public CudaDriver Driver { get; }

    public nint Handle => _context;

    public CaptureGate Captures { get; }

    /// <summary>Makes the context current on this thread; one compare when it already is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void MakeCurrent()
    {
        if (current != this || _unusable) MakeCurrentSlow();
    }

    /// <summary>True once the device is disposed or lost.</summary>
    public bool IsUnusable => _unusable;

    /// <summary>Refuses everything but releases from now on: the device's kernels are about to be unloaded.</summary>
    public void Close() => _unusable = true;

    /// <summary>Forgets what is current on this thread: something else may have changed it.</summary>
    public static void ForgetCurrent() => current = null;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void MakeCurrentSlow()
    {
        if (_lost is { } lost) throw new DeviceLostException(lost.Result, lost.Call, lost.Message);
        ObjectDisposedException.ThrowIf(_unusable, typeof(GpuDevice));
        current = null;
        Check(Driver.CtxSetCurrent(_context), "cuCtxSetCurrent");
        current = this;
    }

    /// <summary>As <see cref="MakeCurrent"/> for releases: never throws, works on a lost device.</summary>
    public void MakeCurrentForRelease()
    {
        if (current == this) return;
        current = Driver.CtxSetCurrent(_context) == CudaResult.Success ? this : null;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Check(CudaResult result, string call)
    {
        if (result != CudaResult.Success) Fail(result, call);
    }

    [DoesNotReturn]
    public void Fail(CudaResult result, string call, string? detail = null)
    {
        string message = $"{call} failed: {Named(result)}{Described(result)}";
        if (!string.IsNullOrWhiteSpace(detail)) message += $": {detail.Trim()}";
        string? fault = Provider.Emulator?.LastFault();
        if (!string.IsNullOrEmpty(fault)) message += $": {fault}";
        if (IsSticky(result))
        {
            _lost ??= new DeviceLostException(result, call, message);
            _unusable = true;
            throw _lost;
        }
        throw new GpuException(result, call, message);
    }

    /// <summary>Keeps an error of a release, which has nobody to throw at, for the next synchronising call.</summary>
    public void RecordReleaseError(CudaResult result, string call)
    {
        if (result is CudaResult.Success or CudaResult.Deinitialized || _lost is not null || IsSticky(result)) return;
        Interlocked.CompareExchange(ref _releaseError, $"an earlier {call} failed: {Named(result)}", null);
    }

    /// <summary>Throws the error that a release left behind, once.</summary>
    public void ThrowReleaseError()
    {
        string? error = Interlocked.Exchange(ref _releaseError, null);
        if (error is not null) throw new GpuException(CudaResult.Unknown, "release", error);
    }

    private string Named(CudaResult result) => $"{Driver.GetErrorName(result) ?? "error"} ({(int)result})";

    private string Described(CudaResult result) => Driver.GetErrorString(result) is { Length: > 0 } text ? $", {text}" : "";

    private static bool IsSticky(CudaResult result) => result is CudaResult.IllegalAddress or CudaResult.LaunchTimeout
        or CudaResult.ContextIsDestroyed or CudaResult.Assert or CudaResult.HardwareStackError or CudaResult.IllegalInstruction or CudaResult.MisalignedAddress
        or CudaResult.InvalidAddressSpace or CudaResult.InvalidProgramCounter or CudaResult.LaunchFailed
        or CudaResult.EccUncorrectable or CudaResult.NvlinkUncorrectable;
}
