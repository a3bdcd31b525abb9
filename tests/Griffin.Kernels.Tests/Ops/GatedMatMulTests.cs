using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The gated MLP's first half in one kernel: against float64 loops, and to the bit against the ops that it stands for.</summary>
[TestFixture]
internal sealed class GatedMatMulTests
{
    private static readonly string[] tiled = ["mma-64x64", "mma-128x128"];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var (rows, width, inner) in new[] { (1, 1, 8), (63, 31, 24), (65, 33, 40), (129, 65, 72), (7, 130, 104) })
        {
            foreach (var variant in tiled) yield return new(ElementType.BFloat16, variant, rows, width, inner);
        }

        foreach (var type in OpTest.Types)
        {
            foreach (var (rows, width, inner) in new[] { (1, 1, 1), (5, 33, 7), (65, 31, 13) }) yield return new(type, "general", rows, width, inner);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void MatchesFloat64(ElementType type, string variant, int rows, int width, int inner) => Expect(TestDevices.Checked, type, variant, rows, width, inner);

    [TestCase(1, 8, 8)]
    [TestCase(127, 120, 64)]
    [TestCase(129, 136, 72)]
    [TestCase(300, 264, 520)]
    public void WarpgroupTilesMatchFloat64(int rows, int width, int inner) => Expect(TestDevices.Hopper, ElementType.BFloat16, "warpgroup-128x256", rows, width, inner);

    /// <summary>Its blocks take several tiles each, in every order of their threads.</summary>
    [Test]
    public void WarpgroupTilesHaveTheBitsOfTheSmallerOnes([Values] bool rowFactors, [Values(1, 8)] int outputGap)
    {
        TestDevices.RequireEmulator("sums in the order of k");
        const int rows = 290, width = 264, inner = 136;
        var operands = new Operands(ElementType.BFloat16, rows, width, inner);
        float[]? expected = null;
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions with { Seed = seed, Workers = 2 });
            using var test = new OpTest(device);
            foreach (var variant in (string[])["mma-64x64", "warpgroup-128x256"])
            {
                var y = test.Output(rows, width, ElementType.BFloat16, outputGap);
                var factors = rowFactors ? test.Vector(new CounterRandom(8).Normals(rows), ElementType.Float32) : TensorView.Empty;
                operands.Run(new GatedMatMul(device, ElementType.BFloat16, width, inner, variant, rowFactors), test, y, factors: factors);
                expected ??= test.Read(y);
                Close.Exact(test.Read(y), expected, variant);
            }
        }
    }

    private static void Expect(GpuDevice device, ElementType type, string variant, int rows, int width, int inner)
    {
        using var test = new OpTest(device);
        var operands = new Operands(type, rows, width, inner);
        var (expected, allowed) = operands.Expected();
        var gap = variant == "general" ? 1 : 8;
        foreach (var outputGap in new[] { 1, 2 })   // odd strides take single stores
        {
            var y = test.Output(rows, width, type, outputGap);
            operands.Run(new GatedMatMul(test.Device, type, width, inner, variant), test, y, gap);
            OpTest.Compare(type, test.Read(y), expected, i => allowed[i], $"{variant}, gap {outputGap}");
        }
    }

    [Test]
    public void HasTheBitsOfTheProductAndGeluMultiply([ValueSource(nameof(tiled))] string variant, [Values] bool rowFactors)
    {
        const ElementType type = ElementType.BFloat16;
        const int rows = 70, width = 41, inner = 136;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width, inner);
        var (fused, separate, gateUp) = (test.Output(rows, width, type), test.Output(rows, width, type), test.Output(rows, 2 * width, type));
        var factors = rowFactors ? test.Vector(new CounterRandom(8).Normals(rows), ElementType.Float32) : TensorView.Empty;
        operands.Run(new GatedMatMul(test.Device, type, width, inner, variant, rowFactors), test, fused, factors: factors);
        new MatMul(test.Device, type, 2 * width, inner, variant: variant, rowFactors: rowFactors)
            .Run(test.Stream, test.Matrix(operands.X, rows, inner, type), test.Matrix(operands.W, 2 * width, inner, type), gateUp, factors);
        new GeluMultiply(test.Device, type, width).Run(test.Stream, gateUp, test.Vector(operands.Bias, type), separate);
        Close.Exact(test.Read(fused), test.Read(separate), variant);
    }

    /// <summary>Factors that are powers of two stand for as much in x, exactly.</summary>
    [Test]
    public void RowFactorsMultiplyTheSums([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values("general", null)] string? variant)
    {
        const int rows = 66, width = 33, inner = 40;
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, rows, width, inner);
        float[] factors = [.. Enumerable.Range(0, rows).Select(row => MathF.ScaleB(1, (row % 5) - 2))];
        var (with, without) = (test.Output(rows, width, type), test.Output(rows, width, type));
        operands.Run(new GatedMatMul(test.Device, type, width, inner, variant, rowFactors: true), test, with, factors: test.Vector(factors, ElementType.Float32));
        for (var i = 0; i < operands.X.Length; i++) operands.X[i] *= factors[i / inner];
        operands.Run(new GatedMatMul(test.Device, type, width, inner, variant), test, without);
        Close.Exact(test.Read(with), test.Read(without));
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in type == ElementType.BFloat16 ? [.. tiled, "general"] : (string[])["general"])
        {
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var y = test.Output(66, 35, type);
                new Operands(type, 66, 35, 40).Run(new GatedMatMul(test.Device, type, 35, 40, variant), test, y);
                return test.Read(y);
            });
        }
    }

    /// <summary>gated_matmul.cu: w once per tile of rows, x once per tile of columns, y once, no conflicts.</summary>
    [TestCase("mma-64x64", 64, 8)]
    [TestCase("mma-128x128", 128, 4)]
    public void TrafficIsWhatTheContractStates(string variant, int rows, int timesX)
    {
        TestDevices.RequireEmulator("counts accesses");
        const ElementType type = ElementType.BFloat16;
        const int width = 256, inner = 256;
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var test = new OpTest(device);
        var operands = new Operands(type, rows, width, inner);
        var (x, w, y) = (test.Matrix(operands.X, rows, inner, type), test.Matrix(operands.W, 2 * width, inner, type), test.Output(rows, width, type));
        new GatedMatMul(device, type, width, inner, variant).Run(test.Stream, x, w, test.Vector(operands.Bias, type), y);
        test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        Assert.Multiple(() =>
        {
            Assert.That(counters[w.Owner].BytesRead, Is.EqualTo(2L * 2 * width * inner), "w");
            Assert.That(counters[x.Owner].BytesRead, Is.EqualTo(2L * rows * inner * timesX), "x");
            Assert.That(counters[y.Owner].BytesWritten, Is.EqualTo(2L * rows * width), "y");
            Assert.That(counters[y.Owner].BytesRead, Is.Zero, "y is not read");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(2L * rows * width * inner));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void WrongArgumentsAreRefused()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new GatedMatMul(test.Device, type, 8, 16, "mma-64x64");
        var (x, w, bias, y) = (test.Output(4, 32, type), test.Output(16, 16, type), test.Output(1, 16, type), test.Output(4, 8, type));
        var narrow = x.ColumnRange(0, 16);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, x, w, bias, y), Throws.ArgumentException, "x too wide");
            Assert.That(() => op.Run(test.Stream, narrow, w.RowRange(0, 8), bias, y), Throws.ArgumentException, "rows of w");
            Assert.That(() => op.Run(test.Stream, narrow, w, bias.ColumnRange(0, 8), y), Throws.ArgumentException, "bias");
            Assert.That(() => op.Run(test.Stream, x.ColumnRange(1, 16), w, bias, y), Throws.ArgumentException, "alignment");
            Assert.That(() => op.Run(test.Stream, narrow, w, bias, x.ColumnRange(8, 8)), Throws.ArgumentException, "overlap");
            Assert.That(() => new GatedMatMul(test.Device, type, 0, 16), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => new GatedMatMul(test.Device, type, 8, 15, "mma-64x64"), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, narrow.RowRange(0, 0), w, bias, y.RowRange(0, 0)), Throws.Nothing, "zero rows");
        });
    }

    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _rows, _width, _inner;

        public Operands(ElementType type, int rows, int width, int inner)
        {
            (_type, _rows, _width, _inner) = (type, rows, width, inner);
            var random = new CounterRandom((ulong)((rows * 1000) + width + inner));
            X = OpTest.Normals(random, type, rows * inner);
            W = OpTest.Normals(random, type, 2 * width * inner, 1 / Math.Sqrt(inner));
            Bias = OpTest.Normals(random, type, 2 * width, 0.2);
        }

        public float[] X { get; }

        public float[] W { get; }

        public float[] Bias { get; }

        public void Run(GatedMatMul op, OpTest test, TensorView y, int gap = 0, TensorView factors = default) => op.Run(
            test.Stream, test.Matrix(X, _rows, _inner, _type, gap), test.Matrix(W, 2 * _width, _inner, _type, gap), test.Vector(Bias, _type), y, factors);

        public (double[] Expected, double[] Allowed) Expected()
        {
            var (expected, allowed) = (new double[_rows * _width], new double[_rows * _width]);
            for (var r = 0; r < _rows; r++)
            {
                for (var c = 0; c < _width; c++)
                {
                    var (gate, gateError) = Sum(r, c);
                    var (up, upError) = Sum(r, _width + c);
                    gate += Bias[c];
                    up += Bias[_width + c];
                    var i = (r * _width) + c;
                    var gelu = ReferenceMath.GeluTanh(gate);
                    expected[i] = gelu * up;
                    // The slope of GELU is at most 1.13.
                    allowed[i] = ((RgLruReference.GeluError(gate) + OpTest.Units(2)) * Math.Abs(expected[i])) + (1.13 * gateError * (Math.Abs(up) + upError)) + (upError * Math.Abs(gelu)) + 1e-37;
                }
            }

            return (expected, allowed);
        }

        // g or u in float64, and how far its float32 sum, rounded to the storage type, may lie from it.
        private (double Sum, double Error) Sum(int row, int column)
        {
            var (sum, magnitude) = (0.0, 0.0);
            for (var i = 0; i < _inner; i++)
            {
                var term = (double)X[(row * _inner) + i] * W[(column * _inner) + i];
                sum += term;
                magnitude += Math.Abs(term);
            }

            var accumulated = _inner * Math.Pow(2, -23) * magnitude;
            var ulp = _type == ElementType.BFloat16 ? Math.Pow(2, -8) : Math.Pow(2, -24);
            return (sum, accumulated + (ulp * (Math.Abs(sum) + accumulated)));
        }
    }
}
