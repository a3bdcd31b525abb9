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
    private readonly DeviceMemory _memory;
    private readonly DeviceBuffer<int> _seen;
    private readonly Stack<int> _free;

    internal StatePool(GpuStream stream, StateLayout layout, int slots, int vocabulary)
    {
        Stream = stream;
        Layout = layout;
        Slots = slots;
        _memory = stream.Device.AllocateBytes(slots * layout.SlotBytes);
        _seen = stream.Device.Allocate<int>(slots);
        Samplers = new SamplerPool(stream, slots, vocabulary);
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
    public void Dispose()
    {
        _memory.Dispose();
        _seen.Dispose();
        Samplers.Dispose();
    }

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
