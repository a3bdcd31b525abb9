using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RotaryEmbeddingTests
{
    private static readonly (int Heads, int HeadDim, int Rotated)[] shapes = [(2, 12, 6), (3, 64, 32), (1, 8, 4), (2, 256, 128), (5, 10, 10), (1, 32, 16), (2, 7, 2), (1, 6, 0)];

    private static readonly int[] positions = [0, 1, 2, -1, 3, 127, 4095, 65_537, (1 << 24) - 1, (1 << 24) + 1, (1 << 24) + 3, 1_000_000_007, int.MaxValue];

    [Test]
    public void MatchesReference([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [ValueSource(nameof(shapes))] (int Heads, int HeadDim, int Rotated) shape)
    {
        foreach (var variant in Variants(type, shape))
        {
            using var test = new OpTest(TestDevices.Checked);
            var (input, output) = Run(test, type, shape, variant);
            var width = (shape.Heads + 2) * shape.HeadDim;
            for (var t = 0; t < positions.Length; t++)
            {
                var row = input.AsSpan(t * width, width);
                var expected = RotaryReference.Rotate(row, shape.Heads, shape.HeadDim, shape.Rotated, positions[t]);
                var magnitude = row.ToArray().Max(Math.Abs);
                // The float64 angle of the reference itself is good to 2^-53 of the position.
                OpTest.Compare(type, output.AsSpan(t * width, width), expected, _ => magnitude * (OpTest.Units(10) + (Math.Max(0, positions[t]) * Math.ScaleB(1, -51))), $"{variant}, position {positions[t]}");
                Close.Exact(output.AsSpan((t * width) + ((shape.Heads + 1) * shape.HeadDim), shape.HeadDim), row[^shape.HeadDim..], "v");
                if (positions[t] <= 0)
                    Close.Exact(output.AsSpan(t * width, width), row, "position 0 or padding");
            }
        }
    }

    [Test]
    public void InverseTurnsTheOtherWay([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(4, 32)] int rotated)
    {
        using var test = new OpTest(TestDevices.Checked);
        var shape = (Heads: 3, HeadDim: 64, Rotated: rotated);
        var width = (shape.Heads + 2) * shape.HeadDim;
        foreach (var variant in Variants(type, shape))
        {
            var (input, output) = Run(test, type, shape, variant, inverse: true);
            for (var t = 0; t < positions.Length; t++)
            {
                var row = input.AsSpan(t * width, width);
                var expected = RotaryReference.Rotate(row, shape.Heads, shape.HeadDim, shape.Rotated, positions[t], inverse: true);
                var magnitude = row.ToArray().Max(Math.Abs);
                OpTest.Compare(type, output.AsSpan(t * width, width), expected, _ => magnitude * (OpTest.Units(10) + (Math.Max(0, positions[t]) * Math.ScaleB(1, -51))), $"{variant}, position {positions[t]}");
                Close.Exact(output.AsSpan((t * width) + ((shape.Heads + 1) * shape.HeadDim), shape.HeadDim), row[^shape.HeadDim..], "v");
                if (positions[t] <= 0)
                    Close.Exact(output.AsSpan(t * width, width), row, "position 0 or padding");
            }
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in Variants(type, (3, 64, 32)))
            Schedules.DoNotShow(variant, test => Run(test, type, (3, 64, 32), variant).Output);
    }

    [Test]
    public void VariantsAgreeBitForBit()
    {
        using var test = new OpTest(TestDevices.Checked);
        Close.Exact(Run(test, ElementType.BFloat16, (3, 64, 32), "vector").Output, Run(test, ElementType.BFloat16, (3, 64, 32), "general").Output);
    }

    [Test]
    public void CheckVector()
    {
        using var test = new OpTest(TestDevices.Checked);
        float[] qkv = [.. Enumerable.Range(0, 24).Select(i => (float)((i % 8) + 1))];
        var view = test.Matrix(qkv, 1, 24, ElementType.Float32);
        using var phases = test.Device.Upload<ulong>(RotaryPhases.Compute(4, 10_000));
        new RotaryEmbedding(test.Device, ElementType.Float32, 1, 8, 4).Run(test.Stream, view, test.Integers(3), phases.View());
        double[] expected = [-1.413352521, 1.879118067, -2.828857482, 4.058191135, 5, 6, 7, 8];
        Close.Absolute(test.Read(view), [.. expected, .. expected, 1, 2, 3, 4, 5, 6, 7, 8], 1e-6);
    }

    [TestCase(2)]
    [TestCase(16)]
    [TestCase(128)]
    public void PhasesAreExact(int rotated)
    {
        var phases = RotaryPhases.Compute(rotated, 10_000);
        var expected = RotaryReference.Phases(rotated);
        Assert.That(phases, Has.Length.EqualTo(rotated / 2));
        for (var j = 0; j < phases.Length; j++)
            Assert.That((long)(phases[j] - expected[j]), Is.InRange(-1, 1), $"frequency {j}");
    }

    [Test]
    public void PhasesRefuseWhatMeansNothing() => Assert.Multiple(() =>
    {
        Assert.That(() => RotaryPhases.Compute(3, 10_000), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => RotaryPhases.Compute(4, 1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => RotaryPhases.Compute(4, double.NaN), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(RotaryPhases.Compute(0, 10_000), Is.Empty);
        Assert.That(RotaryPhases.Compute(6, 500_000), Has.Length.EqualTo(3));
    });

    private static string[] Variants(ElementType type, (int Heads, int HeadDim, int Rotated) shape) =>
        shape.HeadDim % (16 / type.SizeOf()) == 0 && shape.Rotated / 2 % (16 / type.SizeOf()) == 0 ? ["general", "vector"] : ["general"];

    private static (float[] Input, float[] Output) Run(OpTest test, ElementType type, (int Heads, int HeadDim, int Rotated) shape, string variant, bool inverse = false)
    {
        var width = (shape.Heads + 2) * shape.HeadDim;
        var input = OpTest.Normals(new CounterRandom(5), type, positions.Length * width);
        var qkv = test.Matrix(input, positions.Length, width, type, gap: 16);
        using var phases = test.Device.Upload<ulong>(shape.Rotated == 0 ? [0UL] : RotaryPhases.Compute(shape.Rotated, 10_000));
        new RotaryEmbedding(test.Device, type, shape.Heads, shape.HeadDim, shape.Rotated, variant).Run(test.Stream, qkv, test.Integers(positions), phases.View(1, shape.Rotated / 2), inverse);
        return (input, test.Read(qkv));
    }
}
