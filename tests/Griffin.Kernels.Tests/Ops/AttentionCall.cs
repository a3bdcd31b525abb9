using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// A call of an attention op in device memory: rows with seeded q, k, v and histories, a pool whose rings hold the histories and are NaN
/// everywhere else, slots in an order of their own, and an output that starts as NaN.
/// </summary>
internal sealed class AttentionCall : IDisposable
{
    private const int RingOffset = 32;   // elements before the ring in a slot: another op's part

    private readonly OpTest _test;
    private readonly TensorView _pool;

    public AttentionCall(GpuDevice device, ElementType type, AttentionShapeCase shape, IReadOnlyList<AttentionReference.Row> rows, int[]? slots = null)
    {
        (_test, Type, Shape, RowData) = (new OpTest(device), type, shape, rows);
        Slots = slots ?? [.. Enumerable.Range(0, rows.Count).Select(r => rows.Count - r + 1)];
        var slotCount = Math.Max(rows.Count + 3, Slots.DefaultIfEmpty().Max() + 1);

        var stride = RingOffset + (((2 * shape.RingSlots * shape.HeadDim) + 127) / 128 * 128);
        var pool = Poison.Floats(slotCount * stride);
        var seen = new int[slotCount];
        for (var r = 0; r < rows.Count; r++)
        {
            seen[Slots[r]] = rows[r].Seen;
            WriteHistory(rows[r], pool.AsSpan((Slots[r] * stride) + RingOffset, 2 * shape.RingSlots * shape.HeadDim));
        }

        _pool = _test.Matrix(pool, slotCount, stride, type);
        var tokens = rows.Sum(row => row.Positions.Length);
        var rowStart = new int[rows.Count + 1];
        for (var r = 0; r < rows.Count; r++)
            rowStart[r + 1] = rowStart[r] + rows[r].Positions.Length;
        Qkv = _test.Matrix(rows.SelectMany(row => row.Qkv).ToArray(), tokens, (shape.Heads + 2) * shape.HeadDim, type, gap: 16);
        Output = _test.Output(tokens, shape.Heads * shape.HeadDim, type, gap: 8);
        Positions = _test.Integers(rows.SelectMany(row => row.Positions).ToArray());
        Rows = new PackedRows(Positions, _test.Integers(rowStart), _test.Integers(Slots), _test.Integers(seen));
        Ring = new LayerState(_pool.Owner, _pool.Address + (ulong)(RingOffset * type.SizeOf()), (long)stride * type.SizeOf());
    }

    public OpTest Test => _test;

    public GpuStream Stream => _test.Stream;

    public ElementType Type { get; }

    public AttentionShapeCase Shape { get; }

    public IReadOnlyList<AttentionReference.Row> RowData { get; }

    public int[] Slots { get; }

    public TensorView Qkv { get; }

    public TensorView Output { get; }

    public TensorView Positions { get; }

    public PackedRows Rows { get; }

    public LayerState Ring { get; }

    /// <summary>A row with seeded contents: its tokens' positions and how many tokens its slot has seen.</summary>
    public static AttentionReference.Row MakeRow(AttentionShapeCase shape, ulong seed, int[] positions, int seen = 0)
    {
        var random = new CounterRandom(seed);
        return new(positions, seen, random.Bf16Normals(positions.Length * (shape.Heads + 2) * shape.HeadDim),
            random.Bf16Normals(seen * shape.HeadDim), random.Bf16Normals(seen * shape.HeadDim));
    }

    /// <summary>Positions from <paramref name="first"/> on.</summary>
    public static int[] Run(int first, int count) => [.. Enumerable.Range(first, count)];

    /// <summary>Compares the output, and the logarithms where there are any, with the reference, row by row.</summary>
    /// <param name="weightError">Half of what roundings of the weights change of a result; nothing in float32.</param>
    /// <param name="logSumExp">The logarithms, or nothing.</param>
    public void AssertOutput(double weightError, TensorView logSumExp = default)
    {
        var logarithms = logSumExp.IsEmpty ? [] : _test.Read(logSumExp);
        var reference = new AttentionReference(Shape.Heads, Shape.HeadDim, Shape.KeysVisible);
        var output = ReadOutput();
        var first = 0;
        foreach (var row in RowData)
        {
            var expected = reference.Compute(row);
            var actual = output.AsSpan(first, expected.Output.Length);
            if (Type == ElementType.BFloat16)
                Close.BFloat16(actual, expected.Output, i => reference.Bound(expected, i, weightError), Describe(row));
            else
                Close.Within(actual, expected.Output, i => 1e-30 + reference.Bound(expected, i, 0), Describe(row));
            if (!logSumExp.IsEmpty)
            {
                Close.Within(logarithms.AsSpan(first / Shape.HeadDim, expected.LogSumExp.Length), expected.LogSumExp,
                    i => reference.LogSumExpBound(expected, i, Type == ElementType.BFloat16 ? weightError : 0), $"logarithms, {Describe(row)}");
            }

            first += expected.Output.Length;
        }

        Assert.That(output, Has.Length.EqualTo(first));
    }

    public float[] ReadOutput() => _test.Read(Output);

    /// <summary>The ring of a row: keys and values [ringSlots, headDim] each, by ring slot.</summary>
    public (float[] Keys, float[] Values) ReadRing(int row)
    {
        var pool = ReadPool();
        var size = Shape.RingSlots * Shape.HeadDim;
        var from = (Slots[row] * (int)_pool.Columns) + RingOffset;
        return (pool[from..(from + size)], pool[(from + size)..(from + (2 * size))]);
    }

    /// <summary>Everything in the pool, to compare before and after.</summary>
    public float[] ReadPool() => _test.Read(_pool);

    /// <summary>The row with its one token's own key and value in the ring, as a decode step leaves them for attention.</summary>
    public static AttentionReference.Row WithOwnKey(AttentionReference.Row row, AttentionShapeCase shape)
    {
        var k = row.Qkv.AsSpan(shape.Heads * shape.HeadDim, shape.HeadDim);
        var v = row.Qkv.AsSpan((shape.Heads + 1) * shape.HeadDim, shape.HeadDim);
        return row with { HistoryKeys = [.. row.HistoryKeys, .. k], HistoryValues = [.. row.HistoryValues, .. v] };
    }

    public void Dispose() => _test.Dispose();

    // The history's last position lies right before the first token, or at it when a step has written its own key.
    private void WriteHistory(AttentionReference.Row row, Span<float> ring)
    {
        var count = row.HistoryKeys.Length / Shape.HeadDim;
        var first = row.Positions.FirstOrDefault();
        if (first < 0)
            return;
        for (var i = Math.Max(0, count - Shape.RingSlots); i < count; i++)
        {
            var slot = (first - row.Seen + i) % Shape.RingSlots;
            row.HistoryKeys.AsSpan(i * Shape.HeadDim, Shape.HeadDim).CopyTo(ring[(slot * Shape.HeadDim)..]);
            row.HistoryValues.AsSpan(i * Shape.HeadDim, Shape.HeadDim).CopyTo(ring[((Shape.RingSlots + slot) * Shape.HeadDim)..]);
        }
    }

    private string Describe(AttentionReference.Row row) => $"{Type} {Shape}, {row.Positions.Length} tokens from {row.Positions.FirstOrDefault()}, seen {row.Seen}";
}

/// <summary>Sizes of an attention layer under test.</summary>
internal sealed record AttentionShapeCase(int Heads, int HeadDim, int RingSlots, int KeysVisible);
