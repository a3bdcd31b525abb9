using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// Keeps captures apart from releases that would disturb them. A release that waits for the whole context invalidates every capture in it, whichever thread it
/// comes from, and the garbage collector may let go of memory at any time; such a release is made when the last capture has ended.
/// </summary>
internal sealed class CaptureGate
{
    private static readonly ConditionalWeakTable<CudaDriver, ConcurrentDictionary<nint, CaptureGate>> gates = [];

    private readonly Lock _lock = new();
    private readonly Queue<GpuHandle> _waiting = new();
    private int _captures;

    /// <summary>The gate of a native context, which several devices may share.</summary>
    public static CaptureGate Of(CudaDriver driver, nint context) => gates.GetOrCreateValue(driver).GetOrAdd(context, _ => new CaptureGate());

    /// <summary>Starts a capture, which counts unless it throws; waits for a release that is being made.</summary>
    public void Begin(Action capture)
    {
        lock (_lock)
        {
            capture();
            _captures++;
        }
    }

    /// <summary>A capture has ended, well or not.</summary>
    public void End()
    {
        lock (_lock)
        {
            if (--_captures > 0) return;
            while (_waiting.TryDequeue(out GpuHandle? handle)) handle.ReleaseNow();
        }
    }

    /// <summary>Releases now, or when the last capture has ended.</summary>
    public void Release(GpuHandle handle)
    {
        lock (_lock)
        {
            if (_captures > 0 && handle.DisturbsNow) _waiting.Enqueue(handle);
            else handle.ReleaseNow();
        }
    }
}
