using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// Convolution and gates in one kernel against the two ops that it stands for, which their own tests hold against float64 loops: equal bits.
/// </summary>
[TestFixture]
internal sealed class ConvGatesTests
{
    private const int Taps = 4;
    private const ElementType Type = ElementType.BFloat16;

    [TestCase(1, 16)]
    [TestCase(3, 48)]
    [TestCase(2, 64)]
    [TestCase(2, 80)]
    [TestCase(1, 176)]
    [TestCase(1, 272)]
    public void EqualsTheTwoOpsOnRowsOfEveryKind(int blocks, int b)
    {
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            new Problem(device, blocks, b, SequenceCase.Mixed(19), withBias: seed % 2 == 0).AssertEqual();
        }
    }

    [Test]
    public void EveryLengthAroundTheTiles([Values(1, 2, 3, 4, 7, 8, 9, 61, 62, 63, 64, 65, 66, 67, 68, 127, 128, 129, 131)] int length)
    {
        new Problem(TestDevices.Checked, 1, 16, new SequenceCase([new(0, SequenceCase.From(0, length))], [0])).AssertEqual();
        new Problem(TestDevices.Checked, 2, 32, new SequenceCase([new(2, SequenceCase.From(2, length)), new(1, SequenceCase.From(0, length)), new(0, SequenceCase.From(9, length))], [9, 0, 2])).AssertEqual();
    }

    /// <summary>Documents that start at every place of a tile's beginning, with and without a past.</summary>
    [Test]
    public void ResetsAroundATilesStart([Values(0, 1, 2, 3, 4, 5)] int reset)
    {
        var first = 60 + reset;
        new Problem(TestDevices.Checked, 1, 32, new SequenceCase([new(0, [.. SequenceCase.From(3, first), .. SequenceCase.From(0, 9)])], [3])).AssertEqual();
        new Problem(TestDevices.Checked, 1, 32, new SequenceCase([new(1, SequenceCase.From(0, first)), new(0, SequenceCase.From(2, 20))], [2, 0])).AssertEqual();
        new Problem(TestDevices.Checked, 1, 32, new SequenceCase([new(0, [.. SequenceCase.From(0, first), -1, -1, -1]), new(1, [-1, -1, .. SequenceCase.From(0, 5)])], [0, 0])).AssertEqual();
    }

    /// <summary>As a training step runs it.</summary>
    [Test]
    public void FreshRowsNeedNoState() =>
        new Problem(TestDevices.Checked, 2, 48, new SequenceCase([new(0, SequenceCase.From(0, 90)), new(1, [.. SequenceCase.From(0, 40), .. SequenceCase.From(0, 21)])], [0, 0])).AssertEqual(withState: false);

    /// <summary>Enough tiles that every block makes all columns.</summary>
    [Test]
    public void LongRows() =>
        new Problem(TestDevices.Plain, 4, 80, new SequenceCase([new(1, SequenceCase.From(0, 3000)), new(0, SequenceCase.From(7, 601))], [7, 0])).AssertEqual();

    [Test]
    public void ScheduleDoesNotShow() => Schedules.DoNotShow(ConvGates.Fused, test =>
    {
        var (z, gates) = new Problem(test.Device, 2, 80, new SequenceCase([new(0, SequenceCase.From(4, 77))], [4])).Run(test, ConvGates.Fused);
        return [.. z, .. gates];
    });

    [Test]
    public void CallsAreServedByWhatFits()
    {
        var device = TestDevices.Checked;
        ConvGates Op(ElementType type, int b, int taps = Taps, string? variant = null) =>
            new(new Conv1D(device, type, 2 * b, taps), new BlockDiagonalGates(device, type, 2 * b, 2), variant);
        Assert.Multiple(() =>
        {
            Assert.That(Op(Type, 32, variant: ConvGates.Fused).VariantFor(1), Is.EqualTo(ConvGates.Fused));
            Assert.That(Op(Type, 32, variant: ConvGates.Separate).VariantFor(1000), Is.EqualTo(ConvGates.Separate));
            Assert.That(Op(Type, 32).VariantFor(8), Is.EqualTo(ConvGates.Separate));
            Assert.That(Op(Type, 24).VariantFor(1000), Is.EqualTo(ConvGates.Separate));
            Assert.That(Op(Type, 32, taps: 3).VariantFor(1000), Is.EqualTo(ConvGates.Separate));
            Assert.That(Op(ElementType.Float32, 32).VariantFor(1000), Is.EqualTo(ConvGates.Separate));
            Assert.That(() => Op(Type, 24, variant: ConvGates.Fused), Throws.ArgumentException.With.Message.Contains("fit"));
            Assert.That(() => Op(Type, 32, variant: "fussed"), Throws.ArgumentException.With.Message.Contains(ConvGates.Fused));
            Assert.That(() => new ConvGates(new Conv1D(device, Type, 32, Taps), new BlockDiagonalGates(device, Type, 64, 2)), Throws.ArgumentException.With.Message.Contains("widths"));
        });
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        const int tokens = 3, blocks = 2, b = 16, width = blocks * b;
        ConvGates op = new(new Conv1D(test.Device, Type, width, Taps), new BlockDiagonalGates(test.Device, Type, width, blocks), ConvGates.Fused);
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (x, z, gates, weight, vector) = (test.Output(tokens, width, Type), test.Output(tokens, width, Type), test.Output(tokens, 2 * width, Type), test.Output(width, b, Type), test.Output(1, width, Type));
        void Run(TensorView x, TensorView z, TensorView gates, TensorView weight) =>
            op.Run(test.Stream, rows, x, TensorView.Empty, test.Output(width, Taps, Type), vector, weight, vector, weight, vector, z, gates, default);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(x, x, gates, weight), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(x, gates.ColumnRange(0, width), gates, weight), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(gates.ColumnRange(0, width), z, gates, weight), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(x, z, test.Output(tokens, width, Type), weight), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(x, z, gates, test.Output(width, 2 * b, Type)), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(test.Output(tokens, width, Type, 3), z, gates, weight), Throws.ArgumentException.With.Message.Contains("16 bytes"));
        });
    }

    /// <summary>The traffic that conv_gates.cu promises, in whole sectors where it reads, and no bank conflict.</summary>
    [Test]
    public void TrafficIsWhatTheContractStates()
    {
        TestDevices.RequireEmulator("counts accesses");
        const int tokens = 512, blocks = 2, b = 128;
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { CountAccesses = true });
        using var test = new OpTest(device);
        var problem = new Problem(device, blocks, b, new SequenceCase([new(0, SequenceCase.From(0, tokens))], [0]));
        device.TakeCounters();
        var operands = problem.Run(test, ConvGates.Fused, out var views, gap: 16);
        var counters = device.TakeCounters().Single();
        const int splits = 2;   // 16 tiles do not give each of 108 multiprocessors two
        const long size = 2L * tokens * blocks * b;
        Assert.Multiple(() =>
        {
            Assert.That(operands.Z, Has.Length.EqualTo(tokens * blocks * b));
            Assert.That(counters[views.X.Owner].BytesRead, Is.InRange(splits * size, (long)(1.05 * splits * size)), "x");
            Assert.That(counters[views.X.Owner].RequestSectorsRead, Is.LessThanOrEqualTo((long)(1.05 * splits * size / 32)), "sectors of x");
            Assert.That((counters[views.Z.Owner].BytesWritten, counters[views.Z.Owner].BytesRead), Is.EqualTo((size, 0L)), "z");
            Assert.That(counters[views.Z.Owner].RequestSectorsWritten, Is.EqualTo(size / 32), "sectors of z");
            Assert.That((counters[views.Gates.Owner].BytesWritten, counters[views.Gates.Owner].BytesRead), Is.EqualTo((2 * size, 0L)), "gates");
            Assert.That(counters[views.InputWeight.Owner].BytesRead, Is.EqualTo(2L * blocks * b * b * tokens / 64), "weights");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(2L * tokens * blocks * b * b));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    private sealed record Views(TensorView X, TensorView Z, TensorView Gates, TensorView InputWeight);

    /// <summary>One call's numbers; of states, what fresh slots hold is NaN.</summary>
    private sealed class Problem
    {
        private readonly GpuDevice _device;
        private readonly SequenceCase _call;
        private readonly int _blocks, _b;
        private readonly float[] _x, _convWeight, _convBias, _inputWeight, _recurrenceWeight, _inputBias, _recurrenceBias;
        private readonly float[]? _xBias;
        private readonly Dictionary<int, float[]> _past = [];

        public Problem(GpuDevice device, int blocks, int b, SequenceCase call, bool withBias = true)
        {
            (_device, _blocks, _b, _call) = (device, blocks, b, call);
            var random = new CounterRandom((ulong)(blocks * b));
            float[] Numbers(int count, double spread) => OpTest.Normals(random, Type, count, spread);
            (_x, _xBias) = (Numbers(call.Tokens * Width, 1), withBias ? Numbers(Width, 0.5) : null);
            (_convWeight, _convBias) = (Numbers(Width * Taps, 0.6), Numbers(Width, 0.1));
            (_inputWeight, _recurrenceWeight) = (Numbers(Width * b, 0.1), Numbers(Width * b, 0.1));
            (_inputBias, _recurrenceBias) = (Numbers(Width, 0.3), Numbers(Width, 0.3));
            for (var slot = 0; slot < call.Slots; slot++)
            {
                if (call.Seen[slot] > 0)
                    _past[slot] = Numbers((Taps - 1) * Width, 1);
            }
        }

        private int Width => _blocks * _b;

        public void AssertEqual(bool withState = true)
        {
            using var test = new OpTest(_device);
            var (z, gates) = Run(test, ConvGates.Separate, out _, withState);
            Close.Finite(z, "z");
            Close.Finite(gates, "gates");
            var fused = Run(test, ConvGates.Fused, out _, withState);
            Close.Exact(fused.Z, z, $"z, {_blocks} blocks of {_b}, {_call.Tokens} tokens");
            Close.Exact(fused.Gates, gates, $"gates, {_blocks} blocks of {_b}, {_call.Tokens} tokens");
        }

        public (float[] Z, float[] Gates) Run(OpTest test, string variant) => Run(test, variant, out _);

        public (float[] Z, float[] Gates) Run(OpTest test, string variant, out Views views, bool withState = true, int gap = 8)
        {
            var conv = new Conv1D(_device, Type, Width, Taps);
            var op = new ConvGates(conv, new BlockDiagonalGates(_device, Type, Width, _blocks, variant: "mma-128x64"), variant);
            var n = _call.Tokens;
            var state = new StateMemory(test, _call.Slots, (int)conv.StateBytes);
            foreach (var (slot, past) in _past)
                state.Write(slot, past, Type);
            views = new(test.Matrix(_x, n, Width, Type, gap), test.Output(n, Width, Type, 3 * gap), test.Output(n, 2 * Width, Type, gap), test.Matrix(_inputWeight, Width, _b, Type));
            op.Run(test.Stream, _call.Upload(test), views.X, _xBias is null ? TensorView.Empty : test.Vector(_xBias, Type), test.Matrix(_convWeight, Width, Taps, Type),
                test.Vector(_convBias, Type), views.InputWeight, test.Vector(_inputBias, Type), test.Matrix(_recurrenceWeight, Width, _b, Type),
                test.Vector(_recurrenceBias, Type), views.Z, views.Gates, withState ? state.State : default);
            var result = (test.Read(views.Z), test.Read(views.Gates));
            if (withState)
                state.AssertOnlyChanged([]);
            return result;
        }
    }
}
