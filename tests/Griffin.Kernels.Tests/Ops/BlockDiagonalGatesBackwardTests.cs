using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The gates' gradients against float64 loops on the same inputs: cuBLAS (or its look-alike) and every variant of ours.</summary>
[TestFixture]
internal sealed class BlockDiagonalGatesBackwardTests
{
    private const string Blas = "cuBLAS";
    private static readonly string[] tiles = ["mma-128x128", "mma-64x64"];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var type in OpTest.Types)
        {
            foreach (var (rows, blocks, b) in new[] { (1, 1, 1), (3, 2, 10), (5, 3, 7), (67, 1, 65), (13, 5, 31), (601, 2, 3), (70, 2, 64) })
            {
                yield return new(type, Blas, rows, blocks, b);
                yield return new(type, "general", rows, blocks, b);
            }
        }

        foreach (var variant in tiles)
        {
            foreach (var (rows, blocks, b) in new[] { (1, 1, 8), (5, 3, 48), (63, 2, 64), (65, 2, 80), (33, 1, 136), (1031, 1, 16), (32, 3, 24), (129, 1, 128), (127, 1, 248) })
                yield return new(ElementType.BFloat16, variant, rows, blocks, b);
        }
    }

    [Test]
    public void FormulaIsTheDerivative()
    {
        var problem = new Problem(ElementType.Float32, 3, 2, 3);
        var random = new CounterRandom(3);
        double[] Draw(int count) => Array.ConvertAll(random.Normals(count), value => (double)value);
        var (z, input, recurrence, dgates) = (Draw(18), Draw(18), Draw(18), Draw(36));

        double Loss()
        {
            var loss = 0.0;
            for (var row = 0; row < 3; row++)
            {
                var line = z.AsSpan(row * 6, 6);
                loss += FiniteDifferences.Dot(ReferenceMath.BlockDiagonal(line, input, new double[6], 2), dgates.AsSpan(row * 12, 6));
                loss += FiniteDifferences.Dot(ReferenceMath.BlockDiagonal(line, recurrence, new double[6], 2), dgates.AsSpan((row * 12) + 6, 6));
            }

            return loss;
        }

        FiniteDifferences.AssertSame(problem.Dz(input, recurrence, dgates).Sums, FiniteDifferences.Gradient(z, Loss), "dz");
        FiniteDifferences.AssertSame(problem.Dw(z, dgates, 0).Sums, FiniteDifferences.Gradient(input, Loss), "input weight");
        FiniteDifferences.AssertSame(problem.Dw(z, dgates, 1).Sums, FiniteDifferences.Gradient(recurrence, Loss), "recurrence weight");
    }

    [TestCaseSource(nameof(Cases))]
    public void Gradients_match_float64(ElementType type, string variant, int rows, int blocks, int b)
    {
        if (variant == Blas && !TestDevices.Checked.HasBlas)
            Assert.Ignore("there is no cuBLAS");
        using var test = new OpTest(TestDevices.Checked);
        new Problem(type, rows, blocks, b).RunAndCompare(test, variant == Blas ? null : variant);
    }

    [Test]
    public void Schedule_does_not_show([Values("general", "mma-128x128", "mma-64x64")] string variant)
    {
        foreach (var type in tiles.Contains(variant) ? [ElementType.BFloat16] : OpTest.Types)
        {
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var (dz, dInput, dRecurrence) = new Problem(type, 300, 2, 72).Run(test, variant);
                return [.. dz, .. dInput, .. dRecurrence];
            });
        }
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new BlockDiagonalGatesBackward(test.Device, type, 32, 2, variant: "mma-64x64");
        var (z, w, dgates, dz) = (test.Output(4, 32, type), test.Output(32, 16, type), test.Output(4, 72, type).ColumnRange(0, 64), test.Output(4, 32, type));
        var (dw, dr, workspace) = (test.Output(32, 16, ElementType.Float32), test.Output(32, 16, ElementType.Float32), test.Workspace(op.WorkspaceBytes(4)));
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z.ColumnRange(0, 31), w, w, dgates, dz, dw, dr, workspace), "width of z");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w.RowRange(0, 16), w, dgates, dz, dw, dr, workspace), "weight");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w, w, dgates.RowRange(0, 3), dz, dw, dr, workspace), "rows of dgates");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w, w, dgates, z, dw, dr, workspace), "dz over z");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w, w, dgates, dz, w, dr, workspace), "type of a gradient");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w, w, dgates, dz, dw, dw, workspace), "one gradient for both");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, z, w, w, dgates, dz, dw, dr, TensorView.Empty), "no workspace");
            Assert.Throws<ArgumentException>(() => _ = new BlockDiagonalGatesBackward(test.Device, type, 32, 3), "blocks");
            Assert.Throws<ArgumentException>(() => _ = new BlockDiagonalGatesBackward(test.Device, type, 20, 2, variant: "mma-64x64"), "block width");
        });
    }

    private sealed class Problem
    {
        private readonly ElementType _type;
        private readonly int _rows, _blocks, _b, _width;
        private readonly float[] _z, _input, _recurrence, _dgates, _dz, _dInput, _dRecurrence;

        public Problem(ElementType type, int rows, int blocks, int b)
        {
            (_type, _rows, _blocks, _b, _width) = (type, rows, blocks, b, blocks * b);
            var random = new CounterRandom((ulong)((rows * 100) + (blocks * 10) + b));
            (_z, _dgates, _dz) = (OpTest.Normals(random, type, rows * _width), OpTest.Normals(random, type, 2 * rows * _width), OpTest.Normals(random, type, rows * _width));
            (_input, _recurrence) = (OpTest.Normals(random, type, _width * b), OpTest.Normals(random, type, _width * b));
            (_dInput, _dRecurrence) = (random.Normals(_width * b), random.Normals(_width * b));
        }

        public (float[] Dz, float[] DInput, float[] DRecurrence) Run(OpTest test, string? variant)
        {
            var op = new BlockDiagonalGatesBackward(test.Device, _type, _width, _blocks, variant: variant);
            var gap = _b % 8 == 0 ? 8 : 1;
            var dz = test.Matrix(_dz, _rows, _width, _type, gap);
            var (dInput, dRecurrence) = (test.Matrix(_dInput, _width, _b, ElementType.Float32), test.Matrix(_dRecurrence, _width, _b, ElementType.Float32));
            op.Run(test.Stream, test.Matrix(_z, _rows, _width, _type, gap), test.Matrix(_input, _width, _b, _type), test.Matrix(_recurrence, _width, _b, _type),
                test.Matrix(_dgates, _rows, 2 * _width, _type, 3 * gap), dz, dInput, dRecurrence, test.Workspace(op.WorkspaceBytes(_rows)));
            return (test.Read(dz), test.Read(dInput), test.Read(dRecurrence));
        }

        public void RunAndCompare(OpTest test, string? variant)
        {
            var (dz, dInput, dRecurrence) = Run(test, variant);
            Compare(_type, dz, _dz, Dz(Wide(_input), Wide(_recurrence), Wide(_dgates)), 2 * _b, $"{variant}: dz");
            Compare(ElementType.Float32, dInput, _dInput, Dw(Wide(_z), Wide(_dgates), 0), _rows + 1, $"{variant}: input weight");
            Compare(ElementType.Float32, dRecurrence, _dRecurrence, Dw(Wide(_z), Wide(_dgates), 1), _rows + 1, $"{variant}: recurrence weight");
        }

        /// <summary>What is added to dz, and the sizes of its terms.</summary>
        public (double[] Sums, double[] Sizes) Dz(double[] input, double[] recurrence, double[] dgates) => Sum(_rows * _width, 2 * _b, (i, k) =>
        {
            var (row, column, gate, j) = (i / _width, i % _width, k / _b, k % _b);
            return dgates[(row * 2 * _width) + (gate * _width) + (column / _b * _b) + j] * (gate == 0 ? input : recurrence)[(column * _b) + j];
        });

        /// <summary>What is added to a weight's gradient, and the sizes of its terms.</summary>
        public (double[] Sums, double[] Sizes) Dw(double[] z, double[] dgates, int gate) => Sum(_width * _b, _rows, (i, row) =>
        {
            var (line, j) = (i / _b, i % _b);
            return z[(row * _width) + line] * dgates[(row * 2 * _width) + (gate * _width) + (line / _b * _b) + j];
        });

        private static (double[] Sums, double[] Sizes) Sum(int count, int terms, Func<int, int, double> term)
        {
            var (sums, sizes) = (new double[count], new double[count]);
            for (var i = 0; i < count; i++)
            {
                for (var k = 0; k < terms; k++)
                {
                    sums[i] += term(i, k);
                    sizes[i] += Math.Abs(term(i, k));
                }
            }

            return (sums, sizes);
        }

        private static void Compare(ElementType type, float[] actual, float[] before, (double[] Sums, double[] Sizes) added, int terms, string what)
        {
            double[] expected = [.. added.Sums.Select((sum, i) => sum + before[i])];
            OpTest.Compare(type, actual, expected, i => Math.ScaleB((terms * added.Sizes[i]) + Math.Abs(before[i]), -23), what);
        }

        private static double[] Wide(float[] values) => Array.ConvertAll(values, value => (double)value);
    }
}
