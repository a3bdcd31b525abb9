using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class Conv1DTests
{
    private static readonly object[] shapes = [new[] { 1, 4 }, new[] { 3, 4 }, new[] { 20, 4 }, new[] { 24, 4 }, new[] { 264, 4 }, new[] { 16, 1 }, new[] { 16, 2 }, new[] { 5, 7 }];

    [TestCaseSource(nameof(shapes))]
    public void MatchesFloat64OnRowsOfEveryKind(int width, int taps)
    {
        foreach (var type in OpTest.Types)
        {
            foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width, taps), type))
            {
                foreach (var seed in TestDevices.Seeds)
                {
                    using var device = TestDevices.OpenChecked(seed);
                    using var test = new OpTest(device);
                    var model = new ConvCase(test, type, width, taps, SequenceCase.Mixed(17), withInputBias: seed % 2 == 0);
                    model.RunAndCompare(variant);
                }
            }
        }
    }

    [Test]
    public void EveryLengthAroundTheTile([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 67)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        var model = new ConvCase(test, type, 16, 4, new SequenceCase([new(1, SequenceCase.From(5, length)), new(0, SequenceCase.From(0, length))], [0, 5]));
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(16), type))
            model.RunAndCompare(variant);
    }

    [Test]
    public void AnyChunkingGivesTheSameBits([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 5, 8)] int chunk)
    {
        const int width = 16;
        using var test = new OpTest(TestDevices.Checked);
        var call = new SequenceCase(
            [new(2, SequenceCase.From(0, 21)), new(0, [.. SequenceCase.From(3, 5), .. SequenceCase.From(0, 14)]), new(3, [.. SequenceCase.From(0, 2), .. SequenceCase.From(0, 1), .. SequenceCase.From(0, 9)])],
            [3, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width), type))
        {
            var whole = new ConvCase(test, type, width, 4, call);
            var (expected, expectedStates) = whole.Run(variant, call.Tokens);
            var parts = new ConvCase(test, type, width, 4, call);
            var (actual, actualStates) = parts.Run(variant, chunk);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(actualStates, expectedStates, $"{variant}: states");
        }
    }

    [Test]
    public void StepsGiveTheBitsOfOneCall([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 4, 5)] int taps)
    {
        const int width = 24;
        using var test = new OpTest(TestDevices.Checked);
        var call = new SequenceCase([new(2, [.. SequenceCase.From(0, 6), .. SequenceCase.From(0, 5)]), new(0, SequenceCase.From(7, 11)), new(3, [-1, -1, .. SequenceCase.From(0, 9)])], [7, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<Conv1DStep>(OpTest.Dimensions(width, taps), type))
        {
            var whole = new ConvCase(test, type, width, taps, call);
            var (expected, expectedStates) = whole.Run(null, call.Tokens);
            var steps = new ConvCase(test, type, width, taps, call);
            var (actual, actualStates) = steps.Run(variant, 1, steps: true);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(actualStates, expectedStates, $"{variant}: states");
        }
    }

    [TestCase(new[] { 0, 1, 2, 3, 4 }, new[] { 4.5, 39.5, 11.5, 29.5, 20.5, -20.5, 30.5, 59.5, 40.5, 79.5 })]
    [TestCase(new[] { 0, 1, 0, 1, 2 }, new[] { 4.5, 39.5, 11.5, 29.5, 12.5, -40.5, 25.5, 49.5, 38.5, 79.5 })]
    public void SpecVector(int[] positions, double[] expected)
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var state = new StateMemory(test, 1, 3 * 2 * sizeof(float));
        var y = test.Output(5, 2, type);
        new Conv1D(test.Device, type, 2, 4).Run(test.Stream, new SequenceCase([new(0, positions)], [0]).Upload(test),
            test.Matrix([1, 1, 2, 0, 3, -1, 4, 2, 5, 1], 5, 2, type), TensorView.Empty, test.Matrix([1, 2, 3, 4, 10, 20, 30, 40], 2, 4, type),
            test.Vector([0.5f, -0.5f], type), y, state.State);
        Close.Absolute(test.Read(y), expected, 0);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new Conv1D(test.Device, type, 8, 4);
        var state = new StateMemory(test, 1, (int)op.StateBytes).State;
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (x, weight, bias) = (test.Output(3, 8, type), test.Output(8, 4, type), test.Output(1, 8, type));
        void Run(TensorView x, TensorView weight, TensorView y, LayerState state) => op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, y, state);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(2, 8, type), weight, test.Output(3, 8, type), state), Throws.ArgumentException.With.Message.Contains("x has 2 rows"));
            Assert.That(() => Run(x, test.Output(8, 4, type, 1), test.Output(3, 8, type), state), Throws.ArgumentException.With.Message.Contains("adjacent"));
            Assert.That(() => Run(x, weight, x, state), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(x, weight, test.Output(3, 8, type), default), Throws.ArgumentException.With.Message.Contains("memory"));
            Assert.That(() => Run(x, weight, test.Output(3, 8, type), state with { SlotStride = 80 }), Throws.ArgumentException.With.Message.Contains("96"));
            Assert.That(() => Run(x, weight, test.Output(3, 8, type), state with { Address = state.Address + 4 }), Throws.ArgumentException.With.Message.Contains("16"));
            Assert.That(() => new Conv1DStep(test.Device, type, 8, 4).Run(test.Stream, rows, x, TensorView.Empty, weight, bias, x, state),
                Throws.ArgumentException.With.Message.Contains("a step takes one"));
        });
    }

    /// <summary>One call's inputs, on the host and on a device, with states whose fresh slots hold NaN.</summary>
    private sealed class ConvCase
    {
        private readonly OpTest _test;
        private readonly ElementType _type;
        private readonly int _width;
        private readonly int _taps;
        private readonly SequenceCase _call;
        private readonly float[] _x;
        private readonly float[]? _inputBias;
        private readonly float[] _weight;
        private readonly float[] _bias;
        private readonly Dictionary<int, float[]> _past = [];

        public ConvCase(OpTest test, ElementType type, int width, int taps, SequenceCase call, bool withInputBias = true)
        {
            (_test, _type, _width, _taps, _call) = (test, type, width, taps, call);
            var random = new CounterRandom((ulong)((width * 16) + taps));
            _x = OpTest.Normals(random, type, call.Tokens * width);
            _inputBias = withInputBias ? OpTest.Normals(random, type, width, 0.5) : null;
            _weight = OpTest.Normals(random, type, width * taps, 0.6);
            _bias = OpTest.Normals(random, type, width, 0.1);
            for (var slot = 0; slot < call.Slots; slot++)
            {
                if (call.Seen[slot] == 0)
                    continue;
                // Inputs that the slot has not seen are not to be read: NaN.
                var past = OpTest.Normals(random, type, (taps - 1) * width);
                for (var back = call.Seen[slot] + 1; back < taps; back++)
                    Array.Fill(past, float.NaN, (taps - 1 - back) * width, width);
                _past[slot] = past;
            }
        }

        public void RunAndCompare(string variant)
        {
            var state = NewState();
            var op = new Conv1D(_test.Device, _type, _width, _taps, variant);
            var rows = _call.Upload(_test);
            var (x, inputBias) = (_test.Matrix(_x, _call.Tokens, _width, _type, 8), InputBias());
            var y = _test.Output(_call.Tokens, _width, _type, 16);
            op.Run(_test.Stream, rows, x, inputBias, _test.Matrix(_weight, _width, _taps, _type), _test.Vector(_bias, _type), y, state.State);
            op.UpdateState(_test.Stream, rows, x, inputBias, state.State);

            var reference = Reference();
            var (expected, magnitude) = Expected(reference);
            OpTest.Compare(_type, _test.Read(y), expected, i => 2 * _taps * OpTest.Units(1) * magnitude[i], $"{variant}, {_type}, width {_width}, taps {_taps}");
            state.AssertOnlyChanged(_call.ChangedSlots);
            foreach (var slot in _call.ChangedSlots)
                Close.Absolute(state.Read(slot, _type), reference.State(slot), 0, $"{variant}: state of slot {slot}");
        }

        /// <summary>Runs the call in pieces of so many tokens per row, updating states in between.</summary>
        public (float[] Y, float[] States) Run(string? variant, int chunk, bool steps = false)
        {
            var state = NewState();
            var y = new float[_call.Tokens * _width];
            Array.Fill(y, Poison.Float);
            var prefill = steps ? null : new Conv1D(_test.Device, _type, _width, _taps, variant);
            var step = steps ? new Conv1DStep(_test.Device, _type, _width, _taps, variant) : null;
            var (weight, bias) = (_test.Matrix(_weight, _width, _taps, _type), _test.Vector(_bias, _type));
            IReadOnlyList<int> seen = _call.Seen;
            for (var first = 0; first < _call.Rows.Max(row => row.Positions.Length); first += chunk)
            {
                var (part, tokens) = _call.Part(first, chunk, seen);
                var rows = part.Upload(_test);
                var x = _test.Matrix(Gather(_x, tokens), tokens.Length, _width, _type);
                var output = _test.Output(tokens.Length, _width, _type);
                if (step is not null)
                {
                    step.Run(_test.Stream, rows, x, InputBias(), weight, bias, output, state.State);
                }
                else
                {
                    prefill!.Run(_test.Stream, rows, x, InputBias(), weight, bias, output, state.State);
                    prefill.UpdateState(_test.Stream, rows, x, InputBias(), state.State);
                }

                var result = _test.Read(output);
                for (var i = 0; i < tokens.Length; i++)
                    result.AsSpan(i * _width, _width).CopyTo(y.AsSpan(tokens[i] * _width));
                seen = part.SeenAfter();
            }

            return (y, [.. _call.Rows.SelectMany(row => state.Read(row.Slot, _type))]);
        }

        private StateMemory NewState()
        {
            var state = new StateMemory(_test, _call.Slots, (_taps - 1) * _width * _type.SizeOf());
            foreach (var (slot, past) in _past)
                state.Write(slot, past, _type);
            return state;
        }

        private TensorView InputBias() => _inputBias is null ? TensorView.Empty : _test.Vector(_inputBias, _type);

        private Conv1DReference Reference()
        {
            Conv1DReference reference = new(_width, _taps, Array.ConvertAll(_weight, value => (double)value), Array.ConvertAll(_bias, value => (double)value));
            foreach (var (slot, past) in _past)
            {
                var known = Math.Min(_call.Seen[slot], _taps - 1);
                reference.SetPast(slot, Enumerable.Range(_taps - 1 - known, known).Select(row => Array.ConvertAll(past[(row * _width)..((row + 1) * _width)], value => (double)value)));
            }

            return reference;
        }

        private (double[] Y, double[] Magnitude) Expected(Conv1DReference reference)
        {
            List<double> y = [], magnitude = [];
            var token = 0;
            foreach (var row in _call.Rows)
            {
                foreach (var position in row.Positions)
                {
                    var z = new double[_width];
                    for (var c = 0; c < _width; c++)
                        z[c] = Rounded(_x[(token * _width) + c] + (_inputBias?[c] ?? 0));
                    var (output, sizes) = reference.Step(row.Slot, position, z);
                    y.AddRange(output);
                    magnitude.AddRange(sizes);
                    token++;
                }
            }

            return ([.. y], [.. magnitude]);
        }

        private float Rounded(float value) => _type == ElementType.BFloat16 ? Bf16.Round(value) : value;

        private float[] Gather(float[] values, int[] tokens) => [.. tokens.SelectMany(token => values[(token * _width)..((token + 1) * _width)])];
    }
}
