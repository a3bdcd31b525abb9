namespace Griffin.Kernels.Runtime;

/// <summary>Page-locked host memory: copies between it and the device are asynchronous. Disposal waits for the device.</summary>
/// <typeparam name="T">Element type.</typeparam>
public sealed unsafe class PinnedBuffer<T> : IDisposable where T : unmanaged
{
    private readonly PinnedHandle _handle;

    internal PinnedBuffer(PinnedHandle handle, int length) => (_handle, Length) = (handle, length);

    /// <summary>Number of elements.</summary>
    public int Length { get; }

    /// <summary>The elements. Do not touch them while a copy that uses them is under way.</summary>
    /// <exception cref="ObjectDisposedException">The buffer was disposed.</exception>
    public Span<T> Span
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return new((void*)_handle.Value, Length);
        }
    }

    internal T* Pointer(int start, int count)
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length - count, nameof(count));
        return (T*)_handle.Value + start;
    }

    /// <summary>Frees the memory once the device has finished what was queued.</summary>
    public void Dispose() => _handle.Dispose();
}
