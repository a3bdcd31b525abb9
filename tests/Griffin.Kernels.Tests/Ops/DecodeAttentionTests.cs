using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class DecodeAttentionTests
{
    private const int Far = (1 << 24) + 5;

    private static readonly (int Heads, int HeadDim)[] shapes = [(2, 12), (3, 64), (1, 7), (5, 32), (10, 256), (16, 80), (20, 16), (1, 300), (3, 520)];

    private static IEnumerable<TestCaseData> Variants()
    {
        foreach (var (heads, headDim) in shapes)
        {
            foreach (var type in OpTest.Types)
            {
                yield return new(type, "general", heads, headDim);
                if (headDim % (16 / type.SizeOf()) != 0) continue;
                yield return new(type, "vector", heads, headDim);
                if (TestDevices.IsEmulator) yield return new(type, "serial", heads, headDim);
            }
        }
    }

    [TestCaseSource(nameof(Variants))]
    public void MatchesReference(ElementType type, string variant, int heads, int headDim)
    {
        foreach (var (ringSlots, keysVisible) in new[] { (1, 1), (33, 33), (129, 128) })
        {
            var shape = new AttentionShapeCase(heads, headDim, ringSlots, keysVisible);
            using var call = Run(TestDevices.Checked, type, variant, shape, Rows(shape, [0, 1, 31, 32, 33, 127, 128, 129, 400, Far, -1, 0]));
            call.AssertOutput(roundedWeights: false);
        }
    }

    // Fewer tokens seen than positions passed: the state was made in the middle of a document.
    [TestCase("general")]
    [TestCase("vector")]
    [TestCase(null)]
    public void SeesOnlyWhatTheStateHolds(string? variant)
    {
        var shape = new AttentionShapeCase(3, 64, 70, 70);
        AttentionReference.Row[] rows =
        [
            .. new[] { (1000, 0), (1001, 1), (69, 3), (70, 40), (1000, 69), (140, 65) }
                .Select(each => AttentionCall.WithOwnKey(AttentionCall.MakeRow(shape, (ulong)each.Item1, [each.Item1], each.Item2), shape)),
        ];
        using var call = Run(TestDevices.Checked, ElementType.BFloat16, variant, shape, rows);
        call.AssertOutput(roundedWeights: false);
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using var device = TestDevices.OpenChecked(seed, smallShared: true);
        var shape = new AttentionShapeCase(4, 256, 100, 100);
        foreach (var type in OpTest.Types)
        {
            using var call = Run(device, type, "vector", shape, Rows(shape, [7, 99, 250]));
            call.AssertOutput(roundedWeights: false);
        }
    }

    /// <summary>At equal shapes a row's bits are its own: neighbours and slot numbers do not show.</summary>
    [Test]
    public void NeighboursDoNotShow()
    {
        var shape = new AttentionShapeCase(3, 64, 65, 65);
        var rows = Rows(shape, [200, 10, 64]);
        using var one = Run(TestDevices.Checked, ElementType.BFloat16, "vector", shape, rows);
        using var other = Run(TestDevices.Checked, ElementType.BFloat16, "vector", shape, [.. Rows(shape, [3, -1]), rows[0]], slots: [4, 1, 5]);
        var width = shape.Heads * shape.HeadDim;
        Close.Exact(other.ReadOutput().AsSpan(2 * width, width), one.ReadOutput().AsSpan(0, width));
    }

    /// <summary>Step by step (rotary step, decode attention) gives what one prefill gives, to the bounds of both, and rings of equal bits.</summary>
    [TestCase(ElementType.Float32, 2, 12, 6)]
    [TestCase(ElementType.BFloat16, 3, 64, 32)]
    public void StepsMatchPrefill(ElementType type, int heads, int headDim, int rotated)
    {
        const int Count = 40;
        var device = TestDevices.Checked;
        var shape = new AttentionShapeCase(heads, headDim, 17, 17);
        var row = AttentionCall.MakeRow(shape, 4, AttentionCall.Run(0, Count));
        using var phases = device.Upload<ulong>(RotaryPhases.Compute(rotated, 10_000));
        using var prefill = new AttentionCall(device, type, shape, [row]);
        new RotaryEmbedding(device, type, heads, headDim, rotated).Run(prefill.Stream, prefill.Qkv, prefill.Positions, phases.View());
        new WindowAttention(device, type, heads, headDim).Run(prefill.Stream, prefill.Rows, prefill.Qkv, prefill.Ring, 17, 17, prefill.Output);
        new RingAppend(device, type, heads, headDim).Run(prefill.Stream, prefill.Rows, prefill.Qkv, prefill.Ring, 17);

        using var steps = new AttentionCall(device, type, shape, [row]);
        var (rotary, attention) = (new RotaryStep(device, type, heads, headDim, rotated), new DecodeAttention(device, type, heads, headDim));
        var workspace = Workspace(steps.Test, attention, 1, 17);
        var slot = steps.Test.Integers(steps.Slots);
        var rowStart = steps.Test.Integers(0, 1);
        for (var t = 0; t < Count; t++)
        {
            var rows = new PackedRows(steps.Positions.ColumnRange(t, 1), rowStart, slot, steps.Test.Integers(t, t, t, t));
            rotary.Run(steps.Stream, rows, steps.Qkv.RowRange(t, 1), phases.View(), steps.Ring, 17);
            attention.Run(steps.Stream, rows, steps.Qkv.RowRange(t, 1), steps.Ring, 17, 17, steps.Output.RowRange(t, 1), workspace);
        }

        Close.Exact(steps.ReadRing(0).Keys, prefill.ReadRing(0).Keys);
        Close.Exact(steps.ReadRing(0).Values, prefill.ReadRing(0).Values);
        double[] expected = [.. prefill.ReadOutput().Select(value => (double)value)];
        Close.Absolute(steps.ReadOutput(), expected, type == ElementType.Float32 ? 1e-5 : 0.03);
    }

    [Test]
    public void RefusesASmallWorkspace()
    {
        var shape = new AttentionShapeCase(2, 16, 9, 9);
        var op = new DecodeAttention(TestDevices.Checked, ElementType.BFloat16, 2, 16);
        using var call = new AttentionCall(TestDevices.Checked, ElementType.BFloat16, shape, Rows(shape, [4, 5]));
        var small = TensorView.Of(call.Test.Allocate(op.WorkspaceBytes(2, 9)), 4, ElementType.UInt8, 1, op.WorkspaceBytes(2, 9) - 4);
        Assert.That(() => op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, 9, 9, call.Output, small), Throws.ArgumentException);
        Assert.That(op.WorkspaceBytes(0, 9), Is.Zero);
    }

    private static AttentionReference.Row[] Rows(AttentionShapeCase shape, int[] positions) =>
        [.. positions.Select(position => AttentionCall.WithOwnKey(AttentionCall.MakeRow(shape, (ulong)(position + 2), [position], Math.Clamp(position, 0, 300)), shape))];

    private static AttentionCall Run(GpuDevice device, ElementType type, string? variant, AttentionShapeCase shape, AttentionReference.Row[] rows, int[]? slots = null)
    {
        var call = new AttentionCall(device, type, shape, rows, slots);
        var op = new DecodeAttention(device, type, shape.Heads, shape.HeadDim, variant);
        op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, shape.RingSlots, shape.KeysVisible, call.Output, Workspace(call.Test, op, rows.Length, shape.RingSlots));
        return call;
    }

    private static TensorView Workspace(OpTest test, DecodeAttention op, int rows, int ringSlots)
    {
        var bytes = op.WorkspaceBytes(rows, ringSlots);
        return TensorView.Of(test.Allocate(bytes), 0, ElementType.UInt8, 1, bytes);
    }
}
