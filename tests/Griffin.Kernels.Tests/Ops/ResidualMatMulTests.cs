using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Product, bias, residual add and norm of many rows: against float64 loops, and to the bit against the ops that it stands for.</summary>
[TestFixture]
internal sealed class ResidualMatMulTests
{
    private const float Epsilon = 1e-6f;
    private static readonly string[] tiled = ["mma-64x64", "mma-128x128"];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var (rows, width, inner) in new[] { (1, 8, 8), (63, 40, 24), (65, 72, 40), (129, 136, 72), (7, 264, 104) })
        {
            foreach (var variant in tiled) yield return new(ElementType.BFloat16, variant, rows, width, inner);
        }

        foreach (var type in OpTest.Types)
        {
            foreach (var (rows, width, inner) in new[] { (1, 1, 1), (5, 33, 7), (65, 97, 13) }) yield return new(type, "general", rows, width, inner);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void MatchesFloat64(ElementType type, string variant, int rows, int width, int inner)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var withBias in new[] { true, false })
        {
            var operands = new Operands(type, rows, width, inner, withBias);
            var result = operands.Run(test, variant, gap: variant == "general" ? 3 : 8);
            var (expected, allowed) = operands.Sums();
            OpTest.Compare(type, result.Residual, expected, i => allowed[i], $"{variant}, x");

            var scaled = result.Residual.Select((x, i) => (double)x * (1.0 + operands.Scale[i % width])).ToArray();
            OpTest.Compare(type, result.Scaled, scaled, i => OpTest.Units(2) * Math.Abs(scaled[i]), $"{variant}, scaled");
            double[] factors = [.. result.Residual.Chunk(width).Select(row => 1 / Math.Sqrt((row.Sum(x => (double)x * x) / width) + Epsilon))];
            Close.Float32(result.Factors, factors, OpTest.Units(20 + (width / 1024.0)), scale: 0, what: $"{variant}, factors");
        }
    }

    [Test]
    public void HasTheBitsOfTheProductAndTheResidualAdd([ValueSource(nameof(tiled))] string variant, [Values] bool withBias)
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, 70, 72, 136, withBias);
        var expected = operands.Separately(test, variant);
        Close.Exact(operands.Run(test, variant).Residual, expected, variant);
    }

    /// <summary>Neither the tile nor the number of rows shows, so that a model may choose among tiles by it under batch invariance.</summary>
    [Test]
    public void TilesAndRowCountsGiveTheSameBits()
    {
        const ElementType type = ElementType.BFloat16;
        const int rows = 131, width = 200, inner = 96;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width, inner, withBias: true);
        var expected = operands.Run(test, tiled[0]);
        foreach (var variant in tiled)
        {
            foreach (var count in new[] { rows, 65, 1 })
            {
                var part = operands.First(count).Run(test, variant);
                Close.Exact(part.Residual, expected.Residual.AsSpan(0, count * width), $"{variant}, {count} rows: x");
                Close.Exact(part.Scaled, expected.Scaled.AsSpan(0, count * width), $"{variant}, {count} rows: scaled");
                Close.Exact(part.Factors, expected.Factors.AsSpan(0, count), $"{variant}, {count} rows: factors");
            }
        }
    }

    /// <summary>The warpgroup tile on the emulator's Hopper: ragged in every direction, blocks that take several tiles, the bits of the smaller tiles.</summary>
    [TestCase(1, 8, 8)]
    [TestCase(129, 264, 72)]
    [TestCase(290, 520, 136)]
    public void WarpgroupTilesHaveTheBitsOfTheSmallerOnes(int rows, int width, int inner)
    {
        TestDevices.RequireEmulator("sums in the order of k");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions with { Workers = 2 });
        using var test = new OpTest(device);
        var operands = new Operands(ElementType.BFloat16, rows, width, inner, withBias: true);
        var (expected, actual) = (operands.Run(test, "mma-64x64", gap: 8), operands.Run(test, "warpgroup-128x256", gap: 8));
        Close.Exact(actual.Residual, expected.Residual, "x");
        Close.Exact(actual.Scaled, expected.Scaled, "scaled");
        Close.Exact(actual.Factors, expected.Factors, "factors");
    }

    /// <summary>What the chain is for: the product behind it is one of the normed rows.</summary>
    [Test]
    public void TheNextProductIsOfTheNormedRows([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 37, width = 64, inner = 40, columns = 24;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width, inner, withBias: true);
        var result = operands.Run(test, variant: null);
        var w = OpTest.Normals(new CounterRandom(3), type, columns * width, 0.125);
        var y = test.Output(rows, columns, type);
        new MatMul(test.Device, type, columns, width, rowFactors: true).Run(
            test.Stream, test.Matrix(result.Scaled, rows, width, type), test.Matrix(w, columns, width, type), y, test.Vector(result.Factors, ElementType.Float32));

        var (expected, allowed) = (new double[rows * columns], new double[rows * columns]);
        for (var i = 0; i < expected.Length; i++)
        {
            var (row, magnitude) = (result.Residual[(i / columns * width)..((i / columns * width) + width)], 0.0);
            var inverse = 1 / Math.Sqrt((row.Sum(x => (double)x * x) / width) + Epsilon);
            for (var k = 0; k < width; k++)
            {
                var term = row[k] * inverse * (1 + operands.Scale[k]) * w[(i % columns * width) + k];
                expected[i] += term;
                magnitude += Math.Abs(term);
            }

            // Each scaled element is half an ulp off.
            allowed[i] = magnitude * (Math.ScaleB(width, -23) + (type == ElementType.BFloat16 ? Math.ScaleB(1, -8) : OpTest.Units(24)));
        }

        OpTest.Compare(type, test.Read(y), expected, i => allowed[i]);
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in type == ElementType.BFloat16 ? [.. tiled, "general"] : (string[])["general"])
        {
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var result = new Operands(type, 66, 40, 40, withBias: true).Run(test, variant);
                return [.. result.Residual, .. result.Scaled, .. result.Factors];
            });
        }
    }

    /// <summary>residual_matmul.cu: w once per tile of rows, the input once per tile of columns, the residual stream in and out once in whole sectors.</summary>
    [TestCase("mma-64x64", 128, 4)]
    [TestCase("mma-128x128", 128, 2)]
    public void TrafficIsWhatTheContractStates(string variant, int rows, int timesInput)
    {
        TestDevices.RequireEmulator("counts accesses");
        const ElementType type = ElementType.BFloat16;
        const int width = 256, inner = 256;
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var test = new OpTest(device);
        var on = new Operands(type, rows, width, inner, withBias: true).Place(test, 0);
        var op = new ResidualMatMul(device, type, width, inner, variant);
        var workspace = test.Workspace(op.WorkspaceBytes(rows));
        op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm, on.Normed, workspace);
        test.Stream.Synchronize();
        var launches = device.TakeCounters();
        var (product, factors) = (launches[0], launches[1]);
        Assert.Multiple(() =>
        {
            Assert.That(product[on.W.Owner].BytesRead, Is.EqualTo(2L * width * inner * (rows / int.Parse(variant.Split('x')[1], null))), "w");
            Assert.That(product[on.Input.Owner].BytesRead, Is.EqualTo(2L * rows * inner * timesInput), "input");
            TrafficLaws.AssertStreamed(product, on.Residual, read: true, variant);
            TrafficLaws.AssertStreamed(product, on.Residual, read: false, variant);
            TrafficLaws.AssertStreamed(product, on.Normed.Rows, read: false, variant);
            Assert.That(product[on.Normed.Rows.Owner].BytesRead, Is.Zero, "scaled is not read");
            Assert.That(product[workspace.Owner].BytesWritten, Is.EqualTo(op.WorkspaceBytes(rows)), "squares");
            Assert.That(product.MatrixMultiplyAdds, Is.EqualTo((long)rows * width * inner));
            Assert.That(product.BankConflicts, Is.Zero);
            Assert.That(factors[workspace.Owner].BytesRead, Is.EqualTo(op.WorkspaceBytes(rows)), "squares, read");
            Assert.That(factors[on.Normed.Factors.Owner].BytesWritten, Is.EqualTo(4L * rows), "factors");
        });
    }

    [Test]
    public void WrongArgumentsAreRefused()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new ResidualMatMul(test.Device, type, 8, 16, "mma-64x64");
        var on = new Operands(type, 4, 8, 16, withBias: true).Place(test, 0);
        var workspace = test.Workspace(op.WorkspaceBytes(4));
        var product = new MatMul(test.Device, type, 8, 8, variant: "mma-64x64", rowFactors: true);
        var (w, y) = (test.Output(8, 8, type), test.Output(4, 8, type));
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, on.Input.ColumnRange(0, 8), on.W, on.Bias, on.Residual, on.Norm, on.Normed, workspace), Throws.ArgumentException, "input");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W.RowRange(0, 4), on.Bias, on.Residual, on.Norm, on.Normed, workspace), Throws.ArgumentException, "rows of w");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias.ColumnRange(0, 4), on.Residual, on.Norm, on.Normed, workspace), Throws.ArgumentException, "bias");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual.RowRange(0, 3), on.Norm, on.Normed, workspace), Throws.ArgumentException, "rows of x");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm, on.Normed with { Rows = on.Residual }, workspace), Throws.ArgumentException, "overlap");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm, on.Normed with { Factors = on.Normed.Factors.ColumnRange(0, 3) }, workspace),
                Throws.ArgumentException, "factors");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm with { Scale = TensorView.Empty }, on.Normed, workspace), Throws.ArgumentException, "scale");
            Assert.That(() => op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm, on.Normed, test.Workspace(4)), Throws.ArgumentException, "workspace");
            Assert.That(() => new ResidualMatMul(test.Device, type, 12, 16, "mma-64x64"), Throws.ArgumentException, "width");
            Assert.That(() => new ResidualMatMul(test.Device, type, 8, 15, "mma-64x64"), Throws.ArgumentException, "inner");
            Assert.That(() => product.Run(test.Stream, on.Normed.Rows, w, y), Throws.ArgumentException, "no factors");
            Assert.That(() => new MatMul(test.Device, type, 8, 8).Run(test.Stream, on.Normed.Rows, w, y, on.Normed.Factors), Throws.ArgumentException, "factors for an op without");
            Assert.That(() => new MatMul(test.Device, type, 8, 8, variant: "skinny-1", rowFactors: true), Throws.ArgumentException, "no such kernel");
        });
    }

    private sealed record Result(float[] Residual, float[] Scaled, float[] Factors);

    private sealed record Placed(TensorView Input, TensorView W, TensorView Bias, TensorView Residual, FollowingNorm Norm, FactoredRows Normed);

    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _rows, _width, _inner;
        private readonly float[] _input, _w, _bias, _before;

        public Operands(ElementType type, int rows, int width, int inner, bool withBias)
        {
            (_type, _rows, _width, _inner) = (type, rows, width, inner);
            var random = new CounterRandom((ulong)((rows * 1000) + width + inner));
            _input = OpTest.Normals(random, type, rows * inner);
            _w = OpTest.Normals(random, type, width * inner, 1 / Math.Sqrt(inner));
            _before = OpTest.Normals(random, type, rows * width);
            Scale = OpTest.Normals(random, type, width, 0.3);
            _bias = withBias ? OpTest.Normals(random, type, width, 0.2) : [];
        }

        private Operands(Operands all, int rows)
        {
            (_type, _rows, _width, _inner, _w, _bias, Scale) = (all._type, rows, all._width, all._inner, all._w, all._bias, all.Scale);
            (_input, _before) = (all._input[..(rows * _inner)], all._before[..(rows * _width)]);
        }

        public float[] Scale { get; }

        public Operands First(int rows) => new(this, rows);

        public Placed Place(OpTest test, int gap) => new(
            test.Matrix(_input, _rows, _inner, _type, gap), test.Matrix(_w, _width, _inner, _type, gap), _bias.Length == 0 ? TensorView.Empty : test.Vector(_bias, _type),
            test.Matrix(_before, _rows, _width, _type, gap), new(test.Vector(Scale, _type), Epsilon),
            new(test.Output(_rows, _width, _type, 2 * gap), test.Output(1, _rows, ElementType.Float32)));

        public Result Run(OpTest test, string? variant, int gap = 0)
        {
            var on = Place(test, gap);
            var op = new ResidualMatMul(test.Device, _type, _width, _inner, variant);
            if (variant is not null) Assert.That(op.VariantFor(_rows), Is.EqualTo(variant));
            op.Run(test.Stream, on.Input, on.W, on.Bias, on.Residual, on.Norm, on.Normed, test.Workspace(op.WorkspaceBytes(_rows)));
            return new(test.Read(on.Residual), test.Read(on.Normed.Rows), test.Read(on.Normed.Factors));
        }

        public float[] Separately(OpTest test, string variant)
        {
            var on = Place(test, 0);
            var (delta, normed) = (test.Output(_rows, _width, _type), test.Output(_rows, _width, _type));
            new MatMul(test.Device, _type, _width, _inner, variant: variant).Run(test.Stream, on.Input, on.W, delta);
            new RmsNorm(test.Device, _type, _width).RunResidual(test.Stream, on.Residual, delta, on.Bias, on.Norm.Scale, on.Residual, normed, Epsilon);
            return test.Read(on.Residual);
        }

        // x in float64, and how far what is stored may lie from it before its own rounding.
        public (double[] Expected, double[] Allowed) Sums()
        {
            var (expected, allowed) = (new double[_rows * _width], new double[_rows * _width]);
            for (var i = 0; i < expected.Length; i++)
            {
                var (product, magnitude, bias) = (0.0, 0.0, _bias.Length == 0 ? 0 : _bias[i % _width]);
                for (var k = 0; k < _inner; k++)
                {
                    var term = (double)_input[(i / _width * _inner) + k] * _w[(i % _width * _inner) + k];
                    product += term;
                    magnitude += Math.Abs(term);
                }

                expected[i] = _before[i] + product + bias;
                allowed[i] = Math.ScaleB(_inner * magnitude, -23)
                    + (_type == ElementType.BFloat16 ? Bf16.Ulp(product) : 0) + (OpTest.Units(4) * (Math.Abs(product) + Math.Abs(bias) + Math.Abs(_before[i])));
            }

            return (expected, allowed);
        }
    }
}
