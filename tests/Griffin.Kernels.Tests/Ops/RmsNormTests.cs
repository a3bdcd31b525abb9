using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RmsNormTests
{
    private const float Eps = 1e-6f;

    private static double Allowed(int width) => OpTest.Units(Math.Max(16, width / 4) + 16);

    [Test]
    public void MatchesFloat64([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 24, 257, 2560)] int width, [Values(0, 8)] int gap)
    {
        const int rows = 5;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom((ulong)width);
        var x = OpTest.Normals(random, type, rows * width, 3);
        var scale = OpTest.Normals(random, type, width, 0.3);
        Array.Clear(x, 0, width);   // a row of zeros: eps alone keeps it finite
        foreach (var variant in OpTest.VariantsOf<RmsNorm>(OpTest.Dimensions(width), type))
        {
            var y = test.Output(rows, width, type, gap);
            new RmsNorm(test.Device, type, width, variant).Run(test.Stream, test.Matrix(x, rows, width, type, gap), test.Vector(scale, type), y, Eps);
            CompareRows(type, test.Read(y), x, scale, rows, width, variant);
        }
    }

    [Test]
    public void ResidualIsRoundedBeforeTheNorm([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(3, 24, 2560)] int width, [Values] bool withBias, [Values] bool inPlace)
    {
        const int rows = 4;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom((ulong)width + 7);
        var x = OpTest.Normals(random, type, rows * width);
        var delta = OpTest.Normals(random, type, rows * width);
        var bias = OpTest.Normals(random, type, width, 0.1);
        var scale = OpTest.Normals(random, type, width, 0.3);
        var sum = new double[rows * width];
        for (var i = 0; i < sum.Length; i++)
            sum[i] = (double)x[i] + delta[i] + (withBias ? bias[i % width] : 0);
        foreach (var variant in OpTest.VariantsOf<RmsNorm>(OpTest.Dimensions(width), type))
        {
            var deviceX = test.Matrix(x, rows, width, type, 8);
            var (deviceSum, y) = (test.Output(rows, width, type, 16), test.Output(rows, width, type));
            new RmsNorm(test.Device, type, width, variant).RunResidual(test.Stream, deviceX, test.Matrix(delta, rows, width, type),
                withBias ? test.Vector(bias, type) : TensorView.Empty, test.Vector(scale, type), inPlace ? deviceX : deviceSum, y, Eps);
            var updated = test.Read(inPlace ? deviceX : deviceSum);
            if (!inPlace)
                Close.Exact(test.Read(deviceX), x, $"{variant}: x");
            OpTest.Compare(type, updated, sum, i => OpTest.Units(Math.Abs(x[i]) + (2 * Math.Abs(delta[i])) + 1), $"{variant}: x");
            CompareRows(type, test.Read(y), updated, scale, rows, width, variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(24, 257, 2560)] int width)
    {
        const int rows = 5;
        foreach (var variant in OpTest.VariantsOf<RmsNorm>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var random = new CounterRandom(17);
                var (x, y) = (test.Matrix(OpTest.Normals(random, type, rows * width), rows, width, type), test.Output(rows, width, type));
                var (delta, scale) = (test.Matrix(OpTest.Normals(random, type, rows * width), rows, width, type), test.Vector(OpTest.Normals(random, type, width), type));
                new RmsNorm(test.Device, type, width, variant).RunResidual(test.Stream, x, delta, TensorView.Empty, scale, x, y, Eps);
                return [.. test.Read(x), .. test.Read(y)];
            });
        }
    }

    [Test]
    public void MayOverwriteItsInput([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 3, width = 40;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom(3);
        var x = OpTest.Normals(random, type, rows * width);
        var delta = OpTest.Normals(random, type, rows * width);
        var scale = OpTest.Normals(random, type, width, 0.3);
        foreach (var variant in OpTest.VariantsOf<RmsNorm>(OpTest.Dimensions(width), type))
        {
            var op = new RmsNorm(test.Device, type, width, variant);
            var apart = test.Output(rows, width, type);
            var inPlace = test.Matrix(x, rows, width, type);
            op.Run(test.Stream, inPlace, test.Vector(scale, type), apart, Eps);
            op.Run(test.Stream, inPlace, test.Vector(scale, type), inPlace, Eps);
            Close.Exact(test.Read(inPlace), test.Read(apart), variant);

            var deviceDelta = test.Matrix(delta, rows, width, type);
            op.RunResidual(test.Stream, test.Matrix(x, rows, width, type), deviceDelta, TensorView.Empty, test.Vector(scale, type), test.Output(rows, width, type), apart, Eps);
            op.RunResidual(test.Stream, test.Matrix(x, rows, width, type), deviceDelta, TensorView.Empty, test.Vector(scale, type), test.Output(rows, width, type), deviceDelta, Eps);
            Close.Exact(test.Read(deviceDelta), test.Read(apart), variant);
        }
    }

    [Test]
    public void SpecVector()
    {
        using var test = new OpTest(TestDevices.Checked);
        var y = test.Output(1, 2, ElementType.Float32);
        new RmsNorm(test.Device, ElementType.Float32, 2).Run(test.Stream, test.Vector([0.1f, 0.2f], ElementType.Float32), test.Vector([0, 0], ElementType.Float32), y, Eps);
        Close.Absolute(test.Read(y), [0.632442883, 1.264885767], 2e-7);
    }

    [Test]
    public void RowsDoNotDependOnTheirNumber([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 9, width = 72;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom(11);
        var x = test.Matrix(OpTest.Normals(random, type, rows * width), rows, width, type);
        var scale = test.Vector(OpTest.Normals(random, type, width, 0.3), type);
        var op = new RmsNorm(test.Device, type, width);
        var all = test.Output(rows, width, type);
        op.Run(test.Stream, x, scale, all, Eps);
        for (var r = 0; r < rows; r++)
        {
            var one = test.Output(1, width, type);
            op.Run(test.Stream, x.RowRange(r, 1), scale, one, Eps);
            Close.Exact(test.Read(one), test.Read(all).AsSpan(r * width, width));
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new RmsNorm(test.Device, type, 8);
        var (x, other) = (test.Output(4, 8, type), test.Output(4, 8, type));
        var scale = test.Output(1, 8, type);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, x, test.Output(1, 7, type), test.Output(4, 8, type), Eps), Throws.ArgumentException.With.Message.Contains("scale"));
            Assert.That(() => op.Run(test.Stream, x.RowRange(0, 3), scale, x.RowRange(1, 3), Eps), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.RunResidual(test.Stream, x, x, TensorView.Empty, scale, x, test.Output(4, 8, type), Eps), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.RunResidual(test.Stream, x, test.Output(4, 8, type), TensorView.Empty, scale, x, x, Eps), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.RunResidual(test.Stream, x, other, TensorView.Empty, scale, other, test.Output(4, 8, type), Eps), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.RunResidual(test.Stream, x.RowRange(0, 3), other.RowRange(0, 3), TensorView.Empty, scale, x.RowRange(1, 3), test.Output(3, 8, type), Eps),
                Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.Run(test.Stream, x.RowRange(0, 0), scale, test.Output(1, 8, type).RowRange(0, 0), Eps), Throws.Nothing, "zero rows");
        });
    }

    private static void CompareRows(ElementType type, float[] actual, float[] x, float[] scale, int rows, int width, string what)
    {
        var wide = Array.ConvertAll(scale, value => (double)value);
        for (var r = 0; r < rows; r++)
        {
            var expected = ReferenceMath.RmsNorm(Array.ConvertAll(x[(r * width)..((r + 1) * width)], value => (double)value), wide, Eps);
            OpTest.Compare(type, actual.AsSpan(r * width, width), expected, i => Allowed(width) * Math.Abs(expected[i]), $"{what}, row {r}");
        }
    }
}
