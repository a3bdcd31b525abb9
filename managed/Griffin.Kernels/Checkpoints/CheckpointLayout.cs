using System.Globalization;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Where one weight lies in a file.</summary>
/// <param name="Tensor">The tensor's name there.</param>
/// <param name="Shape">The shape it must have there.</param>
/// <param name="FirstElement">Where in the tensor the weight begins.</param>
/// <param name="TransposedRows">0: the weight's elements lie in its own order. Otherwise it is stored transposed, and this is its number of rows.</param>
/// <param name="MoreRowsAllowed">The tensor may have more rows than its shape says; they are dropped.</param>
internal sealed record StoredWeight(string Tensor, Dimension[] Shape, long FirstElement = 0, int TransposedRows = 0, bool MoreRowsAllowed = false);

/// <summary>A naming scheme of checkpoint files.</summary>
internal abstract class CheckpointLayout
{
    /// <summary>Names and orientation of the Hugging Face files.</summary>
    internal static CheckpointLayout HuggingFace { get; } = new HuggingFaceLayout();

    /// <summary>Names and orientation of DeepMind's files.</summary>
    internal static CheckpointLayout Native { get; } = new NativeLayout();

    /// <summary>The name of the embedding table, which tells the schemes apart.</summary>
    internal abstract string EmbeddingTensor { get; }

    /// <summary>The second copy of the embedding table that a file may carry; null when the scheme has none.</summary>
    internal abstract string? HeadTensor { get; }

    /// <summary>Where <paramref name="name"/> lies.</summary>
    internal abstract StoredWeight Locate(GriffinConfig config, WeightName name);

    /// <summary>Whether a tensor may be in a file although no weight comes from it: buffers that are computed anew.</summary>
    internal virtual bool Ignores(string tensor) => false;

    private sealed class HuggingFaceLayout : CheckpointLayout
    {
        internal override string EmbeddingTensor => "model.embed_tokens.weight";

        internal override string? HeadTensor => "lm_head.weight";

        internal override StoredWeight Locate(GriffinConfig config, WeightName name)
        {
            Dimension[] shape = WeightCatalogue.Dimensions(config, name.Kind);
            if (name.Kind == WeightKind.Conv) shape = [shape[0], new Dimension(1, "1"), shape[1]];
            return new StoredWeight(TensorName(name), shape);
        }

        internal override bool Ignores(string tensor) =>
            tensor.EndsWith(".inv_freq", StringComparison.Ordinal) || tensor is "model.normalizer" or "normalizer";

        private static string TensorName(WeightName name) => name.Kind switch
        {
            WeightKind.Embedding => "model.embed_tokens.weight",
            WeightKind.FinalNorm => "model.final_norm.weight",
            _ => string.Create(CultureInfo.InvariantCulture, $"model.layers.{name.Layer}.{Suffix(name.Kind)}"),
        };

        private static string Suffix(WeightKind kind) => kind switch
        {
            WeightKind.TemporalNorm => "temporal_pre_norm.weight",
            WeightKind.ChannelNorm => "channel_pre_norm.weight",
            WeightKind.LinearX => "temporal_block.linear_x.weight",
            WeightKind.LinearXBias => "temporal_block.linear_x.bias",
            WeightKind.LinearY => "temporal_block.linear_y.weight",
            WeightKind.LinearYBias => "temporal_block.linear_y.bias",
            WeightKind.LinearOut => "temporal_block.linear_out.weight",
            WeightKind.LinearOutBias => "temporal_block.linear_out.bias",
            WeightKind.Conv => "temporal_block.conv_1d.weight",
            WeightKind.ConvBias => "temporal_block.conv_1d.bias",
            WeightKind.Lambda => "temporal_block.rg_lru.recurrent_param",
            WeightKind.InputGate => "temporal_block.rg_lru.input_gate_weight",
            WeightKind.InputGateBias => "temporal_block.rg_lru.input_gate_bias",
            WeightKind.RecurrenceGate => "temporal_block.rg_lru.recurrent_gate_weight",
            WeightKind.RecurrenceGateBias => "temporal_block.rg_lru.recurrent_gate_bias",
            WeightKind.Query => "temporal_block.q_proj.weight",
            WeightKind.Key => "temporal_block.k_proj.weight",
            WeightKind.Value => "temporal_block.v_proj.weight",
            WeightKind.AttentionOut => "temporal_block.o_proj.weight",
            WeightKind.AttentionOutBias => "temporal_block.o_proj.bias",
            WeightKind.MlpGate => "mlp_block.gate_proj.weight",
            WeightKind.MlpGateBias => "mlp_block.gate_proj.bias",
            WeightKind.MlpUp => "mlp_block.up_proj.weight",
            WeightKind.MlpUpBias => "mlp_block.up_proj.bias",
            WeightKind.MlpDown => "mlp_block.down_proj.weight",
            WeightKind.MlpDownBias => "mlp_block.down_proj.bias",
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "no such tensor"),
        };
    }

    private sealed class NativeLayout : CheckpointLayout
    {
        internal override string EmbeddingTensor => "embedder.input_embedding";

        internal override string? HeadTensor => null;

        internal override StoredWeight Locate(GriffinConfig config, WeightName name)
        {
            Dimension[] shape = WeightCatalogue.Dimensions(config, name.Kind);
            string tensor = TensorName(name);
            Dimension two = new(2, "2"), one = new(1, "1");
            return name.Kind switch
            {
                WeightKind.Embedding => new StoredWeight(tensor, shape, MoreRowsAllowed: true),
                WeightKind.Conv => new StoredWeight(tensor, [shape[1], shape[0]], TransposedRows: shape[0].Size),
                // Both halves of the MLP share a tensor [2, d, D]; the first goes through GELU.
                WeightKind.MlpGate => new StoredWeight(tensor, [two, shape[1], shape[0]], 0, shape[0].Size),
                WeightKind.MlpUp => new StoredWeight(tensor, [two, shape[1], shape[0]], (long)shape[0].Size * shape[1].Size, shape[0].Size),
                WeightKind.MlpGateBias => new StoredWeight(tensor, [two, one, one, shape[0]]),
                WeightKind.MlpUpBias => new StoredWeight(tensor, [two, one, one, shape[0]], shape[0].Size),
                _ => new StoredWeight(tensor, shape),
            };
        }

        private static string TensorName(WeightName name) => name.Kind switch
        {
            WeightKind.Embedding => "embedder.input_embedding",
            WeightKind.FinalNorm => "final_norm.scale",
            _ => string.Create(CultureInfo.InvariantCulture, $"blocks.{name.Layer}.{Suffix(name.Kind)}"),
        };

        private static string Suffix(WeightKind kind) => kind switch
        {
            WeightKind.TemporalNorm => "temporal_pre_norm.scale",
            WeightKind.ChannelNorm => "channel_pre_norm.scale",
            WeightKind.LinearX => "recurrent_block.linear_x.weight",
            WeightKind.LinearXBias => "recurrent_block.linear_x.bias",
            WeightKind.LinearY => "recurrent_block.linear_y.weight",
            WeightKind.LinearYBias => "recurrent_block.linear_y.bias",
            WeightKind.LinearOut => "recurrent_block.linear_out.weight",
            WeightKind.LinearOutBias => "recurrent_block.linear_out.bias",
            WeightKind.Conv => "recurrent_block.conv_1d.w",
            WeightKind.ConvBias => "recurrent_block.conv_1d.b",
            WeightKind.Lambda => "recurrent_block.rg_lru.a_param",
            WeightKind.InputGate => "recurrent_block.rg_lru.input_gate.w",
            WeightKind.InputGateBias => "recurrent_block.rg_lru.input_gate.b",
            WeightKind.RecurrenceGate => "recurrent_block.rg_lru.a_gate.w",
            WeightKind.RecurrenceGateBias => "recurrent_block.rg_lru.a_gate.b",
            WeightKind.Query => "attention_block.proj_q.weight",
            WeightKind.Key => "attention_block.proj_k.weight",
            WeightKind.Value => "attention_block.proj_v.weight",
            WeightKind.AttentionOut => "attention_block.proj_final.weight",
            WeightKind.AttentionOutBias => "attention_block.proj_final.bias",
            WeightKind.MlpGate or WeightKind.MlpUp => "mlp_block.ffw_up.w",
            WeightKind.MlpGateBias or WeightKind.MlpUpBias => "mlp_block.ffw_up.b",
            WeightKind.MlpDown => "mlp_block.ffw_down.weight",
            WeightKind.MlpDownBias => "mlp_block.ffw_down.bias",
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "no such tensor"),
        };
    }
}
