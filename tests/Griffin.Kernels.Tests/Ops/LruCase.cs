using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Where the scan writes.</summary>
internal enum Place
{
    Apart,
    OverZ,
    OverY,
}

/// <summary>One call's inputs, on the host and on a device, with states whose fresh slots hold NaN.</summary>
internal sealed class LruCase
{
    private readonly OpTest _test;
    private readonly ElementType _type;
    private readonly int _width;
    private readonly SequenceCase _call;
    private readonly float[] _z;
    private readonly float[] _gates;
    private readonly float[] _y;
    private readonly float[]? _bias;
    private readonly float[] _lambda;
    private readonly Dictionary<int, float[]> _past = [];

    public LruCase(OpTest test, ElementType type, int width, SequenceCase call, bool withBias = true, float[]? lambda = null, float gateShift = 0, double inputScale = 1, int brokenTokens = 0)
    {
        (_test, _type, _width, _call) = (test, type, width, call);
        var random = new CounterRandom((ulong)width);
        _z = OpTest.Normals(random, type, call.Tokens * width, inputScale);
        _gates = OpTest.Normals(random, type, call.Tokens * 2 * width, 2);
        for (var i = 0; i < _gates.Length; i++)
        {
            if (i / width % 2 == 1)
                _gates[i] = Bf16.Round(_gates[i] + gateShift);
        }

        _z.AsSpan(0, brokenTokens * width).Fill(float.PositiveInfinity);
        _gates.AsSpan(0, brokenTokens * 2 * width).Fill(float.NaN);
        _y = OpTest.Normals(random, type, call.Tokens * width, 2);
        _bias = withBias ? OpTest.Normals(random, type, width, 0.3) : null;
        _lambda = lambda ?? Array.ConvertAll(random.Uniforms(width, -7, -1), Bf16.Round);
        for (var slot = 0; slot < call.Slots; slot++)
        {
            if (call.Seen[slot] > 0)
                _past[slot] = random.Normals(width, 0.7 * inputScale);
        }
    }

    private LruCase(LruCase whole, int first, int count)
    {
        (_test, _type, _width, _bias, _lambda) = (whole._test, whole._type, whole._width, whole._bias, whole._lambda);
        _call = new SequenceCase([new(0, SequenceCase.From(0, count))], [0]);
        (_z, _gates, _y) = (whole._z[(first * _width)..], whole._gates[(first * 2 * _width)..], whole._y[(first * _width)..]);
    }

    public static TensorView Workspace(OpTest test, RgLru op, int tokens, int rows)
    {
        var bytes = op.WorkspaceBytes(tokens, rows);
        return bytes == 0 ? TensorView.Empty : TensorView.Of(test.Allocate(bytes), 0, ElementType.UInt8, 1, bytes);
    }

    /// <summary>The last tokens of a single packed row as a call of their own.</summary>
    public LruCase Part(int first, int count) => new(this, first, count);

    /// <summary>Runs the call; without a state every row is fresh, and h itself is asked for as well.</summary>
    public void RunAndCompare(string? variant, bool withState = true)
    {
        var state = NewState();
        var op = new RgLru(_test.Device, _type, _width, variant);
        var output = _test.Output(_call.Tokens, _width, _type, 24);
        var hidden = withState ? TensorView.Empty : _test.Output(_call.Tokens, _width, _type, 8);
        op.Run(_test.Stream, _call.Upload(_test), _test.Matrix(_z, _call.Tokens, _width, _type, 8), _test.Matrix(_gates, _call.Tokens, 2 * _width, _type, 8),
            _test.Matrix(_y, _call.Tokens, _width, _type, 16), Bias(), _test.Vector(_lambda, _type), output, withState ? state.State : LayerState.None,
            Workspace(_test, op, _call.Tokens, _call.Rows.Count), hidden);

        RgLruReference reference = new(_width, Wide(_lambda), op.WorkspaceBytes(1, 1) > 0 || variant == RgLru.Ring, variant is RgLru.Ring or RgLru.LookBack or RgLru.Cluster);
        if (withState)
        {
            foreach (var (slot, past) in _past)
                reference.SetPast(slot, past);
        }

        List<double> h = [], hBound = [];
        var (expected, bound) = Expected(reference, (slot, position) =>
        {
            h.AddRange(position < 0 ? new double[_width] : reference.State(slot));
            hBound.AddRange(position < 0 ? new double[_width] : reference.StateBound(slot));
        });
        OpTest.Compare(_type, _test.Read(output), expected, i => bound[i], $"{variant}, {_type}, width {_width}");
        state.AssertOnlyChanged(withState ? _call.ChangedSlots : []);
        if (!withState)
        {
            OpTest.Compare(_type, _test.Read(hidden), [.. h], i => hBound[i], $"{variant}, {_type}, width {_width}: h");
            return;
        }

        foreach (var slot in _call.ChangedSlots)
        {
            var allowed = reference.StateBound(slot);
            Close.Within(state.Read(slot, ElementType.Float32), reference.State(slot), c => allowed[c], $"{variant}: h of slot {slot}");
        }
    }

    /// <summary>Runs the call in pieces of so many tokens per row.</summary>
    public (float[] Y, float[] States) Run(string variant, int chunk, bool steps = false, Place output = Place.Apart)
    {
        var state = NewState();
        var result = Poison.Floats(_call.Tokens * _width);
        var scan = steps ? null : new RgLru(_test.Device, _type, _width, variant);
        var step = steps ? new RgLruStep(_test.Device, _type, _width, variant) : null;
        var lambda = _test.Vector(_lambda, _type);
        IReadOnlyList<int> seen = _call.Seen;
        for (var first = 0; first < _call.Rows.Max(row => row.Positions.Length); first += chunk)
        {
            var (part, tokens) = _call.Part(first, chunk, seen);
            var rows = part.Upload(_test);
            var z = _test.Matrix(Gather(_z, tokens, _width), tokens.Length, _width, _type);
            var gates = _test.Matrix(Gather(_gates, tokens, 2 * _width), tokens.Length, 2 * _width, _type);
            var y = _test.Matrix(Gather(_y, tokens, _width), tokens.Length, _width, _type);
            var target = output switch { Place.OverZ => z, Place.OverY => y, _ => _test.Output(tokens.Length, _width, _type) };
            if (step is not null)
                step.Run(_test.Stream, rows, z, gates, y, Bias(), lambda, target, state.State);
            else
                scan!.Run(_test.Stream, rows, z, gates, y, Bias(), lambda, target, state.State, Workspace(_test, scan, tokens.Length, part.Rows.Count));
            var values = _test.Read(target);
            for (var i = 0; i < tokens.Length; i++)
                values.AsSpan(i * _width, _width).CopyTo(result.AsSpan(tokens[i] * _width));
            seen = part.SeenAfter();
        }

        return (result, [.. _call.ChangedSlots.SelectMany(slot => state.Read(slot, ElementType.Float32))]);
    }

    private StateMemory NewState()
    {
        StateMemory state = new(_test, _call.Slots, _width * sizeof(float));
        foreach (var (slot, past) in _past)
            state.Write(slot, past, ElementType.Float32);
        return state;
    }

    private TensorView Bias() => _bias is null ? TensorView.Empty : _test.Vector(_bias, _type);

    private (double[] Output, double[] Bound) Expected(RgLruReference reference, Action<int, int> afterStep)
    {
        List<double> output = [], bound = [];
        var token = 0;
        foreach (var row in _call.Rows)
        {
            foreach (var position in row.Positions)
            {
                var branch = new double[_width];
                for (var c = 0; c < _width; c++)
                    branch[c] = _y[(token * _width) + c] + (double)(_bias?[c] ?? 0);
                var gates = Wide(_gates.AsSpan(token * 2 * _width, 2 * _width));
                var (o, b) = reference.Step(row.Slot, position, Wide(_z.AsSpan(token * _width, _width)), gates.AsSpan(0, _width), gates.AsSpan(_width), branch);
                output.AddRange(o);
                bound.AddRange(b);
                afterStep(row.Slot, position);
                token++;
            }
        }

        return ([.. output], [.. bound]);
    }

    private static double[] Wide(ReadOnlySpan<float> values) => Array.ConvertAll(values.ToArray(), value => (double)value);

    private static float[] Gather(float[] values, int[] tokens, int width) => [.. tokens.SelectMany(token => values[(token * width)..((token + 1) * width)])];
}
