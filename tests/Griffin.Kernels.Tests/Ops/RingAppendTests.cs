using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RingAppendTests
{
    [TestCase(ElementType.Float32, 2, 12, "general")]
    [TestCase(ElementType.Float32, 2, 12, "vector")]
    [TestCase(ElementType.BFloat16, 3, 7, "general")]
    [TestCase(ElementType.BFloat16, 1, 64, "vector")]
    public void KeepsTheLastDocumentByPosition(ElementType type, int heads, int headDim, string variant)
    {
        var shape = new AttentionShapeCase(heads, headDim, RingSlots: 9, KeysVisible: 9);
        AttentionReference.Row[] rows =
        [
            Row([0]), Row(AttentionCall.Run(0, 8)), Row(AttentionCall.Run(0, 9)), Row(AttentionCall.Run(0, 10)), Row(AttentionCall.Run(0, 32)),
            Row(AttentionCall.Run(5, 3), 5), Row(AttentionCall.Run(100, 1), 100), Row(AttentionCall.Run(100, 11), 3), Row([-1, -1, 0, 1, 2, -1]),
            Row([30, 31, 32, 0, 1], 30), Row([0, 1, 2, 0, 1, 2, 3, -1, -1]), Row([-1, -1], 4), Row([]), Row(AttentionCall.Run((1 << 24) + 1, 4), 9),
        ];
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var before = new AttentionCall(device, type, shape, rows);
            using var call = new AttentionCall(device, type, shape, rows);
            new RingAppend(device, type, heads, headDim, variant).Run(call.Stream, call.Rows, call.Qkv, call.Ring, shape.RingSlots);
            for (var r = 0; r < rows.Length; r++)
                AssertRing(before, call, r);
        }

        AttentionReference.Row Row(int[] positions, int seen = 0) => AttentionCall.MakeRow(shape, (ulong)positions.Length, positions, seen);
    }

    private static void AssertRing(AttentionCall before, AttentionCall after, int r)
    {
        var (shape, row) = (after.Shape, after.RowData[r]);
        var (d, width) = (shape.HeadDim, (shape.Heads + 2) * shape.HeadDim);
        var (keys, values) = before.ReadRing(r);
        var last = Array.FindLastIndex(row.Positions, position => position >= 0);
        for (var t = last < 0 ? 0 : Math.Max(row.DocumentStart(last), last - shape.RingSlots + 1); t <= last; t++)
        {
            var slot = row.Positions[t] % shape.RingSlots;
            row.Qkv.AsSpan((t * width) + (shape.Heads * d), d).CopyTo(keys.AsSpan(slot * d));
            row.Qkv.AsSpan((t * width) + ((shape.Heads + 1) * d), d).CopyTo(values.AsSpan(slot * d));
        }

        var (actualKeys, actualValues) = after.ReadRing(r);
        Close.Exact(actualKeys, keys, $"keys of row {r}");
        Close.Exact(actualValues, values, $"values of row {r}");
    }
}
