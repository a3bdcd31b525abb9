using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// A block of device memory without an element type. Memory from <see cref="GpuDevice.AllocateBytes"/> is freed synchronously: disposing it waits for
/// everything queued on the device, so no kernel can see it go. Memory from <see cref="GpuStream.AllocateBytes"/> has that stream as its home and is freed in
/// the stream's order: work on other streams must be ordered before the disposal by events. What is let go while a graph is captured is freed after that.
/// </summary>
public sealed class DeviceMemory : IDisposable
{
    private readonly GpuHandle _handle;

    internal DeviceMemory(GpuDevice device, GpuHandle handle, long bytes)
    {
        Device = device;
        _handle = handle;
        Address = (ulong)handle.Value;
        Bytes = bytes;
    }

    /// <summary>The device that the memory belongs to.</summary>
    public GpuDevice Device { get; }

    /// <summary>The first byte's device address; at least 256-byte aligned.</summary>
    public ulong Address { get; }

    /// <summary>Size in bytes.</summary>
    public long Bytes { get; }

    /// <summary>True after disposal.</summary>
    public bool IsDisposed => _handle.IsClosed;

    internal GpuHandle Handle => _handle;

    /// <summary>Frees the memory; a second call does nothing.</summary>
    public void Dispose() => _handle.Dispose();

    internal void CheckRange(long offset, long bytes)
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        if (offset > Bytes - bytes) throw new ArgumentOutOfRangeException(nameof(bytes), $"Bytes {offset} to {offset + bytes} are outside an allocation of {Bytes} bytes.");
    }
}
