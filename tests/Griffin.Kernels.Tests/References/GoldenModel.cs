using System.Text.Json;
namespace Griffin.Kernels.Tests.References;

/// <summary>The small model of the specification's Appendix A: its generated weights, inputs and configuration.</summary>
internal static class GoldenModel
{
    public const int Vocabulary = 11;
    public const int Width = 24;
    public const int Expanded = 40;
    public const int Heads = 2;
    public const int HeadDim = 12;
    public const int RnnWidth = 20;
    public const int Window = 3;
    public const double EmbeddingScale = 4.90625;
    public const double SoftCap = 5;

    /// <summary>Two rows of ten tokens.</summary>
    public static int[][] Tokens { get; } = [[1, 8, 4, 0, 7, 3, 10, 6, 2, 9], [4, 0, 7, 3, 10, 6, 2, 9, 5, 1]];

    /// <summary>Their positions: one document, then two.</summary>
    public static int[][] Positions { get; } = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]];

    /// <summary>The token whose likelihood the published loss takes at a place.</summary>
    public static int Target(int row, int token) => ((5 * Tokens[row][token]) + 3) % Vocabulary;

    /// <summary>Tokens of the five decode steps after the prefill, one per row and step.</summary>
    public static int[][] DecodeTokens { get; } = [[4, 6], [1, 0], [8, 3], [10, 7], [9, 5]];

    /// <summary>Kinds of the four blocks.</summary>
    public static string[] Blocks { get; } = ["recurrent", "recurrent", "attention", "recurrent"];

    /// <summary>The weights under their native names and layouts, in ordinal order of names.</summary>
    public static SortedDictionary<string, TestTensor> NativeTensors { get; } = Generate();

    /// <summary>The same weights under Hugging Face names and layouts.</summary>
    public static Dictionary<string, TestTensor> HuggingFaceTensors { get; } = NativeNames.ToHuggingFace(NativeTensors);

    public static ReferenceModel Reference(int keysVisible = Window + 1) =>
        new(new ReferenceConfig(Heads, keysVisible, EmbeddingScale, SoftCap), HuggingFaceTensors);

    /// <summary>Writes <c>config.json</c> and <c>model.safetensors</c> into a folder, with Hugging Face or native names.</summary>
    public static void Write(string folder, int keysVisible = Window + 1, bool native = false, bool bf16 = false)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), Config(keysVisible));
        IEnumerable<KeyValuePair<string, TestTensor>> tensors = native ? NativeTensors : HuggingFaceTensors;
        TestSafetensors.Write(Path.Combine(folder, "model.safetensors"), tensors, bf16);
    }

    /// <summary>The model's config.json.</summary>
    public static string Config(int keysVisible = Window + 1) => Config(Blocks, Window, keysVisible);

    /// <summary>The config.json of a model with the same sizes and other blocks; a null window is global attention.</summary>
    public static string Config(string[] blocks, int? window, int? keysVisible) => JsonSerializer.Serialize(new Dictionary<string, object?>
    {
        ["architectures"] = new[] { "RecurrentGemmaForCausalLM" },
        ["model_type"] = "recurrent_gemma",
        ["vocab_size"] = Vocabulary,
        ["hidden_size"] = Width,
        ["intermediate_size"] = 2 * Expanded,
        ["lru_width"] = RnnWidth,
        ["num_hidden_layers"] = blocks.Length,
        ["num_attention_heads"] = Heads,
        ["num_key_value_heads"] = 1,
        ["head_dim"] = HeadDim,
        ["attention_window_size"] = window,
        ["keys_visible"] = keysVisible,
        ["conv1d_width"] = 4,
        ["logits_soft_cap"] = SoftCap,
        ["rms_norm_eps"] = 1e-6,
        ["rope_theta"] = 10000.0,
        ["partial_rotary_factor"] = 0.5,
        ["block_types"] = blocks,
        ["embeddings_scale_by_sqrt_dim"] = true,
        ["bos_token_id"] = 2,
        ["eos_token_id"] = 1,
        ["pad_token_id"] = 0,
        ["torch_dtype"] = "float32",
    });

    private static SortedDictionary<string, TestTensor> Generate()
    {
        var tensors = new SortedDictionary<string, TestTensor>(StringComparer.Ordinal);
        uint number = 0;
        foreach (var (name, shape) in Shapes().OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            number++;
            var (offset, scale) = Range(name);
            var seed = unchecked(number * 2654435761u);
            var values = new double[shape.Aggregate(1, (product, n) => product * n)];
            for (var i = 0; i < values.Length; i++)
            {
                seed = unchecked((1664525u * seed) + 1013904223u);
                values[i] = offset + (scale * ((2 * (seed >> 8) / 16777216.0) - 1));
            }

            tensors.Add(name, new TestTensor(shape, values));
        }

        return tensors;
    }

    private static (double Offset, double Scale) Range(string name) => name switch
    {
        _ when name.EndsWith("a_param", StringComparison.Ordinal) => (-3, 2),
        _ when name.EndsWith(".scale", StringComparison.Ordinal) => (0, 0.2),
        _ when name.EndsWith(".b", StringComparison.Ordinal) || name.EndsWith(".bias", StringComparison.Ordinal) => (0, 0.1),
        _ when name.EndsWith("conv_1d.w", StringComparison.Ordinal) => (0, 0.6),
        _ when name.EndsWith("input_embedding", StringComparison.Ordinal) => (0, 0.4),
        _ => (0, 0.35),
    };

    private static IEnumerable<(string Name, int[] Shape)> Shapes()
    {
        yield return ("embedder.input_embedding", [Vocabulary, Width]);
        yield return ("final_norm.scale", [Width]);
        for (var i = 0; i < Blocks.Length; i++)
        {
            var block = $"blocks.{i}.";
            yield return (block + "temporal_pre_norm.scale", [Width]);
            yield return (block + "channel_pre_norm.scale", [Width]);
            yield return (block + "mlp_block.ffw_up.w", [2, Width, Expanded]);
            yield return (block + "mlp_block.ffw_up.b", [2, 1, 1, Expanded]);
            yield return (block + "mlp_block.ffw_down.weight", [Width, Expanded]);
            yield return (block + "mlp_block.ffw_down.bias", [Width]);
            foreach (var (name, shape) in Blocks[i] == "attention" ? AttentionShapes() : RecurrentShapes())
                yield return (block + name, shape);
        }
    }

    private static IEnumerable<(string Name, int[] Shape)> AttentionShapes() =>
    [
        ("attention_block.proj_q.weight", [Heads * HeadDim, Width]),
        ("attention_block.proj_k.weight", [HeadDim, Width]),
        ("attention_block.proj_v.weight", [HeadDim, Width]),
        ("attention_block.proj_final.weight", [Width, Heads * HeadDim]),
        ("attention_block.proj_final.bias", [Width]),
    ];

    private static IEnumerable<(string Name, int[] Shape)> RecurrentShapes() =>
    [
        ("recurrent_block.linear_x.weight", [RnnWidth, Width]),
        ("recurrent_block.linear_x.bias", [RnnWidth]),
        ("recurrent_block.linear_y.weight", [RnnWidth, Width]),
        ("recurrent_block.linear_y.bias", [RnnWidth]),
        ("recurrent_block.linear_out.weight", [Width, RnnWidth]),
        ("recurrent_block.linear_out.bias", [Width]),
        ("recurrent_block.conv_1d.w", [4, RnnWidth]),
        ("recurrent_block.conv_1d.b", [RnnWidth]),
        ("recurrent_block.rg_lru.a_param", [RnnWidth]),
        ("recurrent_block.rg_lru.a_gate.w", [Heads, RnnWidth / Heads, RnnWidth / Heads]),
        ("recurrent_block.rg_lru.a_gate.b", [Heads, RnnWidth / Heads]),
        ("recurrent_block.rg_lru.input_gate.w", [Heads, RnnWidth / Heads, RnnWidth / Heads]),
        ("recurrent_block.rg_lru.input_gate.b", [Heads, RnnWidth / Heads]),
    ];
}
