namespace Griffin.Kernels.Runtime;

/// <summary>Typed device memory with simple host copies, for the edges of a program. Ops take <see cref="View()"/>.</summary>
/// <typeparam name="T">Element type.</typeparam>
public sealed class DeviceBuffer<T> : IDisposable where T : unmanaged
{
    internal DeviceBuffer(DeviceMemory memory, long length) => (Memory, Length) = (memory, length);

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>The memory itself.</summary>
    public DeviceMemory Memory { get; }

    /// <summary>Device address of the first element.</summary>
    public ulong Address => Memory.Address;

    /// <summary>The whole buffer as a typed view.</summary>
    public DeviceView<T> Span => new(Memory, 0, Length);

    /// <summary>The whole buffer as one row.</summary>
    public TensorView View() => View(1, Length);

    /// <summary>The first <paramref name="rows"/> · <paramref name="columns"/> elements, or rows set <paramref name="rowStride"/> elements apart.</summary>
    public TensorView View(long rows, long columns, long? rowStride = null) => TensorView.Of(Memory, 0, ElementTypes.Of<T>(), rows, columns, rowStride);

    /// <summary>Copies from the host to the start of the buffer: waits for all work queued on the device, copies, and returns when that is done.</summary>
    /// <exception cref="ArgumentException">The source is longer than the buffer.</exception>
    public void CopyFrom(ReadOnlySpan<T> source)
    {
        if (source.Length > Length) throw new ArgumentException($"{source.Length} elements do not fit in {Length}.", nameof(source));
        Memory.Device.Synchronize();
        Memory.Device.TransferStream.CopyToDevice(source, Memory);
    }

    /// <summary>Copies the start of the buffer to the host: waits for all work queued on the device first.</summary>
    /// <exception cref="ArgumentException">The destination is longer than the buffer.</exception>
    public void CopyTo(Span<T> destination)
    {
        if (destination.Length > Length) throw new ArgumentException($"{destination.Length} elements were asked of {Length}.", nameof(destination));
        Memory.Device.Synchronize();
        Memory.Device.TransferStream.CopyToHost(Memory, 0, destination);
    }

    /// <summary>The whole buffer on the host; waits as <see cref="CopyTo"/>.</summary>
    public T[] ToArray()
    {
        T[] values = new T[Length];
        CopyTo(values);
        return values;
    }

    /// <summary>Frees the memory; see <see cref="DeviceMemory"/>.</summary>
    public void Dispose() => Memory.Dispose();
}
