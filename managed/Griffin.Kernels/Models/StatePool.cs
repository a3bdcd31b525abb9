using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// The states of many sequences in one allocation, a slot each: what the layers carry (<see cref="StateLayout"/>), and apart from it the
/// sampler's settings, generator and counts.
/// </summary>
/// <remarks>Everything is queued on the session's stream. Not thread-safe.</remarks>
public sealed class StatePool : IDisposable
{
    private readonly OwnedResources _owned = new();
    private readonly DeviceMemory _memory;
    private readonly DeviceBuffer<int> _seen;
    private readonly Stack<int> _free;

    internal StatePool(GpuStream stream, StateLayout layout, int slots, int vocabulary)
    {
        byte[] shape = Encoding.UTF8.GetBytes($"{layout.ElementType} {layout.RingSlots} {layout.SlotBytes} {vocabulary} {string.Join(' ', layout.Layers)}");
        Fingerprint = BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(shape));
        Stream = stream;
        Layout = layout;
        Slots = slots;
        try
        {
            _memory = _owned.Add(stream.Device.AllocateBytes(slots * layout.SlotBytes));
            _seen = _owned.Add(stream.Device.Allocate<int>(slots));
            Samplers = _owned.Add(new SamplerPool(stream, slots, vocabulary));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        _free = new Stack<int>(Enumerable.Range(0, slots).Reverse());
    }

    /// <summary>Where each layer's state lies in a slot.</summary>
    public StateLayout Layout { get; }

    /// <summary>Sequences that can be held at once.</summary>
    public int Slots { get; }

    /// <summary>Slots not rented.</summary>
    public int FreeSlots => _free.Count;

    /// <summary>Bytes of one sequence's state: recurrences, convolution tails, keys and values.</summary>
    public long BytesPerSequence => Layout.SlotBytes;

    /// <summary>Bytes of one sequence's sampler, counted apart: settings, penalty counts, and how much the slot has seen.</summary>
    public long SamplerBytesPerSequence => Samplers.BytesPerSlot + sizeof(int);

    /// <summary>Tells slots apart that do not mean the same: equal for equal models, storage types and rings.</summary>
    internal ulong Fingerprint { get; }

    internal GpuStream Stream { get; }

    internal DeviceMemory Memory => _memory;

    internal SamplerPool Samplers { get; }

    internal TensorView Seen => _seen.View();

    /// <summary>Takes a free slot: a fresh state that has seen nothing.</summary>
    /// <exception cref="InvalidOperationException">Every slot is rented.</exception>
    public DecodeState Rent()
    {
        if (!_free.TryPop(out int slot))
            throw new InvalidOperationException($"All {Slots} state slots are in use: dispose a state, or make the session with more slots.");
        DecodeState state = new(this, slot);
        state.Reset();
        return state;
    }

    /// <summary>Frees the device memory; states rented from the pool can no longer be used.</summary>
    public void Dispose() => _owned.Dispose();

    internal void Return(int slot) => _free.Push(slot);

    internal void SetSeen(int slot, int seen) => Stream.Fill32(_seen.Memory, slot * (long)sizeof(int), 1, (uint)seen);

    internal void CopySlot(int from, int to)
    {
        Stream.CopyDevice(_memory, from * Layout.SlotBytes, _memory, to * Layout.SlotBytes, Layout.SlotBytes);
        Stream.CopyDevice(_seen.Memory, from * (long)sizeof(int), _seen.Memory, to * (long)sizeof(int), sizeof(int));
        Samplers.Copy(from, to);
    }

    internal LayerState StateOf(long offset) => new(_memory, _memory.Address + (ulong)offset, Layout.SlotBytes);
}
