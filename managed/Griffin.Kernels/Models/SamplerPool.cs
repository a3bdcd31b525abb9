using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The sampler's part of every slot: settings, and how often each token occurred. It forks and is saved with the state.</summary>
internal sealed class SamplerPool : IDisposable
{
    private const long Alignment = 16;

    private readonly GpuStream _stream;
    private readonly DeviceMemory _memory;

    public SamplerPool(GpuStream stream, int slots, int vocabulary)
    {
        _stream = stream;
        BytesPerSlot = (Sampler.StateBytes(vocabulary) + Alignment - 1) / Alignment * Alignment;
        _memory = stream.Device.AllocateBytes(slots * BytesPerSlot);
    }

    public long BytesPerSlot { get; }

    public DeviceMemory Memory => _memory;

    public LayerState State => new(_memory, _memory.Address, BytesPerSlot);

    /// <summary>Sets how tokens are drawn; what was counted stays.</summary>
    public void Configure(int slot, SamplerSettings settings)
    {
        Span<byte> bytes = stackalloc byte[SamplerSettings.ByteCount];
        settings.WriteTo(bytes);
        _stream.CopyToDevice<byte>(bytes, _memory, slot * BytesPerSlot);
    }

    /// <summary>Greedy, nothing counted.</summary>
    public void Reset(int slot)
    {
        _stream.Fill(_memory, slot * BytesPerSlot, BytesPerSlot, 0);
        Configure(slot, SamplerSettings.Greedy);
    }

    public void Copy(int from, int to) => _stream.CopyDevice(_memory, from * BytesPerSlot, _memory, to * BytesPerSlot, BytesPerSlot);

    public void Read(int slot, Span<byte> destination) => _stream.CopyToHost(_memory, slot * BytesPerSlot, destination);

    public void Write(int slot, ReadOnlySpan<byte> source) => _stream.CopyToDevice(source, _memory, slot * BytesPerSlot);

    public void Dispose() => _memory.Dispose();
}
