using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class GeluMultiplyBackwardTests
{
    [Test]
    public void FormulaIsTheDerivative()
    {
        var x = new[] { -9.0, -3, -1, -0.5, -1e-3, 0, 0.2, 1, 3, 9 };
        double Loss() => x.Sum(ReferenceMath.GeluTanh);
        FiniteDifferences.AssertSame(Array.ConvertAll(x, GradientMath.GeluTanhSlope), FiniteDifferences.Gradient(x, Loss), "gelu'");
    }

    [Test]
    public void MatchesFloat64([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 40, 257, 1032)] int width, [Values(1, 4, 5, 9)] int rows)
    {
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width);
        var (expected, allowed) = operands.Expected();
        foreach (var variant in OpTest.VariantsOf<GeluMultiplyBackward>(OpTest.Dimensions(width), type))
        {
            var gradient = test.Output(rows, 2 * width, type, 8);
            operands.Run(test, variant, test.Matrix(operands.GateUp, rows, 2 * width, type, 16), gradient);
            OpTest.Compare(type, test.Read(gradient), expected, i => allowed[i], variant);
        }
    }

    [Test]
    public void LargeGatesStayFinite()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        float[] gates = [-1e30f, -1e12f, -100, -20, -12, 12, 20, 100, 1e12f, 1e30f];
        var gradient = test.Output(gates.Length, 2, type);
        var gateUp = test.Matrix([.. gates.SelectMany(gate => new[] { gate, 3 })], gates.Length, 2, type);
        new GeluMultiplyBackward(test.Device, type, 1).Run(test.Stream, gateUp, test.Vector([0, 0], type), test.Matrix([.. Enumerable.Repeat(2f, gates.Length)], gates.Length, 1, type), gradient);
        double[] expected = [.. gates.SelectMany(gate => gate < -10 ? new[] { 0.0, 0 } : [6, 2.0 * gate])];
        Close.Within(test.Read(gradient), expected, i => 1e-6 * (1 + Math.Abs(expected[i])));
    }

    [Test]
    public void MayOverwriteItsInput([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 6, width = 24;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width);
        foreach (var variant in OpTest.VariantsOf<GeluMultiplyBackward>(OpTest.Dimensions(width), type))
        {
            var (apart, inPlace) = (test.Output(rows, 2 * width, type), test.Matrix(operands.GateUp, rows, 2 * width, type));
            operands.Run(test, variant, inPlace, apart);
            operands.Run(test, variant, inPlace, inPlace);
            Close.Exact(test.Read(inPlace), test.Read(apart), variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 5, width = 264;
        foreach (var variant in OpTest.VariantsOf<GeluMultiplyBackward>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var operands = new Operands(type, rows, width);
                var gradient = test.Output(rows, 2 * width, type);
                operands.Run(test, variant, test.Matrix(operands.GateUp, rows, 2 * width, type), gradient);
                return test.Read(gradient);
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new GeluMultiplyBackward(test.Device, type, 8);
        var (gateUp, bias, dy, gradient) = (test.Output(4, 16, type), test.Output(1, 16, type), test.Output(4, 8, type), test.Output(4, 16, type));
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, gateUp, test.Output(1, 8, type), dy, gradient), Throws.ArgumentException.With.Message.Contains("bias"));
            Assert.That(() => op.Run(test.Stream, gateUp, bias, test.Output(3, 8, type), gradient), Throws.ArgumentException.With.Message.Contains("dy has 3 rows"));
            Assert.That(() => op.Run(test.Stream, gateUp, bias, gradient.ColumnRange(0, 8), gradient), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.Run(test.Stream, gateUp.RowRange(0, 3), bias, dy.RowRange(0, 3), gateUp.RowRange(1, 3)), Throws.ArgumentException.With.Message.Contains("overlap"));
        });
    }

    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _rows;
        private readonly int _width;
        private readonly float[] _bias;
        private readonly float[] _dy;

        public Operands(ElementType type, int rows, int width)
        {
            (_type, _rows, _width) = (type, rows, width);
            var random = new CounterRandom((ulong)(width + rows));
            GateUp = OpTest.Normals(random, type, rows * 2 * width, 2);
            _bias = OpTest.Normals(random, type, 2 * width, 0.2);
            _dy = OpTest.Normals(random, type, rows * width);
        }

        public float[] GateUp { get; }

        public void Run(OpTest test, string variant, TensorView gateUp, TensorView gradient) =>
            new GeluMultiplyBackward(test.Device, _type, _width, variant).Run(test.Stream, gateUp, test.Vector(_bias, _type), test.Matrix(_dy, _rows, _width, _type), gradient);

        public (double[] Values, double[] Allowed) Expected()
        {
            var (values, allowed) = (new double[_rows * 2 * _width], new double[_rows * 2 * _width]);
            for (var i = 0; i < _rows * _width; i++)
            {
                var (row, c) = (i / _width, i % _width);
                var (gate, up) = ((row * 2 * _width) + c, (row * 2 * _width) + _width + c);
                var (a, b) = ((double)GateUp[gate] + _bias[c], (double)GateUp[up] + _bias[_width + c]);
                values[gate] = _dy[i] * b * GradientMath.GeluTanhSlope(a);
                values[up] = _dy[i] * ReferenceMath.GeluTanh(a);
                var v = Math.Abs(1.5957691216057308 * (a + (0.044715 * a * a * a)));
                var s = ReferenceMath.Sigmoid(Math.Sign(a) * v);
                var slopes = s + (Math.Abs(a) * s * (1 - s) * 1.5957691216057308 * (1 + (0.134145 * a * a)));
                // The gate's own rounding moves the result by the slope of what is computed; the rest is f32 arithmetic.
                var units = OpTest.Units(24 + (12 * v));
                allowed[gate] = units * Math.Abs(_dy[i]) * slopes * (Math.Abs(b) + Math.Abs(_bias[_width + c]));
                allowed[up] = units * Math.Abs(values[up]);
            }

            return (values, allowed);
        }
    }
}
