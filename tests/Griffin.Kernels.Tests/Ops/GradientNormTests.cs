using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class GradientNormTests
{
    private const ElementType Type = ElementType.Float32;

    private static string[] Variants { get; } = OpTest.VariantsOf<GradientNorm>(OpTest.Dimensions(1), Type);

    [Test]
    public void MatchesFloat64([Values(1, 2, 3, 5, 511, 513, 8191, 8192, 8193, 20_011)] int count)
    {
        using var test = new OpTest(TestDevices.Checked);
        var gradients = new CounterRandom((ulong)count).Normals(count, 0.01);
        foreach (var variant in Variants)
            Check(variant, gradients, Run(test, variant, gradients));
    }

    [Test]
    public void LargeArenasTakeNoMoreParts()
    {
        using var test = new OpTest(TestDevices.Plain);
        const int count = (1024 * 8192) + 4099;
        Assert.That(GradientNorm.WorkspaceBytes(count), Is.InRange(1, 512 * 1024));
        Assert.That(GradientNorm.WorkspaceBytes(10_000_000_000), Is.InRange(1, 512 * 1024));
        var gradients = new CounterRandom(9).Uniforms(count);
        foreach (var variant in Variants)
            Check(variant, gradients, Run(test, variant, gradients));
    }

    [Test]
    public void WhatIsNotFiniteComesThrough([Values(0, 4, 700, 9000, 9010)] int place)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants)
        {
            var gradients = new float[9011];
            gradients[place] = float.NaN;
            Assert.That(Run(test, variant, gradients), Is.NaN, variant);
            gradients[place] = float.NegativeInfinity;
            Assert.That(Run(test, variant, gradients), Is.EqualTo(float.PositiveInfinity), variant);
            gradients[place] = 1e30f;
            Assert.That(Run(test, variant, gradients), Is.EqualTo(float.PositiveInfinity), $"{variant}: the square is past float32");
            gradients[place] = -3;
            Assert.That(Run(test, variant, gradients), Is.EqualTo(3f), variant);
            gradients[place] = 0;
            Assert.That(Run(test, variant, gradients), Is.Zero, variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow()
    {
        foreach (var variant in Variants)
            Schedules.DoNotShow(variant, test => [Run(test, variant, new CounterRandom(2).Normals(20_000))]);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new GradientNorm(test.Device);
        var (gradients, result, workspace) = (test.Output(1, 9000, Type), test.Output(1, 1, Type), test.Workspace(GradientNorm.WorkspaceBytes(9000)));
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, test.Output(2, 8, Type), result, workspace), Throws.ArgumentException.With.Message.Contains("gradients has 2 rows"));
            Assert.That(() => op.Run(test.Stream, gradients.ColumnRange(1, 8), result, workspace), Throws.ArgumentException.With.Message.Contains("aligned"));
            Assert.That(() => op.Run(test.Stream, gradients, gradients.ColumnRange(8, 1), workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.Run(test.Stream, gradients, result, test.Workspace(512)), Throws.ArgumentException.With.Message.Contains("workspace"));
        });
    }

    private static void Check(string variant, float[] gradients, float actual)
    {
        var expected = Math.Sqrt(gradients.Sum(value => (double)value * value));
        Close.Within([actual], [expected], _ => OpTest.Units(250) / 2 * expected, $"{variant}, {gradients.Length}");
    }

    private static float Run(OpTest test, string variant, float[] gradients)
    {
        var result = test.Output(1, 1, Type);
        new GradientNorm(test.Device, variant).Run(test.Stream, test.Vector(gradients, Type), result, test.Workspace(GradientNorm.WorkspaceBytes(gradients.Length)));
        return test.Read(result)[0];
    }
}
