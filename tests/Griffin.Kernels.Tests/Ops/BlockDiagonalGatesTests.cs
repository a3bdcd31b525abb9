using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Both gate projections against float64 loops on the same inputs, every variant.</summary>
[TestFixture]
public sealed class BlockDiagonalGatesTests
{
    private static readonly string[] tiles = ["mma-128x64", "mma-64x64"];
    private static readonly string[] steps = ["step-1", "step-8", "step-1-shared", "step-2-shared", "step-4-shared", "step-8-shared"];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var type in new[] { ElementType.BFloat16, ElementType.Float32 })
        {
            foreach (var (rows, blocks, b) in new[] { (1, 1, 1), (3, 2, 10), (5, 3, 7), (4, 1, 64), (9, 2, 65), (13, 5, 31) })
                yield return new(type, "general", rows, blocks, b);
            foreach (var variant in steps)
            {
                foreach (var (rows, blocks, b) in new[] { (1, 1, 8), (2, 3, 16), (3, 1, 72), (5, 2, 40), (8, 2, 64), (9, 1, 256) })
                    yield return new(type, variant, rows, blocks, b);
            }
        }

        foreach (var (rows, blocks, b) in new[] { (1, 1, 16), (5, 3, 48), (63, 2, 64), (64, 1, 128), (65, 2, 80), (130, 1, 176), (33, 2, 256), (3, 1, 512), (127, 1, 48), (129, 2, 64), (257, 1, 32) })
        {
            foreach (var variant in tiles)
                yield return new(ElementType.BFloat16, variant, rows, blocks, b);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Gates_match_float64(ElementType type, string variant, int rows, int blocks, int b)
    {
        var device = TestDevices.Checked;
        using var problem = new Problem(device, type, rows, blocks, b, gap: variant == "general" ? 1 : 16 / type.SizeOf());
        var op = new BlockDiagonalGates(device, type, blocks * b, blocks, variant: variant);
        Assert.That(op.VariantFor(rows), Is.EqualTo(variant));
        problem.Run(op, 0, rows, problem.Gates);
        problem.Expect(problem.Read(problem.Gates));
    }

    [TestCase(ElementType.BFloat16, 32)]
    [TestCase(ElementType.BFloat16, 24)]
    [TestCase(ElementType.BFloat16, 10)]
    [TestCase(ElementType.Float32, 16)]
    public void The_chosen_variants_agree_with_float64_at_every_row_count(ElementType type, int b)
    {
        var device = TestDevices.Checked;
        foreach (var rows in new[] { 1, 2, 3, 4, 7, 8, 9, 65 })
        {
            using var problem = new Problem(device, type, rows, 2, b, gap: 0);
                problem.Run(new BlockDiagonalGates(device, type, 2 * b, 2), 0, rows, problem.Gates);
            problem.Expect(problem.Read(problem.Gates));
        }
    }

    [Test]
    public void Schedule_does_not_show([Values("general", "step-1", "step-8", "step-1-shared", "step-2-shared", "step-4-shared", "step-8-shared", "mma-128x64", "mma-64x64")] string variant)
    {
        const int rows = 71, blocks = 2, b = 48;
        foreach (var type in tiles.Contains(variant) ? [ElementType.BFloat16] : OpTest.Types)
        {
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                using var problem = new Problem(test.Device, type, rows, blocks, b, gap: 0);
                problem.Run(new BlockDiagonalGates(test.Device, type, blocks * b, blocks, variant: variant), 0, rows, problem.Gates);
                return problem.Read(problem.Gates);
            });
        }
    }

    /// <summary>The law of BatchInvariant; every single variant keeps it, too.</summary>
    [Test]
    public void A_rows_bits_do_not_depend_on_the_other_rows(
        [Values(ElementType.BFloat16, ElementType.Float32)] ElementType type, [Values(null, "step-8", "step-8-shared", "general")] string? variant)
    {
        var device = TestDevices.Checked;
        const int most = 70, blocks = 2, b = 48;
        using var problem = new Problem(device, type, most, blocks, b, gap: 0);
        var op = new BlockDiagonalGates(device, type, blocks * b, blocks, batchInvariant: true, variant);
        problem.Run(op, 0, most, problem.Gates);
        var all = problem.Read(problem.Gates);
        foreach (var (start, count) in new[] { (0, 1), (69, 1), (3, 7), (2, 65) })
        {
            const int columns = 2 * blocks * b;
            var part = problem.Test.Output(count, columns, type);
            problem.Run(op, start, count, part);
            Close.Exact(problem.Read(part), all.AsSpan(start * columns, count * columns), $"{count} rows from {start}");
        }
    }

    /// <summary>The traffic that block_diagonal_gates.cu promises.</summary>
    [TestCase("mma-64x64", 64, 2, 2, 1)]
    [TestCase("mma-64x64", 128, 2, 2, 2)]
    [TestCase("mma-128x64", 128, 2, 2, 1)]
    [TestCase("mma-128x64", 256, 2, 2, 2)]
    [TestCase("step-8", 8, 2, 32, 1)]
    [TestCase("step-8-shared", 8, 2, 32, 1)]
    public void Traffic_is_what_the_contract_states(string variant, int rows, int blocks, int timesZ, int timesWeights)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        const int b = 128;
        using var problem = new Problem(device, ElementType.BFloat16, rows, blocks, b, gap: 0);
        problem.Run(new BlockDiagonalGates(device, ElementType.BFloat16, blocks * b, blocks, variant: variant), 0, rows, problem.Gates);
        problem.Test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        Assert.Multiple(() =>
        {
            Assert.That(counters[problem.Z.Owner].BytesRead, Is.EqualTo(2L * rows * blocks * b * timesZ), "z");
            Assert.That(counters[problem.InputWeight.Owner].BytesRead, Is.EqualTo(2L * blocks * b * b * timesWeights), "input weight");
            Assert.That(counters[problem.RecurrenceWeight.Owner].BytesRead, Is.EqualTo(2L * blocks * b * b * timesWeights), "recurrence weight");
            Assert.That(counters[problem.Gates.Owner].BytesWritten, Is.EqualTo(2L * rows * 2 * blocks * b), "gates");
            Assert.That(counters[problem.Gates.Owner].BytesRead, Is.Zero, "gates are not read");
            Assert.That(32 * counters[problem.Gates.Owner].RequestSectorsWritten, Is.EqualTo(counters[problem.Gates.Owner].BytesWritten), "whole sectors");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(tiles.Contains(variant) ? 2L * rows * blocks * b * b : 0));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void Rows_past_two_to_the_31_elements_are_reached([Values("mma-128x64", "mma-64x64", "step-8", "general")] string variant)
    {
        TestDevices.RequireEmulator("needs a sparse allocation");
        using var device = TestDevices.OpenPlain();
        const int rows = 2, b = 16;
        const long far = (1L << 31) + 64;
        using var problem = new Problem(device, ElementType.BFloat16, rows, 1, b, gap: 0);
        var sparse = problem.Test.Allocate((far + (2 * b)) * sizeof(ushort));
        var stream = problem.Test.Stream;
        var op = new BlockDiagonalGates(device, ElementType.BFloat16, b, 1, variant: variant);
        for (var r = 0; r < rows; r++)
            stream.CopyDevice(problem.Z.Owner, r * b * sizeof(ushort), sparse, r * far * sizeof(ushort), b * sizeof(ushort));
        problem.Run(op, TensorView.Of(sparse, 0, ElementType.BFloat16, rows, b, far), problem.Gates);
        problem.Expect(problem.Read(problem.Gates));

        problem.Run(op, problem.Z, TensorView.Of(sparse, 0, ElementType.BFloat16, rows, 2 * b, far));   // and as the output
        var gathered = problem.Test.Output(rows, 2 * b, ElementType.BFloat16);
        for (var r = 0; r < rows; r++)
            stream.CopyDevice(sparse, r * far * sizeof(ushort), gathered.Owner, r * 2 * b * sizeof(ushort), 2 * b * sizeof(ushort));
        problem.Expect(problem.Read(gathered));
    }

    [Test]
    public void No_rows_launch_nothing()
    {
        var device = TestDevices.Checked;
        using var problem = new Problem(device, ElementType.BFloat16, 0, 2, 16, gap: 0);
        problem.Run(new BlockDiagonalGates(device, ElementType.BFloat16, 32, 2), 0, 0, problem.Gates);
        device.Synchronize();
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        var device = TestDevices.Checked;
        using var problem = new Problem(device, ElementType.BFloat16, 4, 2, 16, gap: 0);
        var op = new BlockDiagonalGates(device, ElementType.BFloat16, 32, 2, variant: "mma-64x64");
        var (stream, z, w, bias, gates) = (problem.Test.Stream, problem.Z, problem.InputWeight, problem.InputBias, problem.Gates);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(stream, z.ColumnRange(0, 31), w, bias, w, bias, gates), "width of z");
            Assert.Throws<ArgumentException>(() => op.Run(stream, z, w.RowRange(0, 16), bias, w, bias, gates), "weight");
            Assert.Throws<ArgumentException>(() => op.Run(stream, z, w, bias.ColumnRange(0, 16), w, bias, gates), "bias");
            Assert.Throws<ArgumentException>(() => op.Run(stream, z, w, bias, w, bias, gates.RowRange(0, 3)), "rows of gates");
            Assert.Throws<ArgumentException>(() => op.Run(stream, gates.ColumnRange(0, 32), w, bias, w, bias, gates), "overlap");
            Assert.Throws<ArgumentException>(() => op.Run(stream, gates.ColumnRange(1, 32), w, bias, w, bias, TensorView.Empty), "missing");
            Assert.Throws<ArgumentException>(() => _ = new BlockDiagonalGates(device, ElementType.BFloat16, 32, 3), "blocks");
            Assert.Throws<ArgumentException>(() => _ = new BlockDiagonalGates(device, ElementType.Float32, 32, 2, variant: "mma-64x64"), "type");
            Assert.Throws<ArgumentException>(() => _ = new BlockDiagonalGates(device, ElementType.BFloat16, 20, 2, variant: "step-1"), "block width");
        });
    }

    /// <summary>Random operands on the device, and what their gates must be.</summary>
    private sealed class Problem : IDisposable
    {
        private readonly float[] _z, _inputBias, _recurrenceBias;
        private readonly float[][] _weights;
        private readonly int _rows, _blocks, _b;
        private readonly ElementType _type;

        public Problem(GpuDevice device, ElementType type, int rows, int blocks, int b, int gap)
        {
            (_type, _rows, _blocks, _b) = (type, rows, blocks, b);
            var random = new CounterRandom((ulong)((rows * 100) + (blocks * 10) + b));
            var width = blocks * b;
            _z = OpTest.Normals(random, type, rows * width);
            _weights = [OpTest.Normals(random, type, width * b), OpTest.Normals(random, type, width * b)];
            (_inputBias, _recurrenceBias) = (OpTest.Normals(random, type, width), OpTest.Normals(random, type, width));
            Test = new OpTest(device);
            Z = Test.Matrix(_z, rows, width, type, gap);
            (InputWeight, RecurrenceWeight) = (Test.Matrix(_weights[0], width, b, type), Test.Matrix(_weights[1], width, b, type));
            (InputBias, RecurrenceBias) = (Test.Vector(_inputBias, type), Test.Vector(_recurrenceBias, type));
            Gates = Test.Output(rows, 2 * width, type, gap);
        }

        public OpTest Test { get; }

        public TensorView Z { get; }

        public TensorView InputWeight { get; }

        public TensorView RecurrenceWeight { get; }

        public TensorView InputBias { get; }

        public TensorView RecurrenceBias { get; }

        public TensorView Gates { get; }

        public float[] Read(TensorView view) => Test.Read(view);

        public void Run(BlockDiagonalGates op, int start, int count, TensorView gates) => Run(op, Z.RowRange(start, count), gates);

        public void Run(BlockDiagonalGates op, TensorView z, TensorView gates) =>
            op.Run(Test.Stream, z, InputWeight, InputBias, RecurrenceWeight, RecurrenceBias, gates);

        public void Expect(float[] actual)
        {
            var width = _blocks * _b;
            var (expected, bound) = (new double[_rows * 2 * width], new double[_rows * 2 * width]);
            for (var i = 0; i < expected.Length; i++)
            {
                var (row, gate, column) = (i / (2 * width), i / width % 2, i % width);
                var (h, j) = (column / _b, column % _b);
                var (sum, magnitude) = (0.0, 0.0);
                for (var k = 0; k < _b; k++)
                {
                    var term = (double)_z[(row * width) + (h * _b) + k] * _weights[gate][((h * _b) + k) * _b + j];
                    sum += term;
                    magnitude += Math.Abs(term);
                }

                expected[i] = sum + (gate == 0 ? _inputBias : _recurrenceBias)[column];
                bound[i] = Math.ScaleB(((_b + 1) * magnitude) + Math.Abs(expected[i]), -23);
            }

            OpTest.Compare(_type, actual, expected, i => bound[i]);
        }

        public void Dispose() => Test.Dispose();
    }
}
