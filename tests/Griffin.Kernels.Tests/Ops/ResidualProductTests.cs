using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Product, bias, residual add and sums of squares in one kernel.</summary>
[TestFixture]
internal sealed class ResidualProductTests
{
    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<ResidualProduct>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Matches_float64(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            const int width = 37;
            var random = new CounterRandom((ulong)inner);
            var (x, w) = (OpTest.Normals(random, type, rows * inner), OpTest.Normals(random, type, width * inner));
            var (before, bias) = (OpTest.Normals(random, type, rows * width), OpTest.Normals(random, type, width));
            var residual = test.Matrix(before, rows, width, type, 5);
            var op = new ResidualProduct(test.Device, type, width, inner, variant);
            Assert.That(op.VariantFor(rows), Is.EqualTo(variant));
            var squares = test.Output(rows, op.PartsFor(rows), ElementType.Float32);
            op.Run(test.Stream, test.Matrix(x, rows, inner, type, 8), test.Matrix(w, width, inner, type, 16), test.Vector(bias, type), residual, squares);

            var (expected, bound) = (new double[rows * width], new double[rows * width]);
            for (var i = 0; i < expected.Length; i++)
            {
                var (product, magnitude) = (0.0, 0.0);
                for (var k = 0; k < inner; k++)
                {
                    var term = (double)x[(i / width * inner) + k] * w[(i % width * inner) + k];
                    product += term;
                    magnitude += Math.Abs(term);
                }

                expected[i] = before[i] + product + bias[i % width];
                bound[i] = Math.ScaleB(inner * magnitude, -23) + (type == ElementType.BFloat16 ? Bf16.Ulp(product) : OpTest.Units(4) * (Math.Abs(product) + Math.Abs(bias[i % width])));
            }

            var actual = test.Read(residual);
            OpTest.Compare(type, actual, expected, i => bound[i], $"{variant}, {type}, {rows} x {inner}");
            AssertSquares(test.Read(squares), actual, rows, width);
        }
    }

    [TestCaseSource(nameof(Variants))]
    public void Rounds_as_the_single_ops_do(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            foreach (var withBias in new[] { true, false })
            {
                const int width = 35;
                var x = new SkinnyCase(test, type, rows, inner);
                var w = x.OneHot(width);
                var before = OpTest.Normals(new CounterRandom(9), type, rows * width);
                var (residual, expected) = (x.Matrix(before, rows, width), x.Matrix(before, rows, width));
                var bias = withBias ? x.Vector(width) : TensorView.Empty;
                var op = new ResidualProduct(test.Device, type, width, inner, variant);
                op.Run(test.Stream, x.Input.X, w, bias, residual, test.Output(rows, op.PartsFor(rows), ElementType.Float32));
                var delta = x.Product(x.Input.X, w);
                new RmsNorm(test.Device, type, width).RunResidual(test.Stream, expected, delta, bias, x.Vector(width), expected, delta, SkinnyCase.Epsilon);
                Close.Exact(test.Read(residual), test.Read(expected), $"{variant}, {type}, {rows} x {inner}");
            }
        }
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "mma-16", "fma-1", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            var x = new SkinnyCase(test, ElementType.BFloat16, 9, 136);
            var residual = x.Normals(9, 40);
            var op = new ResidualProduct(test.Device, ElementType.BFloat16, 40, 136, variant);
            var squares = test.Output(9, op.PartsFor(9), ElementType.Float32);
            op.Run(test.Stream, x.Input.X, x.Normals(40, 136), x.Vector(40), residual, squares);
            return [.. test.Read(residual), .. test.Read(squares)];
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new ResidualProduct(test.Device, type, 20, 8);
        var (x, w, residual) = (test.Output(2, 8, type), test.Output(20, 8, type), test.Output(2, 20, type));
        var squares = test.Output(2, op.PartsFor(2), type);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x, w, TensorView.Empty, residual, test.Output(2, 3, type)), "parts");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x, w, test.Output(1, 8, type), residual, squares), "bias");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, residual.ColumnRange(0, 8), w, TensorView.Empty, residual, squares), "overlap");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x, w, TensorView.Empty, residual.RowRange(0, 1), squares), "rows");
            Assert.DoesNotThrow(() => op.Run(test.Stream, x.RowRange(0, 0), w, TensorView.Empty, residual.RowRange(0, 0), squares.RowRange(0, 0)), "no rows");
        });
    }

    private static void AssertSquares(float[] squares, float[] residual, int rows, int width)
    {
        var parts = squares.Length / rows;
        var tile = (width + parts - 1) / parts > 16 ? 32 : 16;
        for (var row = 0; row < rows; row++)
        {
            var values = residual.AsSpan(row * width, width).ToArray();
            double[] expected = [.. values.Chunk(tile).Select(part => part.Sum(value => (double)value * value))];
            Close.Float32(squares.AsSpan(row * parts, parts), expected, relative: OpTest.Units(40), scale: 0, what: $"squares of row {row}");
        }
    }
}
