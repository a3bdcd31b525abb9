using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// The operands of an attention call of two tokens once more, in sparse memory: rows of qkv and of the result, and state slots, further apart than 2³¹
/// elements. The first row's slot is 1, a second one's 0.
/// </summary>
internal sealed class FarAttentionCall
{
    private const long Stride = (1L << 31) + 1024;   // elements

    private readonly OpTest _test;
    private readonly AttentionCall _near;

    public FarAttentionCall(OpTest test, AttentionCall near)
    {
        (_test, _near) = (test, near);
        (Qkv, Output) = (Spread(near.Qkv), Spread(near.Output));
        var pool = test.Allocate((Stride * sizeof(ushort)) + RingBytes);
        Ring = new LayerState(pool, pool.Address, Stride * sizeof(ushort));
        var (rowStart, slots, seen) = (new int[near.Slots.Length + 1], new int[near.Slots.Length], new int[2]);
        for (var r = 0; r < slots.Length; r++)
        {
            slots[r] = 1 - r;
            seen[slots[r]] = near.RowData[r].Seen;
            rowStart[r + 1] = rowStart[r] + near.RowData[r].Positions.Length;
            test.Stream.CopyDevice(near.Ring.Pool, NearRing(r), pool, FarRing(r), RingBytes);
        }

        Positions = test.Integers([.. near.RowData.SelectMany(row => row.Positions)]);
        Rows = new PackedRows(Positions, test.Integers(rowStart), test.Integers(slots), test.Integers(seen));
        test.Stream.Synchronize();
    }

    public TensorView Qkv { get; }

    public TensorView Output { get; }

    public TensorView Positions { get; }

    public PackedRows Rows { get; }

    public LayerState Ring { get; }

    private int RingBytes => 2 * _near.Shape.RingSlots * _near.Shape.HeadDim * sizeof(ushort);

    /// <summary>The result and the rings have the bits of the call that this is a copy of.</summary>
    public void AssertSameBits()
    {
        var expected = _near.ReadOutput();
        Close.Finite(expected);
        var width = (int)Output.Columns;
        for (var t = 0; t < Output.Rows; t++)
            Assert.That(Bits(Output.Owner, t * Stride * sizeof(ushort), width), Is.EqualTo(Array.ConvertAll(expected[(t * width)..((t + 1) * width)], Bf16.Bits)), $"token {t}");
        for (var r = 0; r < _near.Slots.Length; r++)
        {
            Assert.That(Bits(Ring.Pool, FarRing(r), RingBytes / sizeof(ushort)), Is.EqualTo(Bits(_near.Ring.Pool, NearRing(r), RingBytes / sizeof(ushort))), $"ring of row {r}");
            var own = _near.RowData[r].Positions[^1] % _near.Shape.RingSlots * _near.Shape.HeadDim;
            Close.Finite(_near.ReadRing(r).Keys.AsSpan(own, _near.Shape.HeadDim), "the last key");
        }
    }

    private long NearRing(int row) => (long)(_near.Ring.Address - _near.Ring.Pool.Address) + (_near.Slots[row] * _near.Ring.SlotStride);

    private static long FarRing(int row) => (1 - row) * Stride * sizeof(ushort);

    private TensorView Spread(TensorView near)
    {
        Assert.That((near.Type, near.Rows), Is.EqualTo((ElementType.BFloat16, 2)));
        var memory = _test.Allocate((Stride + near.Columns) * sizeof(ushort));
        for (var t = 0; t < near.Rows; t++)
            _test.Stream.CopyDevice(near.Owner, (long)(near.RowRange(t, 1).Address - near.Owner.Address), memory, t * Stride * sizeof(ushort), near.Columns * sizeof(ushort));
        return TensorView.Of(memory, 0, near.Type, near.Rows, near.Columns, Stride);
    }

    private ushort[] Bits(DeviceMemory memory, long offset, int count)
    {
        var bits = new ushort[count];
        _test.Stream.CopyToHost<ushort>(memory, offset, bits);
        _test.Stream.Synchronize();
        return bits;
    }
}
