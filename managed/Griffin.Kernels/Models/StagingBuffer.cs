using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>A pinned buffer on its way to the device; taking it again waits until the last copy out of it has run.</summary>
internal sealed class StagingBuffer : IDisposable
{
    private readonly PinnedBuffer<byte> _buffer;
    private readonly GpuEvent _sent;
    private bool _pending;

    public StagingBuffer(GpuDevice device, int bytes)
    {
        _sent = device.CreateEvent();
        try
        {
            _buffer = device.AllocatePinned<byte>(bytes);
        }
        catch
        {
            _sent.Dispose();
            throw;
        }
    }

    /// <summary>Room for <paramref name="bytes"/> bytes.</summary>
    public Span<byte> Take(int bytes)
    {
        if (_pending) _sent.Synchronize();
        _pending = false;
        return _buffer.Span[..bytes];
    }

    /// <summary>Queues the copy of what was written.</summary>
    public void Send(GpuStream stream, DeviceMemory destination, long byteOffset, int bytes)
    {
        stream.CopyToDevice(_buffer, 0, bytes, destination, byteOffset);
        stream.Record(_sent);
        _pending = true;
    }

    public void Dispose()
    {
        _buffer.Dispose();
        _sent.Dispose();
    }
}
