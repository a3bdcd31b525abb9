using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>What the attention kernels move and where they reach: the formulas of their contracts, and addresses past 2³¹ elements.</summary>
[TestFixture]
internal sealed class AttentionTrafficTests
{
    private static readonly AttentionShapeCase layer = new(3, 64, 129, 129);

    [Test]
    public void WindowAttentionReadsKeysOncePerTile([Values("warpgroup", "mma", "vector")] string variant)
    {
        const int Tokens = 400;
        var (tiles, tileTokens, tileKeys) = variant switch
        {
            "warpgroup" => (((Tokens * layer.Heads) + 127) / 128, (128 / layer.Heads) + 2, 80), // parts of the first and the last token
            "mma" => ((Tokens + (128 / layer.Heads) - 1) / (128 / layer.Heads), 128 / layer.Heads, 64),
            _ => ((Tokens + (64 / layer.Heads) - 1) / (64 / layer.Heads), 64 / layer.Heads, 32),
        };
        var counters = Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [AttentionCall.MakeRow(layer, 1, AttentionCall.Run(0, Tokens))]);
            new WindowAttention(device, ElementType.BFloat16, layer.Heads, layer.HeadDim, variant).Run(call.Stream, call.Rows, call.Qkv, call.Ring, 129, 129, call.Output);
            return call;
        }, out var qkv, out var output, out var ring, hopper: variant == "warpgroup");
        var queries = (long)Tokens * layer.Heads * layer.HeadDim * 2;
        Assert.Multiple(() =>
        {
            Assert.That(output.BytesWritten, Is.EqualTo(queries));
            Assert.That(output.BytesRead, Is.Zero);
            if (variant != "vector")
                AssertQuads(output);
            Assert.That(ring.BytesRead, Is.Zero, "a sequence from its start needs no ring");
            Assert.That(qkv.BytesRead, Is.LessThanOrEqualTo(queries + ((long)tiles * (tileTokens + layer.KeysVisible + (2 * tileKeys)) * 2 * layer.HeadDim * 2)));
            Assert.That(qkv.BytesWritten, Is.Zero);
            if (variant != "vector")
                Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void BackwardOnMatrixInstructionsHasNoBankConflicts()
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var call = new AttentionGradientCall(device, ElementType.BFloat16, layer with { RingSlots = 0 }, [AttentionCall.Run(0, 300)]);
        call.Run("mma");
        call.Test.Stream.Synchronize();
        var launches = device.TakeCounters();
        Assert.That(launches, Has.Count.EqualTo(3));
        Assert.That(launches.Sum(launch => launch[call.Gradient.Owner].BytesWritten), Is.EqualTo(300L * 5 * layer.HeadDim * sizeof(ushort)), "each gradient once");
        var queries = launches.MaxBy(launch => launch[call.Gradient.Owner].BytesWritten)![call.Gradient.Owner];
        AssertQuads(queries);
        Assert.That(launches.Select(launch => launch.BankConflicts), Is.All.Zero);
    }

    [Test]
    public void DecodeAttentionReadsTheRingOnce([Values(1, 5)] int rows, [Values("serial", "mma", "mma-32", "vector")] string variant)
    {
        var counters = Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [.. Enumerable.Range(0, rows)
                .Select(r => AttentionCall.WithOwnKey(AttentionCall.MakeRow(layer, (ulong)r, [300 + r], 200), layer))]);
            var op = new DecodeAttention(device, ElementType.BFloat16, layer.Heads, layer.HeadDim, variant);
            Assert.That(op.SplitsFor(rows, 129), Is.GreaterThan(1));
            op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, 129, 129, call.Output, call.Test.Workspace(op.WorkspaceBytes(rows, 129)), call.Test.Zeros(op.ArrivalBytes(rows, 129)));
            return call;
        }, out _, out var output, out var ring);
        Assert.Multiple(() =>
        {
            Assert.That(ring.BytesRead, Is.EqualTo((long)rows * 2 * 129 * layer.HeadDim * 2), "visible slots only, each once");
            Assert.That(ring.BytesWritten, Is.Zero);
            Assert.That((output.BytesRead, output.BytesWritten), Is.EqualTo((0L, (long)rows * layer.Heads * layer.HeadDim * 2)), "y by the last blocks alone");
            if (variant.StartsWith("mma", StringComparison.Ordinal))
                Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void RotationMovesWhatTurns()
    {
        const int Tokens = 300;
        Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [AttentionCall.MakeRow(layer, 1, AttentionCall.Run(0, Tokens))]);
            var phases = TensorView.Of(call.Test.Allocate(16 * sizeof(ulong)), 0, ElementType.UInt64, 1, 16);
            call.Stream.CopyToDevice<ulong>(RotaryPhases.Compute(32, 10_000), phases.Owner);
            new RotaryEmbedding(device, ElementType.BFloat16, layer.Heads, layer.HeadDim, 32).Run(call.Stream, call.Qkv, call.Positions, phases);
            return call;
        }, out var qkv, out _, out _);
        Assert.That((qkv.BytesRead, qkv.BytesWritten), Is.EqualTo(((long)Tokens * 4 * 32 * 2, (long)Tokens * 4 * 32 * 2)));
    }

    [Test]
    public void AppendMovesTheRingOnce([Values("general", "vector")] string variant)
    {
        const int Rows = 3, Tokens = 400;
        Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [.. Enumerable.Range(0, Rows).Select(r => AttentionCall.MakeRow(layer, (ulong)r, AttentionCall.Run(r, Tokens)))]);
            new RingAppend(device, ElementType.BFloat16, layer.Heads, layer.HeadDim, variant).Run(call.Stream, call.Rows, call.Qkv, call.Ring, layer.RingSlots);
            return call;
        }, out var qkv, out _, out var ring);
        var bytes = (long)Rows * layer.RingSlots * 2 * layer.HeadDim * sizeof(ushort);
        AssertMoved(qkv, bytes, 0);
        AssertMoved(ring, 0, bytes);
    }

    [Test]
    public void RotaryStepMovesWhatTurnsAndTheRingEntry([Values("general", "vector")] string variant)
    {
        const int Rows = 400, Rotated = 32;
        var shape = layer with { RingSlots = 9, KeysVisible = 9 };
        Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, shape, [.. Enumerable.Range(0, Rows).Select(r => AttentionCall.MakeRow(shape, (ulong)r, [r + 1]))]);
            var phases = TensorView.Of(call.Test.Allocate(Rotated / 2 * sizeof(ulong)), 0, ElementType.UInt64, 1, Rotated / 2);
            call.Stream.CopyToDevice<ulong>(RotaryPhases.Compute(Rotated, 10_000), phases.Owner);
            new RotaryStep(device, ElementType.BFloat16, shape.Heads, shape.HeadDim, Rotated, variant).Run(call.Stream, call.Rows, call.Qkv, phases, call.Ring, shape.RingSlots);
            return call;
        }, out var qkv, out _, out var ring);
        var (turned, entries) = ((long)Rows * shape.Heads * Rotated * sizeof(ushort), (long)Rows * 2 * shape.HeadDim * sizeof(ushort));
        AssertMoved(qkv, turned + entries, turned);
        AssertMoved(ring, 0, entries);
    }

    /// <summary>Rows of qkv and of the result, and state slots, further apart than 2³¹ elements.</summary>
    [Test]
    public void ReachesPastTwoToThe31Elements([Values("mma", "vector", "general")] string variant)
    {
        var shape = new AttentionShapeCase(2, 16, 9, 9);
        CompareNearAndFar(shape, [AttentionCall.MakeRow(shape, 5, AttentionCall.Run(3, 2), 3)], (test, rows, qkv, ring, positions, phases, y) =>
        {
            new RotaryEmbedding(test.Device, ElementType.BFloat16, 2, 16, 16).Run(test.Stream, qkv, positions, phases);
            new WindowAttention(test.Device, ElementType.BFloat16, 2, 16, variant).Run(test.Stream, rows, qkv, ring, 9, 9, y);
            new RingAppend(test.Device, ElementType.BFloat16, 2, 16).Run(test.Stream, rows, qkv, ring, 9);
        });
    }

    /// <summary>The same of a decode step.</summary>
    [Test]
    public void StepsReachPastTwoToThe31Elements([Values("mma", "vector", "general")] string variant)
    {
        var shape = new AttentionShapeCase(2, 32, 9, 9);
        CompareNearAndFar(shape, [AttentionCall.MakeRow(shape, 6, [4], 4), AttentionCall.MakeRow(shape, 7, [12], 12)], (test, rows, qkv, ring, positions, phases, y) =>
        {
            new RotaryStep(test.Device, ElementType.BFloat16, 2, 32, 16, variant == "mma" ? null : variant).Run(test.Stream, rows, qkv, phases, ring, 9);
            var op = new DecodeAttention(test.Device, ElementType.BFloat16, 2, 32, variant);
            op.Run(test.Stream, rows, qkv, ring, 9, 9, y, test.Workspace(op.WorkspaceBytes(2, 9)), test.Zeros(op.ArrivalBytes(2, 9)));
        });
    }

    private static void CompareNearAndFar(AttentionShapeCase shape, AttentionReference.Row[] data,
        Action<OpTest, PackedRows, TensorView, LayerState, TensorView, TensorView, TensorView> run)
    {
        TestDevices.RequireEmulator("needs a sparse allocation");
        using var device = TestDevices.OpenPlain();
        using var near = new AttentionCall(device, ElementType.BFloat16, shape, data);
        using var test = new OpTest(device);
        using var phases = device.Upload<ulong>(RotaryPhases.Compute(16, 10_000));
        var far = new FarAttentionCall(test, near);
        run(near.Test, near.Rows, near.Qkv, near.Ring, near.Positions, phases.View(), near.Output);
        run(test, far.Rows, far.Qkv, far.Ring, far.Positions, phases.View(), far.Output);
        far.AssertSameBits();
    }

    // Exactly so many bytes, in whole sectors.
    private static void AssertMoved(AllocationCounters counted, long read, long written)
    {
        Assert.That(Math.Max(read, written), Is.GreaterThanOrEqualTo(64 * 1024), "the law is about 64 KB and more");
        Assert.Multiple(() =>
        {
            Assert.That((counted.BytesRead, counted.BytesWritten), Is.EqualTo((read, written)));
            Assert.That(counted.RequestSectorsRead, Is.LessThanOrEqualTo(1.05 * read / 32), "sectors read");
            Assert.That(counted.RequestSectorsWritten, Is.LessThanOrEqualTo(1.05 * written / 32), "sectors written");
        });
    }

    // A quad stores 64 bytes of a row: two whole sectors, or three where a row begins in mid-sector, as every other one here does.
    private static void AssertQuads(AllocationCounters counted) =>
        Assert.That(32 * counted.RequestSectorsWritten, Is.EqualTo(counted.BytesWritten * 5 / 4), "sectors of what quads store");

    private static LaunchCounters Count(Func<GpuDevice, AttentionCall> run, out AllocationCounters qkv, out AllocationCounters output, out AllocationCounters ring, int launches = 1,
        bool hopper = false)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator((hopper ? TestDevices.HopperOptions : new EmulatorOptions { Checked = true }) with { CountAccesses = true });
        using var call = run(device);
        call.Stream.Synchronize();
        var taken = device.TakeCounters();
        Assert.That(taken, Has.Count.EqualTo(launches));
        (qkv, output, ring) = (taken[0][call.Qkv.Owner], taken[0][call.Output.Owner], taken[0][call.Ring.Pool]);
        return taken[0];
    }
}
