using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The product core that all fused products share is held against float64 here, and its traffic against the contract.</summary>
[TestFixture]
internal sealed class NormProductTests
{
    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<NormProduct>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Matches_float64(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            const int width = 37;
            var x = new SkinnyCase(test, type, rows, inner);
            var w = OpTest.Normals(new CounterRandom(3), type, width * inner);
            var y = test.Output(rows, width, ElementType.Float32, 3);
            var op = new NormProduct(test.Device, type, width, inner, variant);
            Assert.That(op.VariantFor(rows), Is.EqualTo(variant));
            op.Run(test.Stream, x.Input, x.Matrix(w, width, inner), 0, y);
            var (expected, bound) = x.Reference(w, width);
            OpTest.Compare(ElementType.Float32, test.Read(y), expected, i => bound[i], $"{variant}, {type}, {rows} x {inner}");
        }
    }

    [TestCaseSource(nameof(Variants))]
    public void Rounds_as_the_single_ops_do(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            const int width = 21;
            const float cap = 2;
            var x = new SkinnyCase(test, type, rows, inner);
            var w = x.OneHot(width);
            var y = test.Output(rows, width, ElementType.Float32);
            new NormProduct(test.Device, type, width, inner, variant).Run(test.Stream, x.Input, w, cap, y);
            var expected = x.Product(x.Normed(), w, ElementType.Float32);
            new SoftCap(test.Device, width, "general").Run(test.Stream, expected, cap);
            Close.Exact(test.Read(y), test.Read(expected), $"{variant}, {type}, {rows} x {inner}");
        }
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "mma-64", "fma-8", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            var x = new SkinnyCase(test, ElementType.BFloat16, 9, 136);
            var y = test.Output(9, 19, ElementType.Float32);
            new NormProduct(test.Device, ElementType.BFloat16, 19, 136, variant).Run(test.Stream, x.Input, x.Normals(19, 136), 0, y);
            return test.Read(y);
        });
    }

    /// <summary>Rows outside the call do not leak into it, whatever they hold; nor do a row's neighbours within it.</summary>
    [Test]
    public void Neighbours_have_no_effect([Values("mma-8", "fma-8", "general")] string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        const int rows = 3, inner = 40, width = 9;
        var x = new SkinnyCase(test, ElementType.BFloat16, rows, inner);
        var w = x.Normals(width, inner);
        var op = new NormProduct(test.Device, ElementType.BFloat16, width, inner, variant);
        var alone = test.Output(rows, width, ElementType.Float32);
        op.Run(test.Stream, x.Input, w, 0, alone);

        float[] poisoned = [.. x.X[..inner], .. Poison.Floats(inner), .. x.X[(2 * inner)..]];
        float[] squares = [.. x.Squares[..x.Parts], .. Poison.Floats(x.Parts), .. x.Squares[(2 * x.Parts)..]];
        var beside = test.Output(rows, width, ElementType.Float32);
        op.Run(test.Stream, x.Input with { X = x.Matrix(poisoned, rows, inner), Squares = test.Matrix(squares, rows, x.Parts, ElementType.Float32) }, w, 0, beside);
        Close.Exact(test.Read(beside.RowRange(0, 1)), test.Read(alone.RowRange(0, 1)));
        Close.Exact(test.Read(beside.RowRange(2, 1)), test.Read(alone.RowRange(2, 1)));
    }

    /// <summary>The traffic that skinny.cuh promises: the weight once, x once per tile of the weight, whole sectors, no conflicts.</summary>
    [TestCase("mma-8", 1, 16)]
    [TestCase("mma-8", 8, 16)]
    [TestCase("mma-16", 16, 32)]
    [TestCase("mma-64", 64, 32)]
    public void Traffic_is_what_the_contract_states(string variant, int rows, int tile)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var test = new OpTest(device);
        const int inner = 512, width = 256;
        var x = new SkinnyCase(test, ElementType.BFloat16, rows, inner);
        var w = test.Matrix(new CounterRandom(5).Bf16Normals(width * inner), width, inner, ElementType.BFloat16);
        var input = x.Input with { X = test.Matrix(x.X, rows, inner, ElementType.BFloat16) };
        var y = test.Output(rows, width, ElementType.Float32);
        new NormProduct(device, ElementType.BFloat16, width, inner, variant).Run(test.Stream, input, w, 0, y);
        test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        const long bytes = 2L * width * inner;
        Assert.Multiple(() =>
        {
            Assert.That(counters[w.Owner].BytesRead, Is.EqualTo(bytes), "w is requested once");
            Assert.That(counters[w.Owner].RequestSectorsRead * 32, Is.EqualTo(bytes), "in whole sectors");
            Assert.That(counters[input.X.Owner].RequestSectorsRead * 32, Is.EqualTo(2L * rows * inner * (width / tile)), "x once per tile: lanes past the last row repeat it");
            Assert.That(counters[y.Owner].BytesWritten, Is.EqualTo(4L * rows * width), "y");
            Assert.That(counters[y.Owner].BytesRead, Is.Zero, "y is not read");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo((long)width * inner * ((rows + 7) / 8 * 8)));
        });
    }

    [Test]
    public void Rows_past_two_to_the_31_elements_are_reached([Values("mma-8", "fma-8", "general")] string variant)
    {
        TestDevices.RequireEmulator("needs a sparse allocation");
        using var device = TestDevices.OpenPlain();
        using var test = new OpTest(device);
        const int rows = 2, inner = 64, width = 3;
        const long far = (1L << 31) + 64;
        var x = new SkinnyCase(test, ElementType.BFloat16, rows, inner);
        var w = new CounterRandom(8).Bf16Normals(width * inner);
        TensorView Sparse(float[] values, int count)
        {
            var memory = test.Allocate((((count - 1) * far) + inner) * sizeof(ushort));
            for (var row = 0; row < count; row++)
                test.Stream.CopyToDevice<ushort>(Array.ConvertAll(values[(row * inner)..((row + 1) * inner)], Bf16.Bits), memory, row * far * sizeof(ushort));
            return TensorView.Of(memory, 0, ElementType.BFloat16, count, inner, far);
        }

        var y = test.Output(rows, width, ElementType.Float32);
        new NormProduct(device, ElementType.BFloat16, width, inner, variant).Run(test.Stream, x.Input with { X = Sparse(x.X, rows) }, Sparse(w, width), 0, y);
        var (expected, bound) = x.Reference(w, width);
        OpTest.Compare(ElementType.Float32, test.Read(y), expected, i => bound[i], variant);
    }

    [Test]
    public void The_number_of_rows_chooses_the_kernel()
    {
        var device = TestDevices.Plain;
        string[] Chosen(ElementType type, int inner) => [.. new[] { 1, 8, 9, 32, 33, 64, 65 }.Select(new NormProduct(device, type, 64, inner).VariantFor)];
        Assert.Multiple(() =>
        {
            Assert.That(Chosen(ElementType.BFloat16, 64), Is.EqualTo(new[] { "mma-8", "mma-8", "mma-16", "mma-32", "mma-64", "mma-64", "mma-64" }));
            Assert.That(Chosen(ElementType.Float32, 64), Is.EqualTo(new[] { "fma-1", "fma-8", "fma-8", "fma-8", "fma-8", "fma-8", "fma-8" }));
            Assert.That(Chosen(ElementType.BFloat16, 63), Is.All.EqualTo("general"));
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var x = new SkinnyCase(test, type, 3, 16);
        var (w, y) = (x.Normals(5, 16), test.Output(3, 5, ElementType.Float32));
        var op = new NormProduct(test.Device, type, 5, 16);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w.RowRange(0, 4), 0, y), "rows of w");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, 0, y.RowRange(0, 2)), "rows of y");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, 0, test.Output(3, 5, type)), "type of y");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input with { Squares = test.Output(2, 4, ElementType.Float32) }, w, 0, y), "rows of squares");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input with { Scale = test.Output(1, 15, type) }, w, 0, y), "scale");
            Assert.Throws<ArgumentOutOfRangeException>(() => op.Run(test.Stream, x.Input, w, float.NaN, y), "cap");
            Assert.Throws<ArgumentException>(() => _ = new NormProduct(test.Device, type, 5, 15, "mma-8"));
            var none = new SkinnyCase(test, type, 0, 16);
            Assert.DoesNotThrow(() => op.Run(test.Stream, none.Input, w, 0, y.RowRange(0, 0)), "no rows");
        });
    }
}
