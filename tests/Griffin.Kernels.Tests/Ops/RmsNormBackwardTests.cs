using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RmsNormBackwardTests
{
    private const float Eps = 1e-6f;

    private static readonly object[] shapes = [new[] { 1, 1 }, new[] { 5, 3 }, new[] { 15, 24 }, new[] { 16, 264 }, new[] { 17, 257 }, new[] { 37, 520 }, new[] { 2, 4128 }, new[] { 2, 8200 }];

    [Test]
    public void FormulaIsTheDerivative([Values(1, 2, 7)] int width)
    {
        var random = new CounterRandom((ulong)width);
        double[] Draw() => Array.ConvertAll(random.Normals(width), value => (double)value);
        var (x, scale, dy) = (Draw(), Draw(), Draw());
        const double eps = 0.1;   // visible at a width of 1, where the norm alone would have no gradient
        double Loss() => FiniteDifferences.Dot(ReferenceMath.RmsNorm(x, scale, eps), dy);
        var (dx, _, dscale) = GradientMath.RmsNorm(x, scale, dy, eps);
        FiniteDifferences.AssertSame(dx, FiniteDifferences.Gradient(x, Loss), "dx");
        FiniteDifferences.AssertSame(dscale, FiniteDifferences.Gradient(scale, Loss), "dscale");
    }

    [TestCaseSource(nameof(shapes))]
    public void MatchesFloat64(int rows, int width)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var type in OpTest.Types)
        {
            var operands = new Operands(type, rows, width);
            foreach (var variant in OpTest.VariantsOf<RmsNormBackward>(OpTest.Dimensions(width), type))
            {
                foreach (var accumulate in new[] { false, true })
                    operands.RunAndCompare(test, variant, accumulate);
            }
        }
    }

    [Test]
    public void ManyRowsShareParts([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Plain);
        const int rows = (512 * 17) - 3, width = 8;
        foreach (var variant in OpTest.VariantsOf<RmsNormBackward>(OpTest.Dimensions(width), type))
            new Operands(type, rows, width).RunAndCompare(test, variant, accumulate: false);
    }

    [Test]
    public void MayOverwriteTheGradientOfItsResult([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values] bool accumulate)
    {
        const int rows = 5, width = 40;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom(3);
        var (x, scale, dy) = (test.Matrix(OpTest.Normals(random, type, rows * width), rows, width, type), test.Vector(OpTest.Normals(random, type, width), type), OpTest.Normals(random, type, rows * width));
        foreach (var variant in OpTest.VariantsOf<RmsNormBackward>(OpTest.Dimensions(width), type))
        {
            var op = new RmsNormBackward(test.Device, type, width, variant);
            var (apart, inPlace) = (test.Matrix(dy, rows, width, type), test.Matrix(dy, rows, width, type));
            var sums = test.Matrix(new float[2 * width], 2, width, ElementType.Float32);
            var workspace = test.Workspace(op.WorkspaceBytes(rows));
            op.Run(test.Stream, x, scale, inPlace, apart, accumulate, sums.RowRange(0, 1), Eps, workspace);
            op.Run(test.Stream, x, scale, inPlace, inPlace, accumulate, sums.RowRange(1, 1), Eps, workspace);
            Close.Exact(test.Read(inPlace), test.Read(apart), variant);
            Close.Exact(test.Read(sums.RowRange(1, 1)), test.Read(sums.RowRange(0, 1)), variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(24, 520)] int width)
    {
        const int rows = 35;
        foreach (var variant in OpTest.VariantsOf<RmsNormBackward>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var operands = new Operands(type, rows, width);
                var (dx, dscale) = operands.Run(test, variant, accumulate: true);
                return [.. test.Read(dx), .. test.Read(dscale)];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new RmsNormBackward(test.Device, type, 8);
        var (x, scale, dy, dx, dscale) = (test.Output(20, 8, type), test.Output(1, 8, type), test.Output(20, 8, type), test.Output(20, 8, type), test.Output(1, 8, ElementType.Float32));
        var workspace = test.Workspace(op.WorkspaceBytes(20));
        void Run(TensorView dx, TensorView dscale, TensorView workspace) => op.Run(test.Stream, x, scale, dy, dx, false, dscale, Eps, workspace);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(19, 8, type), dscale, workspace), Throws.ArgumentException.With.Message.Contains("dx has 19 rows"));
            Assert.That(() => Run(x, dscale, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dx, test.Output(1, 8, type), workspace), Throws.ArgumentException.With.Message.Contains("dscale"));
            Assert.That(() => Run(dx, dscale, test.Workspace(op.WorkspaceBytes(16))), Throws.ArgumentException.With.Message.Contains("workspace"));
        });
    }

    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _rows;
        private readonly int _width;
        private readonly float[] _x;
        private readonly float[] _scale;
        private readonly float[] _dy;
        private readonly float[] _before;
        private readonly float[] _sumBefore;

        public Operands(ElementType type, int rows, int width)
        {
            (_type, _rows, _width) = (type, rows, width);
            var random = new CounterRandom((ulong)((rows * 31) + width));
            _x = OpTest.Normals(random, type, rows * width, 3);
            if (rows > 1)
                Array.Clear(_x, 0, width);   // a row of zeros: eps alone keeps it finite
            _scale = OpTest.Normals(random, type, width, 0.3);
            _dy = OpTest.Normals(random, type, rows * width);
            _before = OpTest.Normals(random, type, rows * width);
            _sumBefore = random.Normals(width);
        }

        public (TensorView Dx, TensorView Dscale) Run(OpTest test, string variant, bool accumulate)
        {
            var op = new RmsNormBackward(test.Device, _type, _width, variant);
            var dx = accumulate ? test.Matrix(_before, _rows, _width, _type, 8) : test.Output(_rows, _width, _type, 8);
            var dscale = test.Matrix(_sumBefore, 1, _width, ElementType.Float32, 4);
            op.Run(test.Stream, test.Matrix(_x, _rows, _width, _type, 16), test.Vector(_scale, _type), test.Matrix(_dy, _rows, _width, _type, 24), dx, accumulate, dscale, Eps,
                test.Workspace(op.WorkspaceBytes(_rows)));
            return (dx, dscale);
        }

        public void RunAndCompare(OpTest test, string variant, bool accumulate)
        {
            var (dx, dscale) = Run(test, variant, accumulate);
            var (expected, size) = (new double[_rows * _width], new double[_rows * _width]);
            var sums = Array.ConvertAll(_sumBefore, value => (double)value);
            var sumSizes = Array.ConvertAll(sums, Math.Abs);
            var scale = Array.ConvertAll(_scale, value => (double)value);
            for (var r = 0; r < _rows; r++)
            {
                double[] Row(float[] values) => Array.ConvertAll(values[(r * _width)..((r + 1) * _width)], value => (double)value);
                var (rowDx, rowSize, rowDscale) = GradientMath.RmsNorm(Row(_x), scale, Row(_dy), Eps);
                for (var c = 0; c < _width; c++)
                {
                    var old = accumulate ? _before[(r * _width) + c] : 0;
                    expected[(r * _width) + c] = rowDx[c] + old;
                    size[(r * _width) + c] = rowSize[c] + Math.Abs(old);
                    sums[c] += rowDscale[c];
                    sumSizes[c] += Math.Abs(rowDscale[c]);
                }
            }

            var steps = (_width / 4) + 32;
            var what = $"{variant}, {_type}, {_rows} rows, width {_width}, {(accumulate ? "added" : "written")}";
            OpTest.Compare(_type, test.Read(dx), expected, i => OpTest.Units(steps) * size[i], what);
            Close.Within(test.Read(dscale), sums, c => OpTest.Units(steps + ((_rows + 15) / 16) + 18) * sumSizes[c], what);
        }
    }
}
