using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>A point in a stream's work, set by <see cref="GpuStream.Record"/>; other streams and the host can wait for it.</summary>
public sealed class GpuEvent : IDisposable
{
    private const uint DisableTiming = 2;

    internal GpuEvent(GpuDevice device, bool timing)
    {
        Device = device;
        DeviceContext context = device.Enter();
        context.Check(context.Driver.EventCreate(out nint handle, timing ? 0 : DisableTiming), "cuEventCreate");
        Handle = new EventHandle(context, device.ContextHandle, handle);
    }

    /// <summary>The device of the event.</summary>
    public GpuDevice Device { get; }

    internal EventHandle Handle { get; }

    /// <summary>True when everything before the event has finished (or it was never recorded).</summary>
    public bool IsCompleted
    {
        get
        {
            DeviceContext context = Enter();
            CudaResult result = context.Driver.EventQuery(Handle.Value);
            if (result == CudaResult.NotReady) return false;
            context.Check(result, "cuEventQuery");
            return true;
        }
    }

    /// <summary>Blocks until everything before the event has finished.</summary>
    public void Synchronize()
    {
        DeviceContext context = Enter();
        context.Check(context.Driver.EventSynchronize(Handle.Value), "cuEventSynchronize");
    }

    /// <summary>Time between two finished events that were made with timing, at a resolution of about half a microsecond.</summary>
    public TimeSpan ElapsedSince(GpuEvent start)
    {
        ArgumentNullException.ThrowIfNull(start);
        DeviceContext context = Enter();
        context.Check(context.Driver.EventElapsedTime(out float milliseconds, start.Handle.Value, Handle.Value), "cuEventElapsedTime");
        return TimeSpan.FromMilliseconds(milliseconds);
    }

    /// <summary>Destroys the event.</summary>
    public void Dispose() => Handle.Dispose();

    private DeviceContext Enter()
    {
        ObjectDisposedException.ThrowIf(Handle.IsClosed, this);
        return Device.Enter();
    }
}
