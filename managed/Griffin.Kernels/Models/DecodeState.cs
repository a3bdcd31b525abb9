using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Models;

/// <summary>
/// A sequence's state as a value: a handle to a slot that can be copied, forked, saved, restored, and keyed by its exact token prefix.
/// Copies behave, to the bit, as the original would.
/// </summary>
/// <remarks>The recurrence cannot be run backwards: to return to an earlier point, fork or save there.</remarks>
public sealed class DecodeState : IDisposable
{
    private const uint SaveFormat = 0x31534b47; // "GKS1"
    private const int HeaderBytes = 4 + 4 + 8 + 4 + 4;

    private readonly List<int> _prefix = [];
    private readonly StatePool _pool;
    private bool _writing;
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

    /// <summary>Changes whenever the slot's content, or the sampler's settings, were replaced and not moved on.</summary>
    internal int Version { get; private set; }

    /// <summary>Forgets everything. What the memory holds, even NaN, has no effect on what follows.</summary>
    public void Reset()
    {
        CheckNotDisposed();
        _pool.SetSeen(Slot, 0);
        _pool.Samplers.Reset(Slot);
        Take(0, 0, []);
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
        CheckNotDisposed();
        other.CheckUse();
        if (other._pool != _pool) throw new ArgumentException("The states belong to different pools: save one and restore it into the other.", nameof(other));
        if (other == this) return;
        _pool.CopySlot(other.Slot, Slot);
        Take(other.NextPosition, other.Seen, CollectionsMarshal.AsSpan(other._prefix));
    }

    /// <summary>The state as bytes, to be restored into any pool of the same model, element type and ring size.</summary>
    /// <exception cref="InvalidOperationException">The state is larger than an array can be.</exception>
    public byte[] Save()
    {
        CheckUse();
        long bytes = SavedBytes(_prefix.Count);
        if (bytes > Array.MaxLength) throw new InvalidOperationException($"A state of {bytes} bytes does not fit one array: fork it instead, or give global attention a smaller capacity.");
        int slotBytes = (int)_pool.BytesPerSequence;
        byte[] saved = new byte[bytes];
        Span<byte> rest = saved;
        Put(ref rest, SaveFormat);
        Put(ref rest, (uint)_prefix.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(rest, _pool.Fingerprint);
        rest = rest[8..];
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
        CheckNotDisposed();
        if (saved.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(saved) != SaveFormat)
            throw new ArgumentException("These bytes are not a saved state.", nameof(saved));
        int tokens = BinaryPrimitives.ReadInt32LittleEndian(saved[4..]);
        if (BinaryPrimitives.ReadUInt64LittleEndian(saved[8..]) != _pool.Fingerprint)
            throw new ArgumentException("The saved state is of a model of another shape, precision or ring: restore it where it was saved.", nameof(saved));
        int nextPosition = BinaryPrimitives.ReadInt32LittleEndian(saved[16..]);
        int seen = BinaryPrimitives.ReadInt32LittleEndian(saved[20..]);
        if (tokens < 0 || nextPosition < 0 || seen < 0 || seen > nextPosition || saved.Length != SavedBytes(tokens))
            throw new ArgumentException("The saved state is damaged or truncated.", nameof(saved));

        ReadOnlySpan<byte> rest = saved[HeaderBytes..];
        int[] prefix = MemoryMarshal.Cast<byte, int>(rest[..(tokens * sizeof(int))]).ToArray();
        rest = rest[(tokens * sizeof(int))..];
        int slotBytes = (int)_pool.BytesPerSequence;
        _pool.Stream.CopyToDevice(rest[..slotBytes], _pool.Memory, Slot * _pool.BytesPerSequence);
        _pool.Samplers.Write(Slot, rest[slotBytes..]);
        _pool.SetSeen(Slot, seen);
        Take(nextPosition, seen, prefix);
    }

    /// <summary>Gives the slot back.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _pool.Return(Slot);
    }

    /// <summary>Says that a call is about to change the slot; until <see cref="Advance"/> its content is neither old nor new.</summary>
    internal void BeginWrite() => _writing = true;

    /// <summary>Follows what a call did to the slot.</summary>
    internal void Advance(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions)
    {
        _writing = false;
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

    /// <summary>Sets how tokens are drawn; what was counted stays.</summary>
    /// <returns>The version from now on: whoever set it otherwise before finds that his no longer holds.</returns>
    internal int Configure(SamplerSettings settings)
    {
        _pool.Samplers.Configure(Slot, settings);
        return ++Version;
    }

    internal bool BelongsTo(StatePool pool) => _pool == pool;

    internal void CheckUse()
    {
        CheckNotDisposed();
        if (_writing) throw new InvalidOperationException("A call that failed left this state half written: reset it, restore it, or copy another into it.");
    }

    private static void Put(ref Span<byte> rest, uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(rest, value);
        rest = rest[4..];
    }

    private void CheckNotDisposed() => ObjectDisposedException.ThrowIf(_disposed, this);

    private long SavedBytes(int tokens) => HeaderBytes + (long)tokens * sizeof(int) + _pool.BytesPerSequence + _pool.Samplers.BytesPerSlot;

    private void Take(int nextPosition, int seen, ReadOnlySpan<int> prefix)
    {
        _writing = false;
        Version++;
        (NextPosition, Seen) = (nextPosition, seen);
        _prefix.Clear();
        _prefix.AddRange(prefix);
    }
}
