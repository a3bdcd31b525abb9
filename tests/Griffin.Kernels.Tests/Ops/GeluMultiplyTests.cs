using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class GeluMultiplyTests
{
    [Test]
    public void MatchesFloat64([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 40, 257, 1032)] int width, [Values(1, 2, 5, 9)] int rows)
    {
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom((ulong)(width + rows));
        var gateUp = OpTest.Normals(random, type, rows * 2 * width, 2);
        var bias = OpTest.Normals(random, type, 2 * width, 0.2);
        var (expected, allowed) = Expected(gateUp, bias, rows, width);
        foreach (var variant in OpTest.VariantsOf<GeluMultiply>(OpTest.Dimensions(width), type))
        {
            var y = test.Output(rows, width, type, 8);
            new GeluMultiply(test.Device, type, width, variant).Run(test.Stream, test.Matrix(gateUp, rows, 2 * width, type, 16), test.Vector(bias, type), y);
            OpTest.Compare(type, test.Read(y), expected, i => allowed[i], variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 5, width = 264;
        foreach (var variant in OpTest.VariantsOf<GeluMultiply>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var random = new CounterRandom(6);
                var (gateUp, y) = (test.Matrix(OpTest.Normals(random, type, rows * 2 * width, 2), rows, 2 * width, type), test.Output(rows, width, type));
                new GeluMultiply(test.Device, type, width, variant).Run(test.Stream, gateUp, test.Vector(OpTest.Normals(random, type, 2 * width, 0.2), type), y);
                return test.Read(y);
            });
        }
    }

    [Test]
    public void MayOverwriteEitherHalf([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 6, width = 24;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom(2);
        var gateUp = OpTest.Normals(random, type, rows * 2 * width, 2);
        var bias = test.Vector(OpTest.Normals(random, type, 2 * width, 0.2), type);
        foreach (var variant in OpTest.VariantsOf<GeluMultiply>(OpTest.Dimensions(width), type))
        {
            var op = new GeluMultiply(test.Device, type, width, variant);
            var apart = test.Output(rows, width, type);
            op.Run(test.Stream, test.Matrix(gateUp, rows, 2 * width, type), bias, apart);
            foreach (var half in new[] { 0, width })
            {
                var shared = test.Matrix(gateUp, rows, 2 * width, type);
                op.Run(test.Stream, shared, bias, shared.ColumnRange(half, width));
                Close.Exact(test.Read(shared.ColumnRange(half, width)), test.Read(apart), $"{variant}, half at {half}");
            }
        }
    }

    [Test]
    public void GeluIsTheTanhForm()
    {
        float[] points = [-3, -1, -0.5f, 0.5f, 1, 3, -20, 20, 0, 1e-30f, -1e4f, 1e4f];
        double[] expected = [-0.003637392, -0.158808009, -0.15428599, 0.34571401, 0.841191991, 2.996362608, 0, 20, 0, 0.5e-30, 0, 1e4];
        using var test = new OpTest(TestDevices.Checked);
        var width = points.Length;
        var y = test.Output(1, width, ElementType.Float32);
        float[] gateUp = [.. points, .. Enumerable.Repeat(1f, width)];
        new GeluMultiply(test.Device, ElementType.Float32, width).Run(test.Stream, test.Vector(gateUp, ElementType.Float32), test.Vector(new float[2 * width], ElementType.Float32), y);
        Close.Within(test.Read(y), expected, i => (2e-7 * Math.Abs(expected[i])) + (Math.Abs(expected[i]) < 10 ? 1e-9 : 0) + 1e-30);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new GeluMultiply(test.Device, type, 16);
        var gateUp = test.Output(3, 32, type);
        var bias = test.Output(1, 32, type);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, test.Output(3, 16, type), bias, test.Output(3, 16, type)), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => op.Run(test.Stream, gateUp, bias, test.Output(2, 16, type)), Throws.ArgumentException.With.Message.Contains("rows"));
            Assert.That(() => op.Run(test.Stream, gateUp, bias, gateUp.ColumnRange(8, 16)), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.Run(test.Stream, gateUp.RowRange(0, 0), bias, test.Output(1, 16, type).RowRange(0, 0)), Throws.Nothing, "zero rows");
        });
    }

    private static (double[] Expected, double[] Allowed) Expected(float[] gateUp, float[] bias, int rows, int width)
    {
        var (expected, allowed) = (new double[rows * width], new double[rows * width]);
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < width; c++)
            {
                double gate = gateUp[(r * 2 * width) + c], up = gateUp[(r * 2 * width) + width + c];
                double biasedGate = gate + bias[c], biasedUp = up + bias[width + c];
                var i = (r * width) + c;
                expected[i] = ReferenceMath.GeluTanh(biasedGate) * biasedUp;
                allowed[i] = ((RgLruReference.GeluError(biasedGate) + OpTest.Units(2)) * Math.Abs(expected[i])) + 1e-37;
            }
        }

        return (expected, allowed);
    }
}
