using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class WindowAttentionTests
{
    private const string Warpgroup = "warpgroup";
    private const int Far = (1 << 24) + 12_345;

    // Heads and widths: the golden model, austen-tiny, odd ones, one per tile size, more heads than a tile has rows.
    private static readonly (int Heads, int HeadDim)[] shapes = [(2, 12), (3, 64), (1, 7), (5, 32), (4, 80), (2, 256), (1, 300), (70, 8)];

    private static readonly (ElementType Type, string Variant, int Heads, int HeadDim)[] withoutRing =
    [
        (ElementType.Float32, "general", 2, 12), (ElementType.Float32, "vector", 3, 64), (ElementType.BFloat16, "general", 10, 7), (ElementType.BFloat16, "mma", 3, 64),
        (ElementType.BFloat16, "mma", 2, 256), (ElementType.BFloat16, Warpgroup, 10, 64), (ElementType.BFloat16, Warpgroup, 2, 256),
    ];

    private static IEnumerable<TestCaseData> Variants()
    {
        foreach (var (heads, headDim) in shapes)
        {
            yield return new(ElementType.Float32, "general", heads, headDim);
            yield return new(ElementType.BFloat16, "general", heads, headDim);
            if (headDim % 4 == 0)
                yield return new(ElementType.Float32, "vector", heads, headDim);
            if (headDim % 8 == 0)
                yield return new(ElementType.BFloat16, "vector", heads, headDim);
            if (headDim % 16 == 0 && headDim <= 256)
                yield return new(ElementType.BFloat16, "mma", heads, headDim);
        }

        // Blocks of 128 rows that begin and end within a token, and tokens with more heads than half a block.
        foreach (var (heads, headDim) in new[] { (1, 64), (3, 64), (10, 64), (16, 64), (70, 64), (5, 128), (2, 256), (10, 256) })
            yield return new(ElementType.BFloat16, Warpgroup, heads, headDim);
    }

    [TestCaseSource(nameof(Variants))]
    public void MatchesReference(ElementType type, string variant, int heads, int headDim)
    {
        var shape = new AttentionShapeCase(heads, headDim, RingSlots: 38, KeysVisible: 38);
        AttentionReference.Row[] rows =
        [
            Row(0, 45), Row(5, 1, 5), Row(100, 40, 100), Row(Far, 3, 9), Row(0, 0), Row(37, 2, 37),
            AttentionCall.MakeRow(shape, 7, [-1, -1, -1, 0, 1, 2, 0, 1, -1, -1]),
            AttentionCall.MakeRow(shape, 8, [50, 51, 52, 0, 1, 2, 3, 0, 0, 1], seen: 50),
            AttentionCall.MakeRow(shape, 9, [-1, -1], seen: 4),
        ];
        AssertMatches(DeviceFor(variant), type, variant, shape, rows);

        AttentionReference.Row Row(int first, int count, int seen = 0) =>
            AttentionCall.MakeRow(shape, (ulong)(first + count), AttentionCall.Run(first, count), seen);
    }

    private static IEnumerable<TestCaseData> Windows()
    {
        foreach (var (ringSlots, keysVisible) in new[] { (9, 9), (9, 8), (64, 64) })
        {
            yield return new(ElementType.Float32, "vector", 2, 12, ringSlots, keysVisible);
            yield return new(ElementType.BFloat16, "mma", 3, 16, ringSlots, keysVisible);
            yield return new(ElementType.BFloat16, Warpgroup, 3, 64, ringSlots, keysVisible);
        }

        yield return new(ElementType.BFloat16, Warpgroup, 3, 64, 81, 80);   // as long as a key tile
    }

    // T of 1, W-1, W, W+1, 2W, 3W+5 and primes, from the start and from the middle of a sequence, for both window rules and none.
    [TestCaseSource(nameof(Windows))]
    public void MatchesReferenceAtUglyLengths(ElementType type, string variant, int heads, int headDim, int ringSlots, int keysVisible)
    {
        var w = ringSlots - 1;
        var shape = new AttentionShapeCase(heads, headDim, ringSlots, keysVisible);
        AttentionReference.Row[] rows =
        [
            .. new[] { 1, w - 1, w, w + 1, 2 * w, (3 * w) + 5, 13, 37 }.SelectMany(count => new[] { 0, 3, w, w + 1, 1000 }
                .Select(first => AttentionCall.MakeRow(shape, (ulong)((count * 7) + first), AttentionCall.Run(first, count), first))),
        ];
        AssertMatches(DeviceFor(variant), type, variant, shape, rows);
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using var device = TestDevices.OpenChecked(seed, smallShared: true);
        var wide = new AttentionShapeCase(2, 256, 20, 20);
        var narrow = new AttentionShapeCase(3, 64, 20, 20);
        foreach (var (type, variant, shape) in new[] { (ElementType.Float32, "vector", narrow), (ElementType.BFloat16, "mma", narrow), (ElementType.BFloat16, "mma", wide) })
            AssertMatches(device, type, variant, shape, [AttentionCall.MakeRow(shape, 1, AttentionCall.Run(30, 50), 30), AttentionCall.MakeRow(shape, 2, AttentionCall.Run(0, 9))]);
    }

    [Test]
    public void ScheduleOfWarpgroupsDoesNotShow([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using var own = TestDevices.IsEmulator ? TestDevices.OpenEmulator(TestDevices.HopperOptions with { Seed = seed }) : null;
        var shape = new AttentionShapeCase(10, 64, 90, 90);
        AssertMatches(own ?? TestDevices.Hopper, ElementType.BFloat16, Warpgroup, shape,
            [AttentionCall.MakeRow(shape, 1, AttentionCall.Run(130, 25), 130), AttentionCall.MakeRow(shape, 2, AttentionCall.Run(0, 9))]);
    }

    // Training rows: no ring at all, every window and none, a first position that is not 0, padding.
    [Test]
    public void NeedsNoRing([ValueSource(nameof(withoutRing))] (ElementType Type, string Variant, int Heads, int HeadDim) op, [Values(1, 12, 13, 14, int.MaxValue)] int keysVisible)
    {
        var shape = new AttentionShapeCase(op.Heads, op.HeadDim, RingSlots: 0, keysVisible);
        AttentionReference.Row[] rows =
        [
            AttentionCall.MakeRow(shape, 1, AttentionCall.Run(0, 83)), AttentionCall.MakeRow(shape, 2, AttentionCall.Run(Far, 29)), AttentionCall.MakeRow(shape, 3, []),
            AttentionCall.MakeRow(shape, 4, [.. AttentionCall.Run(0, 12), .. AttentionCall.Run(0, 14), .. AttentionCall.Run(0, 1), .. AttentionCall.Run(0, 13), -1, -1]),
            AttentionCall.MakeRow(shape, 5, [-1, -1, -1]),
        ];
        using var call = new AttentionCall(DeviceFor(op.Variant), op.Type, shape, rows);
        var logSumExp = call.Test.Output((int)call.Qkv.Rows, op.Heads, ElementType.Float32, gap: 3);
        new WindowAttention(call.Test.Device, op.Type, op.Heads, op.HeadDim, op.Variant).Run(call.Stream, call.Rows, call.Qkv, default, 0, keysVisible, call.Output, logSumExp);
        call.AssertOutput(AttentionReference.RoundedWeights, logSumExp);
    }

    /// <summary>Asking for the logarithms changes no bit of the result, with a ring too.</summary>
    [TestCase(ElementType.Float32, "general", 32)]
    [TestCase(ElementType.BFloat16, "mma", 32)]
    [TestCase(ElementType.BFloat16, Warpgroup, 64)]
    public void LogarithmsChangeNothing(ElementType type, string variant, int headDim)
    {
        var shape = new AttentionShapeCase(3, headDim, 17, 16);
        AttentionReference.Row[] rows = [AttentionCall.MakeRow(shape, 1, AttentionCall.Run(40, 23), 40), AttentionCall.MakeRow(shape, 2, [.. AttentionCall.Run(0, 21), -1])];
        using var plain = RunCall(DeviceFor(variant), type, variant, shape, rows);
        using var call = new AttentionCall(DeviceFor(variant), type, shape, rows);
        var logSumExp = call.Test.Output((int)call.Qkv.Rows, 3, ElementType.Float32);
        new WindowAttention(call.Test.Device, type, 3, headDim, variant).Run(call.Stream, call.Rows, call.Qkv, call.Ring, 17, 16, call.Output, logSumExp);
        call.AssertOutput(AttentionReference.RoundedWeights, logSumExp);
        Close.Exact(call.ReadOutput(), plain.ReadOutput());
    }

    // A fresh slot has seen nothing: a first position that is not 0 must not reach into the ring (which holds NaN).
    [TestCase("vector", 16)]
    [TestCase("mma", 16)]
    [TestCase(Warpgroup, 64)]
    public void FreshSlotIgnoresTheRing(string variant, int headDim)
    {
        var shape = new AttentionShapeCase(3, headDim, 10, 10);
        AssertMatches(DeviceFor(variant), ElementType.BFloat16, variant, shape, [AttentionCall.MakeRow(shape, 1, AttentionCall.Run(77, 5), seen: 0)]);
    }

    [Test]
    public void VisibilityEndsAtTheWindow([Values("mma", "general", Warpgroup)] string variant, [Values(9, 8)] int keysVisible)
    {
        const int RingSlots = 9;
        var shape = new AttentionShapeCase(2, variant == Warpgroup ? 64 : 16, RingSlots, keysVisible);
        var row = AttentionCall.MakeRow(shape, 3, AttentionCall.Run(0, RingSlots + 5));
        var perturbed = row with { Qkv = [.. row.Qkv] };
        perturbed.Qkv[(shape.Heads + 1) * shape.HeadDim] += 64;   // a value of token 0
        var (before, after) = (Compute(DeviceFor(variant), ElementType.BFloat16, variant, shape, row), Compute(DeviceFor(variant), ElementType.BFloat16, variant, shape, perturbed));
        var width = shape.Heads * shape.HeadDim;
        var changed = Enumerable.Range(0, row.Positions.Length).Where(t => before[t * width] != after[t * width]);
        Assert.That(changed, Is.EqualTo(Enumerable.Range(0, keysVisible)));
    }

    /// <summary>One sequence in one call, and cut into calls of any lengths with the ring between them: equal bits.</summary>
    [TestCase(ElementType.Float32, "general", 2, 12)]
    [TestCase(ElementType.Float32, "vector", 3, 64)]
    [TestCase(ElementType.BFloat16, "vector", 3, 64)]
    [TestCase(ElementType.BFloat16, "mma", 3, 64)]
    [TestCase(ElementType.BFloat16, "mma", 2, 256)]
    [TestCase(ElementType.BFloat16, Warpgroup, 3, 64)]
    public void ChunkingDoesNotShow(ElementType type, string variant, int heads, int headDim)
    {
        var shape = new AttentionShapeCase(heads, headDim, 75, 75);
        var row = AttentionCall.MakeRow(shape, 11, [.. AttentionCall.Run(0, 20), .. AttentionCall.Run(0, 150)]);
        var whole = Compute(DeviceFor(variant), type, variant, shape, row);
        Close.Finite(whole);
        foreach (var chunks in new int[][] { [1], [7], [64, 3, 1, 31], [169, 1], [16] })
            Close.Exact(ComputeInChunks(type, variant, shape, row, chunks), whole, $"chunks of {string.Join(',', chunks)}");
    }

    /// <summary>Packed rows give each row the bits that it has alone, whatever its neighbours and its place.</summary>
    [TestCase(ElementType.Float32, "vector", 32)]
    [TestCase(ElementType.BFloat16, "mma", 32)]
    [TestCase(ElementType.BFloat16, Warpgroup, 64)]
    public void PackedEqualsSeparate(ElementType type, string variant, int headDim)
    {
        var shape = new AttentionShapeCase(3, headDim, 17, 17);
        AttentionReference.Row[] rows =
        [
            AttentionCall.MakeRow(shape, 1, AttentionCall.Run(0, 3)), AttentionCall.MakeRow(shape, 2, AttentionCall.Run(40, 23), 40),
            AttentionCall.MakeRow(shape, 3, [.. AttentionCall.Run(0, 5), .. AttentionCall.Run(0, 19)]), AttentionCall.MakeRow(shape, 4, AttentionCall.Run(16, 1), 16),
        ];
        using var call = RunCall(DeviceFor(variant), type, variant, shape, rows);
        var expected = rows.SelectMany(row => Compute(DeviceFor(variant), type, variant, shape, row)).ToArray();
        Close.Exact(call.ReadOutput(), expected);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        var shape = new AttentionShapeCase(2, 16, 9, 9);
        var device = TestDevices.Checked;
        using var call = new AttentionCall(device, ElementType.BFloat16, shape, [AttentionCall.MakeRow(shape, 1, AttentionCall.Run(0, 3))]);
        var stream = call.Stream;
        var op = new WindowAttention(device, ElementType.BFloat16, shape.Heads, shape.HeadDim);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(stream, call.Rows, call.Output, call.Ring, 9, 9, call.Output), Throws.ArgumentException);
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, call.Ring, 9, 10, call.Output), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, call.Ring, 1 << 20, 9, call.Output), Throws.ArgumentException);
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, call.Ring, 9, 9, call.Qkv.ColumnRange(0, 32)), Throws.ArgumentException);
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, default, 9, 9, call.Output), Throws.InstanceOf<ArgumentException>(), "slots of no ring");
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, default, 0, 0, call.Output), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, call.Ring, 9, 9, call.Output, call.Test.Output(3, 3, ElementType.Float32)), Throws.ArgumentException);
            Assert.That(() => op.Run(stream, call.Rows, call.Qkv, call.Ring, 9, 9, call.Output, call.Test.Output(3, 2, ElementType.BFloat16)), Throws.ArgumentException);
            Assert.That(() => new WindowAttention(device, ElementType.BFloat16, 1, 1025), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => new WindowAttention(device, ElementType.Float32, 2, 16, "mma"), Throws.ArgumentException);
            Assert.That(() => new WindowAttention(device, ElementType.BFloat16, 2, 16, Warpgroup), Throws.ArgumentException);
        });
    }

    private static GpuDevice DeviceFor(string variant) => variant == Warpgroup ? TestDevices.Hopper : TestDevices.Checked;

    private static void AssertMatches(GpuDevice device, ElementType type, string variant, AttentionShapeCase shape, IReadOnlyList<AttentionReference.Row> rows)
    {
        using var call = RunCall(device, type, variant, shape, rows);
        call.AssertOutput(AttentionReference.RoundedWeights);
    }

    private static float[] Compute(GpuDevice device, ElementType type, string variant, AttentionShapeCase shape, AttentionReference.Row row)
    {
        using var call = RunCall(device, type, variant, shape, [row]);
        return call.ReadOutput();
    }

    private static AttentionCall RunCall(GpuDevice device, ElementType type, string variant, AttentionShapeCase shape, IReadOnlyList<AttentionReference.Row> rows)
    {
        var call = new AttentionCall(device, type, shape, rows);
        new WindowAttention(device, type, shape.Heads, shape.HeadDim, variant)
            .Run(call.Stream, call.Rows, call.Qkv, call.Ring, shape.RingSlots, shape.KeysVisible, call.Output);
        return call;
    }

    // The state between the calls is kept by the test: keys and values so far, of the last document.
    private static float[] ComputeInChunks(ElementType type, string variant, AttentionShapeCase shape, AttentionReference.Row row, int[] chunks)
    {
        var (width, d) = ((shape.Heads + 2) * shape.HeadDim, shape.HeadDim);
        var output = new List<float>();
        for (int t = 0, c = 0; t < row.Positions.Length; c++)
        {
            var count = Math.Min(chunks[c % chunks.Length], row.Positions.Length - t);
            var history = row.Positions[t] == 0 ? 0 : row.Positions[t];
            var earlier = Enumerable.Range(t - history, history);
            var chunk = new AttentionReference.Row(row.Positions[t..(t + count)], history, row.Qkv[(t * width)..((t + count) * width)],
                [.. earlier.SelectMany(i => row.Qkv[((i * width) + (shape.Heads * d))..((i * width) + ((shape.Heads + 1) * d))])],
                [.. earlier.SelectMany(i => row.Qkv[((i * width) + ((shape.Heads + 1) * d))..((i + 1) * width)])]);
            output.AddRange(Compute(DeviceFor(variant), type, variant, shape, chunk));
            t += count;
        }

        return [.. output];
    }
}
