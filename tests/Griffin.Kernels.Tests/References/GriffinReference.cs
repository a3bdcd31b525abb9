using static Griffin.Kernels.Tests.References.ReferenceMath;

namespace Griffin.Kernels.Tests.References;

/// <summary>
/// The whole model in float64 loops, one token at a time: the truth that the kernels are held against. It shares no code with them
/// and follows the published formulas, not our implementation.
/// </summary>
internal sealed class GriffinReference(ReferenceModel model)
{
    private readonly ReferenceConfig _config = model.Config;

    /// <summary>Called with a tensor's name (as <c>blocks.0.linear_y</c>) and its row for the current token.</summary>
    public Action<string, double[]>? Trace { get; init; }

    public ReferenceModel Model => model;

    public ReferenceState NewState() => new(model.Layers.Count);

    /// <summary>Logits [T, V] of one row from a fresh state, positions 0…T-1.</summary>
    public double[][] Forward(ReadOnlySpan<int> tokens)
    {
        var positions = new int[tokens.Length];
        for (var i = 0; i < positions.Length; i++)
            positions[i] = i;
        return Forward(tokens, positions, NewState());
    }

    /// <summary>Logits [T, V] of one row; <paramref name="state"/> is read and advanced. A position of 0 starts a document, -1 is padding (zero logits).</summary>
    public double[][] Forward(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, ReferenceState state)
    {
        var logits = new double[tokens.Length][];
        for (var t = 0; t < logits.Length; t++)
            logits[t] = positions[t] < 0 ? new double[model.Vocabulary] : Step(tokens[t], positions[t], state);
        return logits;
    }

    private double[] Step(int token, int position, ReferenceState state)
    {
        if (position == 0)
            state.StartDocument();
        var x = new double[model.Width];
        for (var i = 0; i < x.Length; i++)
            x[i] = model.Embedding[(token * model.Width) + i] * _config.EmbeddingScale;
        Note("embedding", x);
        for (var index = 0; index < model.Layers.Count; index++)
        {
            var layer = model.Layers[index];
            var name = $"blocks.{index}.";
            var normed = Note(name + "temporal_pre_norm", RmsNorm(x, layer.TemporalNorm, _config.NormEps));
            var mixed = layer.IsAttention
                ? Attention(normed, layer, position, state[index], name)
                : Recurrent(normed, layer, position, state[index], name);
            var residual = Add(x, Note(name + "temporal", mixed));
            normed = Note(name + "channel_pre_norm", RmsNorm(residual, layer.ChannelNorm, _config.NormEps));
            x = Note(name + "out", Add(residual, Note(name + "mlp", Mlp(normed, layer))));
        }

        state.Advance();
        var last = Note("final_norm", RmsNorm(x, model.FinalNorm, _config.NormEps));
        var logits = Linear(last, model.Embedding, []);
        for (var i = 0; i < logits.Length; i++)
            logits[i] = SoftCap(logits[i], _config.SoftCap);
        return logits;
    }

    private double[] Recurrent(double[] x, ReferenceLayer layer, int position, ReferenceState.LayerMemory memory, string name)
    {
        var gate = Note(name + "linear_y", Linear(x, layer.YWeight, layer.YBias));
        memory.ConvInputs.Add(Note(name + "linear_x", Linear(x, layer.XWeight, layer.XBias)));
        var z = Note(name + "conv", Convolve(memory.ConvInputs, layer));

        var inputGate = BlockDiagonal(z, layer.InputGateWeight, layer.InputGateBias, layer.GateBlocks);
        var recurrenceGate = BlockDiagonal(z, layer.RecurrenceGateWeight, layer.RecurrenceGateBias, layer.GateBlocks);
        var fresh = memory.Hidden.Length == 0;
        var hidden = new double[z.Length];
        var merged = new double[z.Length];
        for (var c = 0; c < z.Length; c++)
        {
            var (a, m) = Decay(Sigmoid(recurrenceGate[c]), layer.Lambda[c]);
            var input = Sigmoid(inputGate[c]) * z[c];
            hidden[c] = position == 0 ? input : (fresh ? 0 : a * memory.Hidden[c]) + (m * input);
            merged[c] = hidden[c] * GeluTanh(gate[c]);
        }

        memory.Hidden = Note(name + "rg_lru", hidden);
        return Linear(merged, layer.OutWeight, layer.OutBias);
    }

    private static double[] Convolve(List<double[]> inputs, ReferenceLayer layer)
    {
        var taps = layer.ConvWeight.Length / layer.ConvBias.Length;
        var y = new double[layer.ConvBias.Length];
        for (var c = 0; c < y.Length; c++)
        {
            var sum = layer.ConvBias[c];
            for (var k = 0; k < Math.Min(taps, inputs.Count); k++)
                sum += layer.ConvWeight[(c * taps) + taps - 1 - k] * inputs[inputs.Count - 1 - k][c];
            y[c] = sum;
        }

        return y;
    }

    private double[] Attention(double[] x, ReferenceLayer layer, int position, ReferenceState.LayerMemory memory, string name)
    {
        var query = Note(name + "proj_q", Linear(x, layer.Query, []));
        var key = Note(name + "proj_k", Linear(x, layer.Key, []));
        var size = key.Length;
        var rotated = (int)(size * _config.RotaryFraction);
        key = [.. key]; // the traced row stays as it was before the rotation
        Rotate(key, rotated, position, _config.RotaryBase);
        memory.Keys.Add(key);
        memory.Values.Add(Linear(x, layer.Value, []));

        var first = Math.Max(0, memory.Keys.Count - _config.KeysVisible);
        var mixed = new double[query.Length];
        for (var head = 0; head < _config.Heads; head++)
        {
            var q = query[(head * size)..((head + 1) * size)];
            Rotate(q, rotated, position, _config.RotaryBase);
            var weights = new double[memory.Keys.Count - first];
            for (var j = 0; j < weights.Length; j++)
                weights[j] = Linear(q, memory.Keys[first + j], [])[0] / Math.Sqrt(size);
            var max = weights.Max();
            var sum = weights.Sum(w => Math.Exp(w - max));
            for (var j = 0; j < weights.Length; j++)
            {
                for (var i = 0; i < size; i++)
                    mixed[(head * size) + i] += Math.Exp(weights[j] - max) / sum * memory.Values[first + j][i];
            }
        }

        return Linear(mixed, layer.OutWeight, layer.OutBias);
    }

    private static double[] Mlp(double[] x, ReferenceLayer layer)
    {
        var gate = Linear(x, layer.GateWeight, layer.GateBias);
        var up = Linear(x, layer.UpWeight, layer.UpBias);
        for (var i = 0; i < gate.Length; i++)
            gate[i] = GeluTanh(gate[i]) * up[i];
        return Linear(gate, layer.DownWeight, layer.DownBias);
    }

    private static double[] Add(double[] x, double[] y)
    {
        var sum = new double[x.Length];
        for (var i = 0; i < sum.Length; i++)
            sum[i] = x[i] + y[i];
        return sum;
    }

    private double[] Note(string name, double[] row)
    {
        Trace?.Invoke(name, row);
        return row;
    }
}
