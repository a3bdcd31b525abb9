namespace Griffin.Kernels.Tests.References;

/// <summary>Tensors from the native names and layouts to the Hugging Face ones.</summary>
internal static class NativeNames
{
    private static readonly (string Native, string HuggingFace)[] renames =
    [
        ("embedder.input_embedding", "model.embed_tokens.weight"),
        ("final_norm.scale", "model.final_norm.weight"),
        ("_norm.scale", "_norm.weight"),
        ("recurrent_block.rg_lru.a_param", "temporal_block.rg_lru.recurrent_param"),
        ("recurrent_block.rg_lru.a_gate.w", "temporal_block.rg_lru.recurrent_gate_weight"),
        ("recurrent_block.rg_lru.a_gate.b", "temporal_block.rg_lru.recurrent_gate_bias"),
        ("recurrent_block.rg_lru.input_gate.w", "temporal_block.rg_lru.input_gate_weight"),
        ("recurrent_block.rg_lru.input_gate.b", "temporal_block.rg_lru.input_gate_bias"),
        ("recurrent_block.conv_1d.w", "temporal_block.conv_1d.weight"),
        ("recurrent_block.conv_1d.b", "temporal_block.conv_1d.bias"),
        ("recurrent_block.", "temporal_block."),
        ("attention_block.proj_final.", "temporal_block.o_proj."),
        ("attention_block.proj_q.", "temporal_block.q_proj."),
        ("attention_block.proj_k.", "temporal_block.k_proj."),
        ("attention_block.proj_v.", "temporal_block.v_proj."),
        ("mlp_block.ffw_down.", "mlp_block.down_proj."),
        ("blocks.", "model.layers."),
    ];

    public static Dictionary<string, TestTensor> ToHuggingFace(IEnumerable<KeyValuePair<string, TestTensor>> native)
    {
        var tensors = new Dictionary<string, TestTensor>(StringComparer.Ordinal);
        foreach (var (nativeName, tensor) in native)
        {
            var name = nativeName;
            foreach (var (from, to) in renames)
                name = name.Replace(from, to, StringComparison.Ordinal);

            if (name.EndsWith("ffw_up.w", StringComparison.Ordinal))
            {
                tensors.Add(name.Replace("ffw_up.w", "gate_proj.weight", StringComparison.Ordinal), tensor[0].Transpose());
                tensors.Add(name.Replace("ffw_up.w", "up_proj.weight", StringComparison.Ordinal), tensor[1].Transpose());
            }
            else if (name.EndsWith("ffw_up.b", StringComparison.Ordinal))
            {
                tensors.Add(name.Replace("ffw_up.b", "gate_proj.bias", StringComparison.Ordinal), tensor[0].Reshape(tensor.Shape[3]));
                tensors.Add(name.Replace("ffw_up.b", "up_proj.bias", StringComparison.Ordinal), tensor[1].Reshape(tensor.Shape[3]));
            }
            else if (name.EndsWith("conv_1d.weight", StringComparison.Ordinal))
            {
                tensors.Add(name, tensor.Transpose().Reshape(tensor.Shape[1], 1, tensor.Shape[0]));
            }
            else
            {
                tensors.Add(name, tensor);
            }
        }

        return tensors;
    }
}
