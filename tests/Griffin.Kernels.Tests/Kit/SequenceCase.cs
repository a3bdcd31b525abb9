using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>One row of a call: its slot and the positions of its tokens.</summary>
internal sealed record SequenceRow(int Slot, params int[] Positions);

/// <summary>The rows of one call over sequences on the host: what <see cref="PackedRows"/> is on the device.</summary>
/// <param name="Rows">The rows.</param>
/// <param name="Seen">Tokens that each slot of the pool has seen.</param>
internal sealed record SequenceCase(IReadOnlyList<SequenceRow> Rows, IReadOnlyList<int> Seen)
{
    /// <summary>Slots of the pool, more than the rows use, so that a write to a wrong one shows.</summary>
    public int Slots => Seen.Count;

    public int Tokens => Rows.Sum(row => row.Positions.Length);

    /// <summary>
    /// Rows of every kind: one document; several in a row; one that goes on; one that goes on and then starts anew; padding on either side; a first
    /// position in mid-document on a fresh slot; nothing but padding; nothing at all. <paramref name="length"/> is the length of the longer rows.
    /// </summary>
    public static SequenceCase Mixed(int length) => new(
    [
        new(3, From(0, length)),
        new(0, [.. From(0, length / 3), .. From(0, 1), .. From(0, length - (length / 3) + 2)]),
        new(5, From(7, length)),
        new(7),
        new(1, [.. From(2, 2), .. From(0, length)]),
        new(6, [-1, -1, .. From(0, length), -1, -1, -1]),
        new(2, From(4, length)),
        new(8, -1, -1),
        new(9, From(1, 1)),
    ],
        [0, 4, 0, 0, 9, 7, 3, 2, 5, 1, 0]);

    /// <summary>Positions first, first + 1, …</summary>
    public static int[] From(int first, int count) => [.. Enumerable.Range(first, count)];

    /// <summary>The call on a device.</summary>
    public PackedRows Upload(OpTest test)
    {
        var starts = new int[Rows.Count + 1];
        for (var r = 0; r < Rows.Count; r++)
            starts[r + 1] = starts[r] + Rows[r].Positions.Length;
        return new PackedRows(test.Integers([.. Rows.SelectMany(row => row.Positions)]), test.Integers(starts),
            test.Integers([.. Rows.Select(row => row.Slot)]), test.Integers([.. Seen]));
    }

    /// <summary>The slots after the call: tokens since the last position 0, or since before.</summary>
    public int[] SeenAfter()
    {
        int[] after = [.. Seen];
        foreach (var row in Rows)
        {
            foreach (var position in row.Positions.Where(position => position >= 0))
                after[row.Slot] = position == 0 ? 1 : after[row.Slot] + 1;
        }

        return after;
    }

    /// <summary>The tokens first … first+count-1 of every row as a call of their own, and the packed index of each.</summary>
    public (SequenceCase Call, int[] Tokens) Part(int first, int count, IReadOnlyList<int> seen)
    {
        List<SequenceRow> rows = [];
        List<int> tokens = [];
        var start = 0;
        foreach (var row in Rows)
        {
            var from = Math.Min(first, row.Positions.Length);
            var part = row.Positions[from..Math.Min(first + count, row.Positions.Length)];
            rows.Add(row with { Positions = part });
            tokens.AddRange(From(start + from, part.Length));
            start += row.Positions.Length;
        }

        return (new SequenceCase(rows, seen), [.. tokens]);
    }
}

/// <summary>States of one layer in a pool: slots apart from each other, with a gap between, all of it NaN until written.</summary>
internal sealed class StateMemory
{
    private readonly OpTest _test;
    private readonly DeviceMemory _memory;
    private readonly int _bytes;
    private readonly int _slots;
    private readonly int _stride;

    public StateMemory(OpTest test, int slots, int bytesPerSlot)
    {
        (_test, _slots, _bytes) = (test, slots, bytesPerSlot);
        _stride = (bytesPerSlot + 15) / 16 * 16 + 32;
        _memory = test.Allocate(Offset + ((long)_stride * slots));
        test.Stream.CopyToDevice<byte>(Poison.Bytes((int)_memory.Bytes), _memory);
    }

    public LayerState State => new(_memory, _memory.Address + (ulong)Offset, _stride);

    private static int Offset => 64;

    /// <summary>Sets one slot.</summary>
    public void Write(int slot, ReadOnlySpan<float> values, ElementType type)
    {
        if (type == ElementType.Float32)
            _test.Stream.CopyToDevice(values, _memory, Offset + ((long)slot * _stride));
        else
            _test.Stream.CopyToDevice<BFloat16>(Array.ConvertAll(values.ToArray(), BFloat16.FromSingle), _memory, Offset + ((long)slot * _stride));
    }

    /// <summary>One slot's values.</summary>
    public float[] Read(int slot, ElementType type)
    {
        var bytes = ReadBytes(slot);
        return type == ElementType.Float32
            ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes).ToArray()
            : Array.ConvertAll(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, BFloat16>(bytes).ToArray(), value => value.ToSingle());
    }

    /// <summary>Fails if anything but the given slots has been written, gaps included.</summary>
    public void AssertOnlyWritten(IEnumerable<int> slots)
    {
        var all = new byte[_memory.Bytes];
        _test.Stream.CopyToHost(_memory, 0, all.AsSpan());
        var poison = Poison.Bytes(all.Length);
        foreach (var slot in slots)
            poison.AsSpan(Offset + (slot * _stride), _bytes).CopyTo(all.AsSpan(Offset + (slot * _stride)));
        Assert.That(all.AsSpan().SequenceEqual(poison), "state memory outside the written slots has changed");
    }

    public override string ToString() => $"{_slots} slots of {_bytes} bytes";

    private byte[] ReadBytes(int slot)
    {
        var bytes = new byte[_bytes];
        _test.Stream.CopyToHost(_memory, Offset + ((long)slot * _stride), bytes.AsSpan());
        return bytes;
    }
}
