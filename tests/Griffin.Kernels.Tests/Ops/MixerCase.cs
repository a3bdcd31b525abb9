using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>One call of the recurrent mixer on a device; of states, what fresh slots hold is NaN.</summary>
internal sealed class MixerCase
{
    private const int Taps = 4;
    private const ElementType Type = ElementType.BFloat16;

    private readonly OpTest _test;
    private readonly SequenceCase _call;
    private readonly int _blocks, _b;
    private readonly float[] _x, _y, _convWeight, _convBias, _inputWeight, _recurrenceWeight, _inputBias, _recurrenceBias, _lambda;
    private readonly float[]? _xBias, _yBias;
    private readonly Dictionary<int, (float[] Tail, float[] Hidden)> _past = [];

    public MixerCase(OpTest test, int blocks, int b, SequenceCase call, bool withBias = true)
    {
        (_test, _blocks, _b, _call) = (test, blocks, b, call);
        var random = new CounterRandom((ulong)(blocks * b));
        float[] Numbers(int count, double spread) => OpTest.Normals(random, Type, count, spread);
        (_x, _y) = (Numbers(call.Tokens * Width, 1), Numbers(call.Tokens * Width, 2));
        (_xBias, _yBias) = withBias ? (Numbers(Width, 0.5), Numbers(Width, 0.3)) : (null, null);
        (_convWeight, _convBias) = (Numbers(Width * Taps, 0.6), Numbers(Width, 0.1));
        (_inputWeight, _recurrenceWeight) = (Numbers(Width * b, 1.5 / Math.Sqrt(b)), Numbers(Width * b, 1.5 / Math.Sqrt(b)));
        (_inputBias, _recurrenceBias) = (Numbers(Width, 0.3), Numbers(Width, 0.3));
        _lambda = Array.ConvertAll(random.Uniforms(Width, -7, -1), Bf16.Round);
        for (var slot = 0; slot < call.Slots; slot++)
        {
            if (call.Seen[slot] > 0)
                _past[slot] = (Numbers((Taps - 1) * Width, 1), random.Normals(Width, 0.7));
        }
    }

    private int Width => _blocks * _b;

    /// <summary>Bits of the one kernel against those of the two, the scan by look-back.</summary>
    public void AssertEqual(string variant, bool withState = true)
    {
        var separate = Run(RecurrentMixer.Separate, withState: withState);
        Close.Finite(separate.Output, "output");
        var fused = Run(variant, withState: withState);
        Close.Exact(fused.Output, separate.Output, $"{variant}, {_blocks} blocks of {_b}, {_call.Tokens} tokens");
        Close.Exact(fused.Hidden, separate.Hidden, $"{variant}: h");
    }

    /// <summary>Every piece of the call against the scan in float64 over the z and the logits of the two ops on the whole.</summary>
    public void AssertWithinBound(string variant, int chunk)
    {
        var separate = Run(RecurrentMixer.Separate);
        var pieces = Run(variant, chunk);
        RgLruReference reference = new(Width, Wide(_lambda), chunked: true, approximate: true);
        foreach (var (slot, past) in _past)
            reference.SetPast(slot, past.Hidden);
        List<double> expected = [], bound = [];
        var token = 0;
        foreach (var row in _call.Rows)
        {
            foreach (var position in row.Positions)
            {
                var branch = new double[Width];
                for (var c = 0; c < Width; c++)
                    branch[c] = _y[(token * Width) + c] + (double)(_yBias?[c] ?? 0);
                var gates = Wide(separate.Gates.AsSpan(token * 2 * Width, 2 * Width));
                var (o, e) = reference.Step(row.Slot, position, Wide(separate.Z.AsSpan(token * Width, Width)), gates.AsSpan(0, Width), gates.AsSpan(Width), branch);
                expected.AddRange(o);
                bound.AddRange(e);
                token++;
            }
        }

        OpTest.Compare(Type, pieces.Output, [.. expected], i => bound[i], $"{variant}, {Width} channels, calls of {chunk} tokens a row");
        foreach (var slot in _call.ChangedSlots)
        {
            var allowed = reference.StateBound(slot);
            Close.Within(pieces.HiddenOf(slot), reference.State(slot), c => allowed[c], $"{variant}: h of slot {slot}");
        }
    }

    public Results Run(string variant, int chunk = int.MaxValue, bool withState = true, bool overY = false, int gap = 8)
    {
        Conv1D conv = new(_test.Device, Type, Width, Taps);
        ConvGates convGates = new(conv, new BlockDiagonalGates(_test.Device, Type, Width, _blocks, variant: "mma-128x64"), ConvGates.Separate);
        RecurrentMixer op = new(convGates, new RgLru(_test.Device, Type, Width, RgLru.LookBack), variant);
        var tail = new StateMemory(_test, _call.Slots, (int)conv.StateBytes);
        var hidden = new StateMemory(_test, _call.Slots, Width * sizeof(float));
        foreach (var (slot, past) in _past)
        {
            tail.Write(slot, past.Tail, Type);
            hidden.Write(slot, past.Hidden, ElementType.Float32);
        }

        var (outputs, zs, logits) = (Poison.Floats(_call.Tokens * Width), Poison.Floats(_call.Tokens * Width), Poison.Floats(_call.Tokens * 2 * Width));
        var (convWeight, inputWeight, recurrenceWeight) = (_test.Matrix(_convWeight, Width, Taps, Type), _test.Matrix(_inputWeight, Width, _b, Type), _test.Matrix(_recurrenceWeight, Width, _b, Type));
        Operands? operands = null;
        IReadOnlyList<int> seen = _call.Seen;
        for (var first = 0; first < _call.Rows.Max(row => row.Positions.Length); first = chunk == int.MaxValue ? chunk : first + chunk)
        {
            var (part, tokens) = chunk == int.MaxValue ? (_call, [.. Enumerable.Range(0, _call.Tokens)]) : _call.Part(first, chunk, seen);
            var (rows, n) = (part.Upload(_test), tokens.Length);
            var (x, y) = (_test.Matrix(Gather(_x, tokens), n, Width, Type, gap), _test.Matrix(Gather(_y, tokens), n, Width, Type, 2 * gap));
            var (output, z, gates) = (overY ? y : _test.Output(n, Width, Type, gap), _test.Output(n, Width, Type, gap), _test.Output(n, 2 * Width, Type, gap));
            var bytes = op.WorkspaceBytes(n, part.Rows.Count);
            var workspace = TensorView.Of(_test.Allocate(bytes), 0, ElementType.UInt8, 1, bytes);
            op.Run(_test.Stream, rows, x, Optional(_xBias), convWeight, _test.Vector(_convBias, Type), inputWeight, _test.Vector(_inputBias, Type), recurrenceWeight,
                _test.Vector(_recurrenceBias, Type), y, Optional(_yBias), _test.Vector(_lambda, Type), output, withState ? tail.State : default, withState ? hidden.State : default, z, gates, workspace);
            if (withState)
            {
                tail.AssertOnlyChanged(chunk == int.MaxValue ? [] : _call.ChangedSlots);
                conv.UpdateState(_test.Stream, rows, x, Optional(_xBias), tail.State);
            }

            Scatter(_test.Read(output), tokens, Width, outputs);
            if (variant == RecurrentMixer.Separate)
            {
                Scatter(_test.Read(z), tokens, Width, zs);
                Scatter(_test.Read(gates), tokens, 2 * Width, logits);
            }

            operands = new(x, y, output, inputWeight, workspace);
            seen = part.SeenAfter();
        }

        hidden.AssertOnlyChanged(withState ? _call.ChangedSlots : []);
        return new(outputs, zs, logits, slot => hidden.Read(slot, ElementType.Float32), withState ? [.. _call.ChangedSlots.SelectMany(slot => hidden.Read(slot, ElementType.Float32))] : [], operands!);
    }

    private TensorView Optional(float[]? vector) => vector is null ? TensorView.Empty : _test.Vector(vector, Type);

    private float[] Gather(float[] values, int[] tokens) => [.. tokens.SelectMany(token => values[(token * Width)..((token + 1) * Width)])];

    private static void Scatter(float[] values, int[] tokens, int width, float[] target)
    {
        for (var i = 0; i < tokens.Length; i++)
            values.AsSpan(i * width, width).CopyTo(target.AsSpan(tokens[i] * width));
    }

    private static double[] Wide(ReadOnlySpan<float> values) => Array.ConvertAll(values.ToArray(), value => (double)value);

    /// <summary>Where the last call's operands lie.</summary>
    internal sealed record Operands(TensorView X, TensorView Y, TensorView Output, TensorView InputWeight, TensorView Workspace);

    /// <summary>What a run left: outputs, z and logits where the two ops ran, and h.</summary>
    internal sealed record Results(float[] Output, float[] Z, float[] Gates, Func<int, float[]> HiddenOf, float[] Hidden, Operands Operands);
}
