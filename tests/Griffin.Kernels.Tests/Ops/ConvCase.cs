using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>One call's inputs, on the host and on a device, with states whose fresh slots hold NaN.</summary>
internal sealed class ConvCase
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
