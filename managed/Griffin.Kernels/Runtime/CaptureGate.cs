namespace Griffin.Kernels.Runtime;

/// <summary>
/// Keeps captures and releases that wait for the whole context apart: such a wait invalidates every capture in the context, whichever thread it comes from,
/// and the garbage collector may let go of memory at any time. A release that meets a capture is made when the last one has ended.
/// </summary>
internal sealed class CaptureGate
{
    private readonly Lock _lock = new();
    private readonly Queue<GpuHandle> _waiting = new();
    private int _captures;

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
            if (_captures > 0) _waiting.Enqueue(handle);
            else handle.ReleaseNow();
        }
    }
}
