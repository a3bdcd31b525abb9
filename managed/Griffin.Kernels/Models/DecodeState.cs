using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Griffin.Kernels.Models;

/// <summary>
/// A sequence's state as a value: a handle to a slot that can be copied, forked, saved, restored, and keyed by its exact token prefix.
/// Copies behave, to the bit, as the original would.
/// </summary>
/// <remarks>The recurrence cannot be run backwards: to return to an earlier point, fork or save there.</remarks>
public sealed class DecodeState : IDisposable
{
    private const uint SaveFormat = 0x31534b47; // "GKS1"
    private const int HeaderBytes = 4 + 4 + 8 + 4 + 4 + 4;

    private readonly List<int> _prefix = [];
    private readonly StatePool _pool;
    private bool _disposed;

    internal DecodeState(StatePool pool, int slot)
    {
        _pool = pool;
        Slot = slot;
    }

    /// <summary>The position that continues the sequence.</summary>
    public int NextPosition { get; private set; }

    /// <summary>Tokens of the document since the reset or its start: the key of what this state holds.</summary>
    public IReadOnlyList<int> Prefix => _prefix;

    /// <summary>Tokens that the state has seen since the reset or the last document start.</summary>
    public int Seen { get; private set; }

    internal int Slot { get; }

    /// <summary>Forgets everything. What the memory holds, even NaN, has no effect on what follows.</summary>
    public void Reset()
    {
        CheckUse();
        _prefix.Clear();
        (NextPosition, Seen) = (0, 0);
        _pool.SetSeen(Slot, 0);
        _pool.Samplers.Reset(Slot);
    }

    /// <summary>A second state, equal to this one, in a slot of its own; the sampler forks with it.</summary>
    /// <exception cref="InvalidOperationException">Every slot is rented.</exception>
    public DecodeState Fork()
    {
        CheckUse();
        DecodeState fork = _pool.Rent();
        fork.CopyFrom(this);
        return fork;
    }

    /// <summary>Becomes equal to another state of the same pool.</summary>
    /// <exception cref="ArgumentException">The other state belongs to another pool.</exception>
    public void CopyFrom(DecodeState other)
    {
        ArgumentNullException.ThrowIfNull(other);
        CheckUse();
        other.CheckUse();
        if (other._pool != _pool) throw new ArgumentException("The states belong to different pools: save one and restore it into the other.", nameof(other));
        if (other == this) return;
        _pool.CopySlot(other.Slot, Slot);
        Take(other.NextPosition, other.Seen, CollectionsMarshal.AsSpan(other._prefix));
    }

    /// <summary>The state as bytes, to be restored into any pool of the same model, element type and ring size.</summary>
    public byte[] Save()
    {
        CheckUse();
        int slotBytes = checked((int)_pool.BytesPerSequence);
        int samplerBytes = checked((int)_pool.Samplers.BytesPerSlot);
        byte[] saved = new byte[HeaderBytes + _prefix.Count * sizeof(int) + slotBytes + samplerBytes];
        Span<byte> rest = saved;
        Put(ref rest, SaveFormat);
        Put(ref rest, (uint)_prefix.Count);
        BinaryPrimitives.WriteInt64LittleEndian(rest, slotBytes);
        rest = rest[8..];
        Put(ref rest, (uint)samplerBytes);
        Put(ref rest, (uint)NextPosition);
        Put(ref rest, (uint)Seen);
        foreach (int token in _prefix) Put(ref rest, (uint)token);
        _pool.Stream.CopyToHost(_pool.Memory, Slot * _pool.BytesPerSequence, rest[..slotBytes]);
        _pool.Samplers.Read(Slot, rest[slotBytes..]);
        return saved;
    }

    /// <summary>Becomes what was saved.</summary>
    /// <exception cref="ArgumentException">The bytes are no saved state, or one of a model of another shape or element type.</exception>
    public void Restore(ReadOnlySpan<byte> saved)
    {
        CheckUse();
        if (saved.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(saved) != SaveFormat)
            throw new ArgumentException("These bytes are not a saved state.", nameof(saved));
        int tokens = BinaryPrimitives.ReadInt32LittleEndian(saved[4..]);
        long slotBytes = BinaryPrimitives.ReadInt64LittleEndian(saved[8..]);
        int samplerBytes = BinaryPrimitives.ReadInt32LittleEndian(saved[16..]);
        if (slotBytes != _pool.BytesPerSequence || samplerBytes != _pool.Samplers.BytesPerSlot)
            throw new ArgumentException($"The saved state has {slotBytes} bytes a sequence, this pool {_pool.BytesPerSequence}: it is of another model, precision or ring.", nameof(saved));
        if (tokens < 0 || saved.Length != HeaderBytes + (long)tokens * sizeof(int) + slotBytes + samplerBytes)
            throw new ArgumentException("The saved state is truncated.", nameof(saved));

        ReadOnlySpan<byte> rest = saved[HeaderBytes..];
        int[] prefix = MemoryMarshal.Cast<byte, int>(rest[..(tokens * sizeof(int))]).ToArray();
        rest = rest[(tokens * sizeof(int))..];
        _pool.Stream.CopyToDevice(rest[..(int)slotBytes], _pool.Memory, Slot * _pool.BytesPerSequence);
        _pool.Samplers.Write(Slot, rest[(int)slotBytes..]);
        Take(BinaryPrimitives.ReadInt32LittleEndian(saved[20..]), BinaryPrimitives.ReadInt32LittleEndian(saved[24..]), prefix);
        _pool.SetSeen(Slot, Seen);
    }

    /// <summary>Gives the slot back.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _pool.Return(Slot);
    }

    /// <summary>Follows what a call did to the slot.</summary>
    internal void Advance(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions)
    {
        int last = PackedCall.LastToken(positions);
        if (last < 0) return;
        for (int i = 0; i <= last; i++)
        {
            if (positions[i] == 0) _prefix.Clear();
            if (positions[i] >= 0) _prefix.Add(tokens[i]);
        }

        Seen = PackedCall.SeenAfter(positions, Seen);
        NextPosition = positions[last] + 1;
    }

    internal bool BelongsTo(StatePool pool) => _pool == pool;

    internal void CheckUse() => ObjectDisposedException.ThrowIf(_disposed, this);

    private static void Put(ref Span<byte> rest, uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(rest, value);
        rest = rest[4..];
    }

    private void Take(int nextPosition, int seen, ReadOnlySpan<int> prefix)
    {
        (NextPosition, Seen) = (nextPosition, seen);
        _prefix.Clear();
        _prefix.AddRange(prefix);
    }
}
