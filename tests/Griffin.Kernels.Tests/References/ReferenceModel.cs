using System.Globalization;
namespace Griffin.Kernels.Tests.References;

/// <summary>Everything about a model that its tensors do not tell.</summary>
/// <param name="Heads">Query heads; the head dimension is that of the key projection's rows.</param>
/// <param name="KeysVisible">Keys that a query may see, itself included; <see cref="int.MaxValue"/> for global attention.</param>
/// <param name="EmbeddingScale">Multiplier of the looked-up embedding, already rounded as the model wants it.</param>
/// <param name="SoftCap">Logits cap; 0 for none.</param>
/// <param name="RotaryFraction">Rotated part of a head.</param>
internal sealed record ReferenceConfig(
    int Heads,
    int KeysVisible,
    double EmbeddingScale,
    double SoftCap,
    double NormEps = 1e-6,
    double RotaryBase = 10000,
    double RotaryFraction = 0.5);

/// <summary>One block's weights in float64, Hugging Face orientation. Attention blocks leave the recurrent fields empty and the other way round.</summary>
internal sealed record ReferenceLayer
{
    public required double[] TemporalNorm { get; init; }
    public required double[] ChannelNorm { get; init; }
    public required double[] GateWeight { get; init; } // [D, d], the half that goes through GELU
    public required double[] GateBias { get; init; }
    public required double[] UpWeight { get; init; } // [D, d]
    public required double[] UpBias { get; init; }
    public required double[] DownWeight { get; init; } // [d, D]
    public required double[] DownBias { get; init; }
    public bool IsAttention => Query.Length > 0;
    public double[] Query { get; init; } = []; // [H·hd, d]
    public double[] Key { get; init; } = []; // [hd, d]
    public double[] Value { get; init; } = []; // [hd, d]
    public double[] XWeight { get; init; } = []; // [l, d]
    public double[] XBias { get; init; } = [];
    public double[] YWeight { get; init; } = []; // [l, d]
    public double[] YBias { get; init; } = [];
    public double[] OutWeight { get; init; } = []; // [d, l] or [d, H·hd]
    public double[] OutBias { get; init; } = [];
    public double[] ConvWeight { get; init; } = []; // [l, taps], last tap = current token
    public double[] ConvBias { get; init; } = [];
    public double[] Lambda { get; init; } = [];
    public double[] InputGateWeight { get; init; } = []; // [H, b, b] in, out
    public double[] InputGateBias { get; init; } = [];
    public double[] RecurrenceGateWeight { get; init; } = [];
    public double[] RecurrenceGateBias { get; init; } = [];
    public int GateBlocks { get; init; }
}

/// <summary>A model's weights in float64, read from tensors named and laid out as in a Hugging Face checkpoint.</summary>
internal sealed class ReferenceModel
{
    public ReferenceModel(ReferenceConfig config, IReadOnlyDictionary<string, TestTensor> tensors)
    {
        Config = config;
        Embedding = tensors["model.embed_tokens.weight"].Values;
        Vocabulary = tensors["model.embed_tokens.weight"].Shape[0];
        Width = tensors["model.embed_tokens.weight"].Shape[1];
        FinalNorm = tensors["model.final_norm.weight"].Values;
        var layers = new List<ReferenceLayer>();
        while (tensors.ContainsKey(string.Create(CultureInfo.InvariantCulture, $"model.layers.{layers.Count}.temporal_pre_norm.weight")))
            layers.Add(ReadLayer(tensors, string.Create(CultureInfo.InvariantCulture, $"model.layers.{layers.Count}.")));
        Layers = layers;
    }

    public ReferenceConfig Config { get; }

    public int Vocabulary { get; }

    public int Width { get; }

    public double[] Embedding { get; }

    public double[] FinalNorm { get; }

    public IReadOnlyList<ReferenceLayer> Layers { get; }

    private static ReferenceLayer ReadLayer(IReadOnlyDictionary<string, TestTensor> tensors, string prefix)
    {
        var attention = tensors.ContainsKey(prefix + "temporal_block.q_proj.weight");
        double[] Of(string name) => tensors[prefix + name].Values;
        double[] Recurrent(string name) => attention ? [] : Of("temporal_block." + name);
        double[] Attention(string name) => attention ? Of("temporal_block." + name) : [];
        return new ReferenceLayer
        {
            TemporalNorm = Of("temporal_pre_norm.weight"),
            ChannelNorm = Of("channel_pre_norm.weight"),
            GateWeight = Of("mlp_block.gate_proj.weight"),
            GateBias = Of("mlp_block.gate_proj.bias"),
            UpWeight = Of("mlp_block.up_proj.weight"),
            UpBias = Of("mlp_block.up_proj.bias"),
            DownWeight = Of("mlp_block.down_proj.weight"),
            DownBias = Of("mlp_block.down_proj.bias"),
            Query = Attention("q_proj.weight"),
            Key = Attention("k_proj.weight"),
            Value = Attention("v_proj.weight"),
            OutWeight = attention ? Attention("o_proj.weight") : Recurrent("linear_out.weight"),
            OutBias = attention ? Attention("o_proj.bias") : Recurrent("linear_out.bias"),
            XWeight = Recurrent("linear_x.weight"),
            XBias = Recurrent("linear_x.bias"),
            YWeight = Recurrent("linear_y.weight"),
            YBias = Recurrent("linear_y.bias"),
            ConvWeight = Recurrent("conv_1d.weight"),
            ConvBias = Recurrent("conv_1d.bias"),
            Lambda = Recurrent("rg_lru.recurrent_param"),
            InputGateWeight = Recurrent("rg_lru.input_gate_weight"),
            InputGateBias = Recurrent("rg_lru.input_gate_bias"),
            RecurrenceGateWeight = Recurrent("rg_lru.recurrent_gate_weight"),
            RecurrenceGateBias = Recurrent("rg_lru.recurrent_gate_bias"),
            GateBlocks = attention ? 0 : tensors[prefix + "temporal_block.rg_lru.input_gate_weight"].Shape[0],
        };
    }
}
