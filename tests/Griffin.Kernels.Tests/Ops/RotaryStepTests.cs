using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RotaryStepTests
{
    private static readonly int[] positions = [0, -1, 4, 8, 9, 1234, (1 << 24) + 7];

    /// <summary>A step leaves q and the ring with the bits that rotary embedding and ring append leave, and nothing else changes.</summary>
    [TestCase(ElementType.Float32, 2, 12, 6, "general")]
    [TestCase(ElementType.Float32, 3, 64, 32, "vector")]
    [TestCase(ElementType.BFloat16, 1, 10, 4, "general")]
    [TestCase(ElementType.BFloat16, 3, 64, 32, "vector")]
    [TestCase(ElementType.BFloat16, 2, 16, 16, "vector")]
    [TestCase(ElementType.BFloat16, 2, 8, 0, "vector")]
    public void EqualsEmbeddingAndAppend(ElementType type, int heads, int headDim, int rotated, string variant)
    {
        var shape = new AttentionShapeCase(heads, headDim, RingSlots: 9, KeysVisible: 9);
        AttentionReference.Row[] rows = [.. positions.Select((position, i) => AttentionCall.MakeRow(shape, (ulong)i, [position], seen: Math.Clamp(position, 0, 6)))];
        var device = TestDevices.Checked;
        using var phases = device.Upload<ulong>(rotated == 0 ? [0UL] : RotaryPhases.Compute(rotated, 10_000));
        var table = phases.View(1, rotated / 2);
        using var step = new AttentionCall(device, type, shape, rows);
        using var parts = new AttentionCall(device, type, shape, rows);
        new RotaryStep(device, type, heads, headDim, rotated, variant).Run(step.Stream, step.Rows, step.Qkv, table, step.Ring, shape.RingSlots);
        new RotaryEmbedding(device, type, heads, headDim, rotated, variant).Run(parts.Stream, parts.Qkv, parts.Positions, table);
        new RingAppend(device, type, heads, headDim, variant).Run(parts.Stream, parts.Rows, parts.Qkv, parts.Ring, shape.RingSlots);

        Close.Exact(step.ReadPool(), parts.ReadPool(), "ring");
        var (fused, separate) = (step.Test.Read(step.Qkv), parts.Test.Read(parts.Qkv));
        var width = (heads + 2) * headDim;
        for (var r = 0; r < rows.Length; r++)
        {
            Close.Exact(fused.AsSpan(r * width, heads * headDim), separate.AsSpan(r * width, heads * headDim), "q");
            Close.Exact(fused.AsSpan((r * width) + (heads * headDim), 2 * headDim), rows[r].Qkv.AsSpan(heads * headDim), "k and v in place");
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values("general", "vector")] string variant)
    {
        var shape = new AttentionShapeCase(3, 64, RingSlots: 1, KeysVisible: 1);
        AttentionReference.Row[] rows = [.. positions.Where(position => position >= 0).Select((position, i) => AttentionCall.MakeRow(shape, (ulong)i, [position]))];
        Schedules.DoNotShow(variant, test =>
        {
            using var call = new AttentionCall(test.Device, type, shape, rows);
            using var phases = test.Device.Upload<ulong>(RotaryPhases.Compute(32, 10_000));
            new RotaryStep(test.Device, type, 3, 64, 32, variant).Run(call.Stream, call.Rows, call.Qkv, phases.View(), call.Ring, shape.RingSlots);
            call.Stream.Synchronize();
            return [.. call.Test.Read(call.Qkv), .. Enumerable.Range(0, rows.Length).SelectMany(r => call.ReadRing(r).Keys.Concat(call.ReadRing(r).Values))];
        });
    }

    [Test]
    public void WritesTheRotatedKeyByPosition()
    {
        var shape = new AttentionShapeCase(2, 12, RingSlots: 9, KeysVisible: 9);
        AttentionReference.Row[] rows = [.. positions.Select((position, i) => AttentionCall.MakeRow(shape, (ulong)i, [position]))];
        using var call = new AttentionCall(TestDevices.Checked, ElementType.Float32, shape, rows);
        using var phases = TestDevices.Checked.Upload<ulong>(RotaryPhases.Compute(6, 10_000));
        new RotaryStep(TestDevices.Checked, ElementType.Float32, 2, 12, 6).Run(call.Stream, call.Rows, call.Qkv, phases.View(), call.Ring, shape.RingSlots);
        for (var r = 0; r < rows.Length; r++)
        {
            var (keys, values) = call.ReadRing(r);
            var own = positions[r] % shape.RingSlots;
            var expected = RotaryReference.Rotate(rows[r].Qkv, 2, 12, 6, positions[r]);
            for (var slot = 0; slot < shape.RingSlots; slot++)
            {
                if (slot == own)
                {
                    Close.Absolute(keys.AsSpan(slot * 12, 12), expected.AsSpan(24, 12), 1e-5);
                    Close.Exact(values.AsSpan(slot * 12, 12), rows[r].Qkv.AsSpan(36, 12));
                }
                else
                {
                    Assert.That(keys[(slot * 12)..((slot + 1) * 12)], Is.All.NaN, $"row {r}, ring slot {slot}");
                    Assert.That(values[(slot * 12)..((slot + 1) * 12)], Is.All.NaN, $"row {r}, ring slot {slot}");
                }
            }
        }
    }

    [Test]
    public void RefusesRowsOfSeveralTokens()
    {
        var shape = new AttentionShapeCase(2, 12, 9, 9);
        using var call = new AttentionCall(TestDevices.Checked, ElementType.Float32, shape, [AttentionCall.MakeRow(shape, 1, [0, 1])]);
        using var phases = TestDevices.Checked.Upload<ulong>(RotaryPhases.Compute(6, 10_000));
        var op = new RotaryStep(TestDevices.Checked, ElementType.Float32, 2, 12, 6);
        Assert.That(() => op.Run(call.Stream, call.Rows, call.Qkv, phases.View(), call.Ring, 9), Throws.ArgumentException);
    }
}
