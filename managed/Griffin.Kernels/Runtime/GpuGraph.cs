namespace Griffin.Kernels.Runtime;

/// <summary>Work captured from a stream, to be launched as a whole any number of times. It keeps alive the memory it was told of when it was made.</summary>
public sealed class GpuGraph : IDisposable
{
    private readonly GpuHandle[] _held;
    private int _disposed;

    internal GpuGraph(GpuDevice device, GraphHandle handle, ReadOnlySpan<DeviceMemory> uses)
    {
        Device = device;
        Handle = handle;
        _held = new GpuHandle[uses.Length];
        int count = 0;
        try
        {
            foreach (DeviceMemory memory in uses)
            {
                bool added = false;
                memory.Handle.DangerousAddRef(ref added);
                _held[count++] = memory.Handle;
            }
        }
        catch
        {
            for (int i = 0; i < count; i++) _held[i].DangerousRelease();
            handle.Dispose();
            throw;
        }
    }

    /// <summary>The device of the graph.</summary>
    public GpuDevice Device { get; }

    internal GraphHandle Handle { get; }

    /// <summary>Destroys the graph and lets go of the memory it held; launches under way finish.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        Handle.Dispose();
        foreach (GpuHandle held in _held) held.DangerousRelease();
    }
}
