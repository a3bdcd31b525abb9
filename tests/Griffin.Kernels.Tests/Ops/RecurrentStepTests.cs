using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// Gates, RG-LRU step and GELU branch in one kernel, against the two ops. z and the gates' weights lie on a grid on which float32 sums are exact in
/// any order, so that the results must be equal to the bit.
/// </summary>
[TestFixture]
internal sealed class RecurrentStepTests
{
    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<RecurrentStep>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Gives_the_bits_of_the_single_ops(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (blocks, blockWidth, rows) in Sizes(variant))
        {
            var what = $"{variant}, {type}, {blocks} x {blockWidth}, {rows} rows";
            var one = new StepCase(test, type, blocks, blockWidth, rows, gap: 8);
            var (mine, theirs) = (one.NewState(), one.NewState());
            var output = test.Output(rows, one.Width, type, 3);
            new RecurrentStep(test.Device, type, one.Width, blocks, variant).Run(test.Stream, one.Call.Upload(test), one.Operands, output, mine.State);
            Close.Exact(test.Read(output), one.Expected(theirs), what);
            foreach (var slot in one.Call.ChangedSlots)
                Close.Exact(mine.Read(slot, ElementType.Float32), theirs.Read(slot, ElementType.Float32), $"{what}: slot {slot}");
            mine.AssertOnlyChanged(one.Call.ChangedSlots);
        }
    }

    [TestCaseSource(nameof(Variants))]
    public void Works_in_place_of_y_and_without_its_bias(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        var one = new StepCase(test, type, 2, 24, 5, gap: 8, withBias: false);
        var expected = one.Expected(one.NewState());
        new RecurrentStep(test.Device, type, one.Width, 2, variant).Run(test.Stream, one.Call.Upload(test), one.Operands, one.Operands.Y, one.NewState().State);
        Close.Exact(test.Read(one.Operands.Y), expected);
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "mma-64", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            var one = new StepCase(test, ElementType.BFloat16, 2, 40, 11, gap: 0);
            var state = one.NewState();
            var output = test.Output(11, one.Width, ElementType.BFloat16);
            new RecurrentStep(test.Device, ElementType.BFloat16, one.Width, 2, variant).Run(test.Stream, one.Call.Upload(test), one.Operands, output, state.State);
            return [.. test.Read(output), .. one.Call.ChangedSlots.SelectMany(slot => state.Read(slot, ElementType.Float32))];
        });
    }

    /// <summary>The gates' weights once per tile of rows, in whole sectors, and no conflicts on their way.</summary>
    [TestCase("mma-8", 8)]
    [TestCase("mma-16", 16)]
    public void Traffic_is_what_the_contract_states(string variant, int rows)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var test = new OpTest(device);
        const int blocks = 2, blockWidth = 256;
        var one = new StepCase(test, ElementType.BFloat16, blocks, blockWidth, rows, gap: 0);
        var state = one.NewState();
        var output = test.Output(rows, one.Width, ElementType.BFloat16);
        new RecurrentStep(device, ElementType.BFloat16, one.Width, blocks, variant).Run(test.Stream, one.Call.Upload(test), one.Operands, output, state.State);
        test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        const long weight = 2L * blocks * blockWidth * blockWidth;
        Assert.Multiple(() =>
        {
            foreach (var w in new[] { one.Operands.InputWeight, one.Operands.RecurrenceWeight })
            {
                Assert.That(counters[w.Owner].BytesRead, Is.EqualTo(weight), "a gate's weight is requested once");
                Assert.That(counters[w.Owner].RequestSectorsRead * 32, Is.EqualTo(weight), "in whole sectors");
            }

            Assert.That(counters[one.Operands.Z.Owner].BytesRead, Is.InRange(2L * rows * one.Width * 16, (2L * rows * one.Width * 17) + 64), "z once per tile of columns, and once at the end");
            Assert.That(counters[output.Owner].BytesWritten, Is.EqualTo(2L * rows * one.Width));
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(2L * blocks * blockWidth * blockWidth * rows));
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var one = new StepCase(test, type, 2, 8, 3, gap: 0);
        var (rows, state) = (one.Call.Upload(test), one.NewState().State);
        var op = new RecurrentStep(test.Device, type, 16, 2);
        var output = test.Output(3, 16, type);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, rows, one.Operands, one.Operands.Z, state), "output over z");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, rows, one.Operands, output.RowRange(0, 2), state), "rows");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, rows, one.Operands with { Lambda = one.Operands.Z }, output, state), "lambda");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, rows, one.Operands, output, state with { SlotStride = 32 }), "slots too small");
            Assert.Throws<ArgumentException>(() => _ = new RecurrentStep(test.Device, type, 16, 3));
            Assert.Throws<ArgumentException>(() => _ = new RecurrentStep(test.Device, type, 14, 2, "mma-8"));
        });
    }

    private static IEnumerable<(int Blocks, int BlockWidth, int Rows)> Sizes(string variant)
    {
        if (variant == "general")
            return [(1, 1, 1), (2, 10, 5), (3, 23, 4), (5, 13, 9)];
        var tile = int.Parse(variant[4..], System.Globalization.CultureInfo.InvariantCulture);
        return [(1, 8, 1), (3, 24, tile), (2, 40, tile + 1), (1, 264, tile - 1)];
    }

    private sealed class StepCase
    {
        private readonly OpTest _test;
        private readonly ElementType _type;
        private readonly int _blocks;

        public StepCase(OpTest test, ElementType type, int blocks, int blockWidth, int rows, int gap, bool withBias = true)
        {
            (_test, _type, _blocks, Width) = (test, type, blocks, blocks * blockWidth);
            Call = SkinnyCase.Steps(rows);
            var random = new CounterRandom((ulong)(Width + rows));
            float[] Grid(int count, int most, float step) => Array.ConvertAll(random.Integers(count, -most, most + 1), value => value * step);
            Operands = new(
                test.Matrix(Grid(rows * Width, 3, 1), rows, Width, type, gap), test.Matrix(Grid(Width * blockWidth, 8, 1 / 64f), Width, blockWidth, type),
                test.Vector(Grid(Width, 16, 1 / 16f), type), test.Matrix(Grid(Width * blockWidth, 8, 1 / 64f), Width, blockWidth, type), test.Vector(Grid(Width, 16, 1 / 16f), type),
                test.Matrix(OpTest.Normals(random, type, rows * Width), rows, Width, type, gap), withBias ? test.Vector(OpTest.Normals(random, type, Width), type) : TensorView.Empty,
                test.Vector(Array.ConvertAll(random.Uniforms(Width, -7, -1), Bf16.Round), type));
        }

        public int Width { get; }

        public SequenceCase Call { get; }

        public RecurrentStepOperands Operands { get; }

        public StateMemory NewState()
        {
            StateMemory state = new(_test, Call.Slots, Width * sizeof(float));
            for (var slot = 0; slot < Call.Slots; slot++)
            {
                if (Call.Seen[slot] > 0)
                    state.Write(slot, new CounterRandom((ulong)slot).Normals(Width), ElementType.Float32);
            }

            return state;
        }

        public float[] Expected(StateMemory state)
        {
            var rows = (int)Operands.Z.Rows;
            var (gates, output) = (_test.Output(rows, 2 * Width, _type, 8), _test.Output(rows, Width, _type));
            new BlockDiagonalGates(_test.Device, _type, Width, _blocks, variant: "general").Run(
                _test.Stream, Operands.Z, Operands.InputWeight, Operands.InputBias, Operands.RecurrenceWeight, Operands.RecurrenceBias, gates);
            new RgLruStep(_test.Device, _type, Width, "general").Run(
                _test.Stream, Call.Upload(_test), Operands.Z, gates, Operands.Y, Operands.YBias, Operands.Lambda, output, state.State);
            return _test.Read(output);
        }
    }
}
