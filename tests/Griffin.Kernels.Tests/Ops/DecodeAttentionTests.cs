using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class DecodeAttentionTests
{
    private const int Far = (1 << 24) + 5;

    private static readonly (int Heads, int HeadDim)[] shapes = [(2, 12), (3, 64), (1, 7), (5, 32), (10, 256), (16, 80), (20, 16), (1, 300), (3, 520), (16, 128), (17, 96), (2, 160), (1, 224)];

    private static IEnumerable<TestCaseData> Variants()
    {
        foreach (var (heads, headDim) in shapes)
        {
            foreach (var type in OpTest.Types)
            {
                yield return new(type, "general", heads, headDim);
                if (headDim % (16 / type.SizeOf()) != 0) continue;
                yield return new(type, "vector", heads, headDim);
                if (type == ElementType.BFloat16 && headDim % 32 == 0 && headDim <= 256)
                {
                    yield return new(type, "mma", heads, headDim);
                    yield return new(type, "mma-32", heads, headDim);
                }

                if (TestDevices.IsEmulator) yield return new(type, "serial", heads, headDim);
            }
        }
    }

    private static IEnumerable<string> Forms() => TestDevices.IsEmulator ? ["general", "vector", "mma", "mma-32", "serial"] : ["general", "vector", "mma", "mma-32"];

    [TestCaseSource(nameof(Variants))]
    public void MatchesReference(ElementType type, string variant, int heads, int headDim)
    {
        foreach (var (ringSlots, keysVisible) in new[] { (1, 1), (33, 33), (129, 128) })
        {
            var shape = new AttentionShapeCase(heads, headDim, ringSlots, keysVisible);
            using var call = Run(TestDevices.Checked, type, variant, shape, Rows(shape, [0, 1, 31, 32, 33, 127, 128, 129, 400, Far, -1, 0]));
            AssertOutput(call, variant);
        }
    }

    /// <summary>One split, few that one block merges, and many that are merged by groups, some without a key that is seen.</summary>
    [Test]
    public void HoweverManySplits([ValueSource(nameof(Forms))] string variant, [Values(1, 2, 3, 7, 8, 9, 10, 17, 33, 64, 90)] int splits)
    {
        var device = TestDevices.Checked;
        var tile = TileOf(variant);
        var shape = new AttentionShapeCase(3, 32, (tile * splits) - 5, (tile * splits) - 5);
        int[] positions = [0, tile, shape.RingSlots - 1, shape.RingSlots + 40, -1];
        var blocks = ((splits * positions.Length) + device.Limits.MultiprocessorCount - 1) / device.Limits.MultiprocessorCount;
        var op = new DecodeAttention(device, ElementType.BFloat16, shape.Heads, shape.HeadDim, variant, blocks);
        Assert.That(op.SplitsFor(positions.Length, shape.RingSlots), Is.EqualTo(splits <= 64 ? splits : 45), "the case is about so many splits");
        using var call = Run(op, shape, Rows(shape, positions));
        AssertOutput(call, variant);
    }

    // Fewer tokens seen than positions passed: the state was made in the middle of a document.
    [TestCase("general")]
    [TestCase("vector")]
    [TestCase("mma")]
    [TestCase("mma-32")]
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
        AssertOutput(call, variant);
    }

    /// <summary>Whichever blocks come last, the bits are the same.</summary>
    [Test]
    public void ScheduleDoesNotShow([ValueSource(nameof(Forms))] string variant)
    {
        var shape = new AttentionShapeCase(4, 256, 400, 400);
        foreach (var type in variant.StartsWith("mma", StringComparison.Ordinal) ? [ElementType.BFloat16] : OpTest.Types)
        {
            float[]? first = null;
            foreach (var seed in TestDevices.Seeds)
            {
                using var device = TestDevices.OpenChecked(seed, smallShared: true);
                var op = new DecodeAttention(device, type, shape.Heads, shape.HeadDim, variant, 32);
                Assert.That(op.SplitsFor(3, shape.RingSlots), Is.EqualTo(TileOf(variant) == 64 ? 7 : 13));
                using var call = Run(op, shape, Rows(shape, [7, 399, 850]));
                AssertOutput(call, variant);
                var output = call.ReadOutput();
                Close.Exact(output, first ??= output);
            }
        }
    }

    /// <summary>Scores that are not numbers, or all minus infinity, make their query's result not a number, and no other.</summary>
    [Test]
    public void WhatIsNotANumberShows([ValueSource(nameof(Forms))] string variant, [Values(1, 3, 9)] int splits, [Values("query", "key", "product")] string what)
    {
        var device = TestDevices.Checked;
        var shape = new AttentionShapeCase(2, 32, splits * TileOf(variant), splits * TileOf(variant));
        var rows = Rows(shape, [shape.RingSlots - 1, shape.RingSlots - 1]);
        switch (what)
        {
            case "query":
                rows[0].Qkv[5] = float.NaN; // of the first head
                break;
            case "key":
                rows[0].HistoryKeys[(shape.RingSlots / 2 * shape.HeadDim) + 3] = float.NaN; // seen by both heads
                break;
            default:
                (rows[0].Qkv[5], rows[0].Qkv[shape.HeadDim + 5]) = (3e38f, 0);
                for (var key = 0; key < shape.RingSlots; key++)
                    rows[0].HistoryKeys[(key * shape.HeadDim) + 5] = -3e38f; // every product of the first head's is minus infinity
                break;
        }

        var op = new DecodeAttention(device, ElementType.BFloat16, shape.Heads, shape.HeadDim, variant, 64);
        using var call = Run(op, shape, rows);
        var output = call.ReadOutput();
        Assert.Multiple(() =>
        {
            Assert.That(output[..32], Is.All.NaN);
            Assert.That(output[32..64].Any(float.IsNaN), Is.EqualTo(what == "key"));
            Assert.That(output[64..].Any(float.IsNaN), Is.False);
        });
    }

    /// <summary>Tiles of 64 keys where two blocks of them share a multiprocessor, of 32 where they do not.</summary>
    [TestCase(227, 256, "mma")]
    [TestCase(164, 256, "mma-32")]
    [TestCase(100, 256, "mma-32")]
    [TestCase(100, 64, "mma")]
    [TestCase(100, 80, "vector")]
    public void SharedMemoryChoosesTheTile(int kilobytes, int headDim, string variant)
    {
        var limits = KernelCatalogue.AmpleLimits with { SharedBytesPerMultiprocessor = kilobytes * 1024, SharedBytesPerBlockOptIn = (kilobytes - 1) * 1024 };
        Assert.That(DecodeAttention.VariantFor(new(10, headDim), ElementType.BFloat16, limits), Is.EqualTo(variant));
    }

    /// <summary>At equal shapes a row's bits are its own: neighbours and slot numbers do not show.</summary>
    [Test]
    public void NeighboursDoNotShow([ValueSource(nameof(Forms))] string variant)
    {
        var shape = new AttentionShapeCase(3, 64, 65, 65);
        var rows = Rows(shape, [200, 10, 64]);
        using var one = Run(TestDevices.Checked, ElementType.BFloat16, variant, shape, rows);
        using var other = Run(TestDevices.Checked, ElementType.BFloat16, variant, shape, [.. Rows(shape, [3, -1]), rows[0]], slots: [4, 1, 5]);
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
        var (workspace, arrivals) = (steps.Test.Workspace(attention.WorkspaceBytes(1, 17)), steps.Test.Zeros(attention.ArrivalBytes(1, 17)));
        var slot = steps.Test.Integers(steps.Slots);
        var rowStart = steps.Test.Integers(0, 1);
        for (var t = 0; t < Count; t++)
        {
            var rows = new PackedRows(steps.Positions.ColumnRange(t, 1), rowStart, slot, steps.Test.Integers(t, t, t, t));
            rotary.Run(steps.Stream, rows, steps.Qkv.RowRange(t, 1), phases.View(), steps.Ring, 17);
            attention.Run(steps.Stream, rows, steps.Qkv.RowRange(t, 1), steps.Ring, 17, 17, steps.Output.RowRange(t, 1), workspace, arrivals);
        }

        Close.Exact(steps.ReadRing(0).Keys, prefill.ReadRing(0).Keys);
        Close.Exact(steps.ReadRing(0).Values, prefill.ReadRing(0).Values);
        double[] expected = [.. prefill.ReadOutput().Select(value => (double)value)];
        Close.Absolute(steps.ReadOutput(), expected, type == ElementType.Float32 ? 1e-5 : 0.03);
    }

    [Test]
    public void RefusesTooLittleMemory()
    {
        var shape = new AttentionShapeCase(2, 16, 9, 9);
        var op = new DecodeAttention(TestDevices.Checked, ElementType.BFloat16, 2, 16);
        shape = shape with { RingSlots = 300, KeysVisible = 300 };
        using var call = new AttentionCall(TestDevices.Checked, ElementType.BFloat16, shape, Rows(shape, [4, 5]));
        var (bytes, counters) = (op.WorkspaceBytes(2, 300), op.ArrivalBytes(2, 300));
        TensorView Of(long size, long at = 0) => TensorView.Of(call.Test.Allocate(size + at), at, ElementType.UInt8, 1, size);
        void Run(TensorView workspace, TensorView arrivals) => op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, 300, 300, call.Output, workspace, arrivals);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(Of(bytes - 4), Of(counters)), Throws.ArgumentException.With.Message.Contains($"workspace must be one row of at least {bytes} bytes"));
            Assert.That(() => Run(Of(bytes, 4), Of(counters)), Throws.ArgumentException.With.Message.Contains("aligned to 16"));
            Assert.That(() => Run(Of(bytes), Of(counters - 4)), Throws.ArgumentException.With.Message.Contains("arrivals must be"));
            Assert.That(() => Run(Of(bytes), TensorView.Of(call.Test.Allocate(4 * counters), 0, ElementType.UInt8, 2, counters, 2 * counters)), Throws.ArgumentException.With.Message.Contains("one row"));
            Assert.That(() => Run(Of(bytes), TensorView.Empty), Throws.ArgumentException.With.Message.Contains("arrivals must be"));
            Assert.That((op.WorkspaceBytes(0, 300), op.ArrivalBytes(0, 300)), Is.EqualTo((0L, 0L)));
            Assert.That((op.WorkspaceBytes(1, 9), op.ArrivalBytes(1, 9)), Is.EqualTo((0L, 0L)), "one split leaves nothing to merge");
        });
    }

    private static AttentionReference.Row[] Rows(AttentionShapeCase shape, int[] positions) =>
        [.. positions.Select(position => AttentionCall.WithOwnKey(
            AttentionCall.MakeRow(shape, (ulong)(position + 2), [position], Math.Clamp(position, 0, Math.Max(300, shape.RingSlots))), shape))];

    private static AttentionCall Run(GpuDevice device, ElementType type, string? variant, AttentionShapeCase shape, AttentionReference.Row[] rows, int[]? slots = null) =>
        Run(new DecodeAttention(device, type, shape.Heads, shape.HeadDim, variant), shape, rows, slots);

    private static AttentionCall Run(DecodeAttention op, AttentionShapeCase shape, AttentionReference.Row[] rows, int[]? slots = null)
    {
        var call = new AttentionCall(op.Device, op.Type, shape, rows, slots);
        var (workspace, counters) = (op.WorkspaceBytes(rows.Length, shape.RingSlots), new byte[op.ArrivalBytes(rows.Length, shape.RingSlots)]);
        var arrivals = call.Test.Zeros(counters.Length);
        op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, shape.RingSlots, shape.KeysVisible, call.Output, call.Test.Workspace(workspace), arrivals);
        if (!arrivals.IsEmpty)
            call.Stream.CopyToHost<byte>(arrivals.Owner, 0, counters);
        Assert.That(counters, Is.All.Zero, "counters are left as they were found");
        return call;
    }

    // Slots that a block takes at a time.
    private static int TileOf(string variant) => variant is "serial" or "mma" ? 64 : 32;

    private static void AssertOutput(AttentionCall call, string? variant) => call.AssertOutput(variant is "mma" or "mma-32" or null ? AttentionReference.PairedWeights : 0);
}
