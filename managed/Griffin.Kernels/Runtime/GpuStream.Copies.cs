using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

public sealed partial class GpuStream
{
    /// <summary>Allocates uninitialised memory whose home is this stream: allocated and freed in its order where the device supports that.</summary>
    public DeviceMemory AllocateBytes(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        DeviceContext context = Enter();
        if (!Device.Limits.StreamOrderedMemory) return Device.AllocateBytes(bytes);
        context.Check(context.Driver.MemAllocAsync(out ulong address, (ulong)bytes, _stream), "cuMemAllocAsync");
        return new(Device, new StreamMemoryHandle(context, Handle, address), bytes);
    }

    /// <summary>Copies pageable host memory to the device, in the stream's order, and returns when the copy is done.</summary>
    public unsafe void CopyToDevice<T>(ReadOnlySpan<T> source, DeviceMemory destination, long destinationByteOffset = 0) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(destination);
        long bytes = (long)source.Length * sizeof(T);
        destination.CheckRange(destinationByteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        fixed (T* pointer = source)
        {
            context.Check(context.Driver.MemcpyHtoDAsync(destination.Address + (ulong)destinationByteOffset, pointer, (ulong)bytes, _stream), "cuMemcpyHtoDAsync");
            context.Check(context.Driver.StreamSynchronize(_stream), "cuStreamSynchronize");
        }
    }

    /// <summary>Queues a copy from pinned memory to the device; the source must not change until it has run.</summary>
    public unsafe void CopyToDevice<T>(PinnedBuffer<T> source, int start, int count, DeviceMemory destination, long destinationByteOffset = 0) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        T* pointer = source.Pointer(start, count);
        long bytes = (long)count * sizeof(T);
        destination.CheckRange(destinationByteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        context.Check(context.Driver.MemcpyHtoDAsync(destination.Address + (ulong)destinationByteOffset, pointer, (ulong)bytes, _stream), "cuMemcpyHtoDAsync");
    }

    /// <summary>Copies device memory to pageable host memory, in the stream's order, and returns when the copy is done.</summary>
    public unsafe void CopyToHost<T>(DeviceMemory source, long sourceByteOffset, Span<T> destination) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(source);
        long bytes = (long)destination.Length * sizeof(T);
        source.CheckRange(sourceByteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        fixed (T* pointer = destination)
        {
            context.Check(context.Driver.MemcpyDtoHAsync(pointer, source.Address + (ulong)sourceByteOffset, (ulong)bytes, _stream), "cuMemcpyDtoHAsync");
            context.Check(context.Driver.StreamSynchronize(_stream), "cuStreamSynchronize");
        }
    }

    /// <summary>Queues a copy from the device to pinned memory; read it after synchronising.</summary>
    public unsafe void CopyToHost<T>(DeviceMemory source, long sourceByteOffset, PinnedBuffer<T> destination, int start, int count) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        T* pointer = destination.Pointer(start, count);
        long bytes = (long)count * sizeof(T);
        source.CheckRange(sourceByteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        context.Check(context.Driver.MemcpyDtoHAsync(pointer, source.Address + (ulong)sourceByteOffset, (ulong)bytes, _stream), "cuMemcpyDtoHAsync");
    }

    /// <summary>Queues a copy within the device. The ranges must not overlap.</summary>
    public void CopyDevice(DeviceMemory source, long sourceByteOffset, DeviceMemory destination, long destinationByteOffset, long bytes)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        source.CheckRange(sourceByteOffset, bytes);
        destination.CheckRange(destinationByteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        context.Check(context.Driver.MemcpyDtoDAsync(destination.Address + (ulong)destinationByteOffset, source.Address + (ulong)sourceByteOffset, (ulong)bytes, _stream), "cuMemcpyDtoDAsync");
    }

    /// <summary>Queues a copy between typed views.</summary>
    /// <exception cref="ArgumentException">The destination is shorter than the source.</exception>
    public void CopyDevice<T>(ReadOnlyDeviceView<T> source, DeviceView<T> destination) where T : unmanaged
    {
        if (destination.Length < source.Length) throw new ArgumentException($"{source.Length} elements do not fit in {destination.Length}.", nameof(destination));
        CopyDevice(source.Owner, source.ByteOffset, destination.Owner, destination.ByteOffset, source.Bytes);
    }

    /// <summary>Queues setting bytes to a value.</summary>
    public void Fill(DeviceMemory memory, long byteOffset, long bytes, byte value)
    {
        ArgumentNullException.ThrowIfNull(memory);
        memory.CheckRange(byteOffset, bytes);
        if (bytes == 0) return;
        DeviceContext context = Enter();
        context.Check(context.Driver.MemsetD8Async(memory.Address + (ulong)byteOffset, value, (ulong)bytes, _stream), "cuMemsetD8Async");
    }

    /// <summary>Queues setting 32-bit words to a value, for instance the bits of a NaN.</summary>
    /// <param name="memory">The memory.</param>
    /// <param name="byteOffset">Start; a multiple of 4.</param>
    /// <param name="count">Number of words.</param>
    /// <param name="value">The word.</param>
    public void Fill32(DeviceMemory memory, long byteOffset, long count, uint value)
    {
        ArgumentNullException.ThrowIfNull(memory);
        if (byteOffset % sizeof(uint) != 0) throw new ArgumentException($"Byte offset {byteOffset} is not a multiple of 4.", nameof(byteOffset));
        memory.CheckRange(byteOffset, checked(count * sizeof(uint)));
        if (count == 0) return;
        DeviceContext context = Enter();
        context.Check(context.Driver.MemsetD32Async(memory.Address + (ulong)byteOffset, value, (ulong)count, _stream), "cuMemsetD32Async");
    }
}
