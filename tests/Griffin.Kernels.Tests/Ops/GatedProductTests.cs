using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Norm, gate|up product and GELU(gate) · up in one kernel.</summary>
[TestFixture]
internal sealed class GatedProductTests
{
    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<GatedProduct>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Matches_float64(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            const int width = 19;
            var x = new SkinnyCase(test, type, rows, inner);
            var random = new CounterRandom(4);
            var (w, bias) = (OpTest.Normals(random, type, 2 * width * inner, 0.5), OpTest.Normals(random, type, 2 * width, 0.5));
            var y = test.Output(rows, width, type, 3);
            var op = new GatedProduct(test.Device, type, width, inner, variant);
            Assert.That(op.VariantFor(rows), Is.EqualTo(variant));
            op.Run(test.Stream, x.Input, x.Matrix(w, 2 * width, inner), test.Vector(bias, type), y);

            var (product, bound) = x.Reference(w, 2 * width);
            var (expected, allowed) = (new double[rows * width], new double[rows * width]);
            for (var i = 0; i < expected.Length; i++)
            {
                var (g, u) = ((i / width * 2 * width) + (i % width), (i / width * 2 * width) + width + (i % width));
                var (gate, up) = (product[g] + bias[i % width], product[u] + bias[width + (i % width)]);
                var (gateError, upError) = (bound[g] + Step(product[g]), bound[u] + Step(product[u]));
                var gelu = ReferenceMath.GeluTanh(gate);
                expected[i] = gelu * up;

                // The slope of GELU is at most 1.13 anywhere.
                allowed[i] = (1.13 * gateError * (Math.Abs(up) + upError)) + (Math.Abs(gelu) * upError)
                    + ((OpTest.Units(4) + RgLruReference.GeluError(gate)) * Math.Abs(expected[i]));
            }

            OpTest.Compare(type, test.Read(y), expected, i => allowed[i], $"{variant}, {type}, {rows} x {inner}");
        }

        double Step(double value) => type == ElementType.BFloat16 ? Bf16.Ulp(value) : OpTest.Units(2) * Math.Abs(value);
    }

    [TestCaseSource(nameof(Variants))]
    public void Rounds_as_the_single_ops_do(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            const int width = 29;
            var x = new SkinnyCase(test, type, rows, inner);
            var (w, bias) = (x.OneHot(2 * width), x.Vector(2 * width));
            var (y, expected) = (test.Output(rows, width, type), test.Output(rows, width, type));
            new GatedProduct(test.Device, type, width, inner, variant).Run(test.Stream, x.Input, w, bias, y);
            new GeluMultiply(test.Device, type, width, "general").Run(test.Stream, x.Product(x.Normed(), w), bias, expected);
            Close.Exact(test.Read(y), test.Read(expected), $"{variant}, {type}, {rows} x {inner}");
        }
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "mma-16", "fma-8", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            var x = new SkinnyCase(test, ElementType.BFloat16, 9, 136);
            var y = test.Output(9, 21, ElementType.BFloat16);
            new GatedProduct(test.Device, ElementType.BFloat16, 21, 136, variant).Run(test.Stream, x.Input, x.Normals(42, 136), x.Vector(42), y);
            return test.Read(y);
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var x = new SkinnyCase(test, type, 3, 16);
        var (w, bias, y) = (x.Normals(10, 16), x.Vector(10), test.Output(3, 5, type));
        var op = new GatedProduct(test.Device, type, 5, 16);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w.RowRange(0, 5), bias, y), "rows of w");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, x.Vector(5), y), "bias");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, bias, y.RowRange(0, 2)), "rows");
            var none = new SkinnyCase(test, type, 0, 16);
            Assert.DoesNotThrow(() => op.Run(test.Stream, none.Input, w, bias, y.RowRange(0, 0)), "no rows");
        });
    }
}
