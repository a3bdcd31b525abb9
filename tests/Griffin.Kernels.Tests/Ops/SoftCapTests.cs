using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class SoftCapTests
{
    [Test]
    public void MatchesFloat64([Values(1, 3, 11, 256, 257, 2052)] int width, [Values(1, 4)] int rows, [Values(30f, 5f)] float cap)
    {
        using var test = new OpTest(TestDevices.Checked);
        var logits = new CounterRandom((ulong)width).Normals(rows * width, 40);
        var expected = Array.ConvertAll(logits, x => ReferenceMath.SoftCap(x, cap));
        foreach (var variant in OpTest.VariantsOf<SoftCap>(OpTest.Dimensions(width), ElementType.Float32))
        {
            var view = test.Matrix(logits, rows, width, ElementType.Float32, 4);
            new SoftCap(test.Device, width, variant).Run(test.Stream, view, cap);
            Close.Within(test.Read(view), expected, i => OpTest.Units(8) * Math.Abs(expected[i]), variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([Values(257, 2052)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<SoftCap>(OpTest.Dimensions(width), ElementType.Float32))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var logits = test.Matrix(new CounterRandom(8).Normals(3 * width, 40), 3, width, ElementType.Float32);
                new SoftCap(test.Device, width, variant).Run(test.Stream, logits, 30);
                return test.Read(logits);
            });
        }
    }

    [Test]
    public void SpecVector()
    {
        using var test = new OpTest(TestDevices.Checked);
        var view = test.Vector([1, 10, 30, 60, 100, 0, float.PositiveInfinity, float.NegativeInfinity], ElementType.Float32);
        new SoftCap(test.Device, 8).Run(test.Stream, view, 30);
        Close.Absolute(test.Read(view), [0.99963, 9.645382, 22.847825, 28.920827, 29.923739, 0, 30, -30], 2e-6);
    }

    [Test]
    public void RefusesWrongArguments([Values(0f, -1f, float.NaN, float.PositiveInfinity)] float cap)
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new SoftCap(test.Device, 8);
        var logits = test.Output(2, 8, ElementType.Float32);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, logits, cap), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => op.Run(test.Stream, test.Output(2, 9, ElementType.Float32), 30), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, logits.RowRange(0, 0), 30), Throws.Nothing, "zero rows");
        });
    }
}
