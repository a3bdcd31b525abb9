using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>What the attention kernels move and where they reach: the formulas of their contracts, and addresses past 2³¹ elements.</summary>
[TestFixture]
internal sealed class AttentionTrafficTests
{
    private const long FarElements = (1L << 31) + 1024;

    private static readonly AttentionShapeCase layer = new(3, 64, 129, 129);

    [Test]
    public void WindowAttentionReadsKeysOncePerTile([Values("mma", "vector")] string variant)
    {
        const int Tokens = 400;
        var (tileTokens, tileKeys) = variant == "mma" ? (128 / layer.Heads, 64) : (64 / layer.Heads, 32);
        var counters = Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [AttentionCall.MakeRow(layer, 1, AttentionCall.Run(0, Tokens))]);
            new WindowAttention(device, ElementType.BFloat16, layer.Heads, layer.HeadDim, variant).Run(call.Stream, call.Rows, call.Qkv, call.Ring, 129, 129, call.Output);
            return call;
        }, out var qkv, out var output, out var ring);
        var tiles = (Tokens + tileTokens - 1) / tileTokens;
        var queries = (long)Tokens * layer.Heads * layer.HeadDim * 2;
        Assert.Multiple(() =>
        {
            Assert.That(output.BytesWritten, Is.EqualTo(queries));
            Assert.That(output.BytesRead, Is.Zero);
            Assert.That(ring.BytesRead, Is.Zero, "a sequence from its start needs no ring");
            Assert.That(qkv.BytesRead, Is.LessThanOrEqualTo(queries + ((long)tiles * (tileTokens + layer.KeysVisible + (2 * tileKeys)) * 2 * layer.HeadDim * 2)));
            Assert.That(qkv.BytesWritten, Is.Zero);
            if (variant == "mma")
                Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void DecodeAttentionReadsTheRingOnce([Values(1, 5)] int rows)
    {
        Count(device =>
        {
            var call = new AttentionCall(device, ElementType.BFloat16, layer, [.. Enumerable.Range(0, rows)
                .Select(r => AttentionCall.WithOwnKey(AttentionCall.MakeRow(layer, (ulong)r, [300 + r], 200), layer))]);
            var op = new DecodeAttention(device, ElementType.BFloat16, layer.Heads, layer.HeadDim);
            var workspace = TensorView.Of(call.Test.Allocate(op.WorkspaceBytes(rows, 129)), 0, ElementType.UInt8, 1, op.WorkspaceBytes(rows, 129));
            op.Run(call.Stream, call.Rows, call.Qkv, call.Ring, 129, 129, call.Output, workspace);
            return call;
        }, out _, out _, out var ring, launches: 2);
        Assert.That(ring.BytesRead, Is.EqualTo((long)rows * 2 * 129 * layer.HeadDim * 2), "visible slots only, each once");
        Assert.That(ring.BytesWritten, Is.Zero);
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

    /// <summary>Rows of qkv and of the result, and state slots, further apart than 2³¹ elements.</summary>
    [Test]
    public void ReachesPastTwoToThe31Elements([Values("mma", "vector", "general")] string variant)
    {
        TestDevices.RequireEmulator("needs a sparse allocation");
        const int Tokens = 2, Seen = 3;
        var (shape, type) = (new AttentionShapeCase(2, 16, 9, 9), ElementType.BFloat16);
        var row = AttentionCall.MakeRow(shape, 5, AttentionCall.Run(Seen, Tokens), Seen);
        using var device = TestDevices.OpenPlain();
        using var near = new AttentionCall(device, type, shape, [row]);
        var (op, append, rotary) = (new WindowAttention(device, type, 2, 16, variant), new RingAppend(device, type, 2, 16), new RotaryEmbedding(device, type, 2, 16, 16));
        using var test = new OpTest(device);
        var phases = TensorView.Of(test.Allocate(8 * sizeof(ulong)), 0, ElementType.UInt64, 1, 8);
        test.Stream.CopyToDevice<ulong>(RotaryPhases.Compute(16, 10_000), phases.Owner);

        // The same call with everything far apart: qkv and y by their row stride, the row's slot 1 by the slot stride.
        var (width, outWidth, ringBytes) = (4 * 16, 2 * 16, 2 * 9 * 16 * sizeof(ushort));
        var far = test.Allocate((FarElements + width) * sizeof(ushort));
        var farOutput = test.Allocate((FarElements + outWidth) * sizeof(ushort));
        var farPool = test.Allocate((FarElements * sizeof(ushort)) + ringBytes);
        var farQkv = TensorView.Of(far, 0, type, Tokens, width, FarElements);
        var y = TensorView.Of(farOutput, 0, type, Tokens, outWidth, FarElements);
        var ring = new LayerState(farPool, farPool.Address, FarElements * sizeof(ushort));
        for (var t = 0; t < Tokens; t++)
            test.Stream.CopyDevice(near.Qkv.Owner, (long)(near.Qkv.RowRange(t, 1).Address - near.Qkv.Owner.Address), far, t * FarElements * sizeof(ushort), width * sizeof(ushort));
        test.Stream.CopyDevice(near.Ring.Pool, (long)(near.Ring.Address - near.Ring.Pool.Address) + (near.Slots[0] * near.Ring.SlotStride), farPool, FarElements * sizeof(ushort), ringBytes);
        var rows = new PackedRows(test.Integers(row.Positions), test.Integers(0, Tokens), test.Integers(1), test.Integers(0, Seen));
        test.Stream.Synchronize();

        foreach (var (stream, call, qkv, state, output) in new[] { (near.Stream, near.Rows, near.Qkv, near.Ring, near.Output), (test.Stream, rows, farQkv, ring, y) })
        {
            rotary.Run(stream, qkv, stream == test.Stream ? test.Integers(row.Positions) : near.Positions, phases);
            op.Run(stream, call, qkv, state, 9, 9, output);
            append.Run(stream, call, qkv, state, 9);
        }

        var expected = near.ReadOutput();
        Close.Finite(expected);
        var actual = new ushort[Tokens * outWidth];
        for (var t = 0; t < Tokens; t++)
            test.Stream.CopyToHost<ushort>(farOutput, t * FarElements * sizeof(ushort), actual.AsSpan(t * outWidth, outWidth));
        var farRing = new ushort[ringBytes / sizeof(ushort)];
        test.Stream.CopyToHost<ushort>(farPool, FarElements * sizeof(ushort), farRing);
        test.Stream.Synchronize();
        Assert.That(actual, Is.EqualTo(Array.ConvertAll(expected, Bf16.Bits)));
        var (keys, values) = near.ReadRing(0);
        for (var position = 0; position < Seen + Tokens; position++)
        {
            Assert.That(farRing[(position * 16)..((position + 1) * 16)], Is.EqualTo(Array.ConvertAll(keys[(position * 16)..((position + 1) * 16)], Bf16.Bits)));
            Assert.That(farRing[((9 + position) * 16)..((10 + position) * 16)], Is.EqualTo(Array.ConvertAll(values[(position * 16)..((position + 1) * 16)], Bf16.Bits)));
        }
    }

    private static LaunchCounters Count(Func<GpuDevice, AttentionCall> run, out AllocationCounters qkv, out AllocationCounters output, out AllocationCounters ring, int launches = 1)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var call = run(device);
        call.Stream.Synchronize();
        var taken = device.TakeCounters();
        Assert.That(taken, Has.Count.EqualTo(launches));
        (qkv, output, ring) = (taken[0][call.Qkv.Owner], taken[0][call.Output.Owner], taken[0][call.Ring.Pool]);
        return taken[0];
    }
}
