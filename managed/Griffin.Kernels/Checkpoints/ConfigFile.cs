using System.Text.Json;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// Reads and writes <c>config.json</c> in RecurrentGemma's Hugging Face vocabulary, with three extension keys:
/// <c>num_gate_blocks</c> (default: heads), <c>keys_visible</c> (W + 1 by default; W or W + 1 as a number, or the strings "W" and
/// "W+1"), and <c>embedding_scale_rounding</c> ("bfloat16" by default; "none" keeps √d in float32).
/// </summary>
public static class ConfigFile
{
    /// <summary>The file's name inside a checkpoint folder.</summary>
    public const string FileName = "config.json";

    /// <summary>Reads a configuration.</summary>
    /// <param name="path">The file.</param>
    /// <returns>A validated configuration.</returns>
    /// <exception cref="CheckpointException">The file is missing, is no JSON, or a key is missing or wrong.</exception>
    public static GriffinConfig Read(string path) => 
        Parse(JsonFile.ReadBytes(path, ": a checkpoint needs a config.json beside it, or a preset's name"), path);

    /// <summary>Reads a configuration from JSON text.</summary>
    /// <param name="utf8">The text, in UTF-8.</param>
    /// <param name="source">What to call the text in messages.</param>
    /// <returns>A validated configuration.</returns>
    /// <exception cref="CheckpointException">The text is no JSON, or a key is missing or wrong.</exception>
    public static GriffinConfig Parse(ReadOnlyMemory<byte> utf8, string source)
    {
        using JsonDocument document = JsonFile.Parse(utf8, source);
        JsonKeys keys = new(JsonFile.RootObject(document, source), source);
        RefuseOtherArchitectures(keys);

        int? window = keys.Has("attention_window_size") ? keys.OptionalPositive("attention_window_size", "null means global attention") : 2048;
        JsonKeys rope = keys.Object("rope_parameters") ?? keys;
        GriffinConfig config = new()
        {
            Vocabulary = keys.Positive("vocab_size"),
            Width = keys.Positive("hidden_size"),
            Layers = keys.Positive("num_hidden_layers"),
            Heads = keys.Positive("num_attention_heads"),
            MlpWidth = MlpWidth(keys),
            RnnWidth = keys.OptionalPositive("lru_width") ?? 0,
            HeadDim = keys.OptionalPositive("head_dim") ?? 0,
            GateBlocks = keys.OptionalPositive("num_gate_blocks") ?? 0,
            Window = window,
            KeysRule = KeysRule(keys, window),
            ConvTaps = keys.OptionalPositive("conv1d_width") ?? 4,
            LogitsSoftCap = keys.Has("logits_soft_cap") ? (float)(keys.OptionalNumber("logits_soft_cap") ?? 0) : 30f,
            RmsNormEpsilon = (float)(keys.OptionalNumber("rms_norm_eps") ?? 1e-6),
            RopeTheta = rope.OptionalNumber("rope_theta") ?? keys.OptionalNumber("rope_theta") ?? 10000.0,
            PartialRotaryFactor = rope.OptionalNumber("partial_rotary_factor") ?? keys.OptionalNumber("partial_rotary_factor") ?? 0.5,
            EmbeddingScaleRule = EmbeddingScale(keys),
            Pattern = Pattern(keys),
            BosToken = keys.Has("bos_token_id") ? keys.OptionalInteger("bos_token_id") : 2,
            EosTokens = keys.Has("eos_token_id") ? keys.IntegerOrList("eos_token_id") : [1],
            PadToken = keys.Has("pad_token_id") ? keys.OptionalInteger("pad_token_id") : 0,
        };
        try
        {
            return config.Validate();
        }
        catch (ArgumentException problem)
        {
            throw new CheckpointException(source, problem.Message, problem);
        }
    }

    /// <summary>Writes a configuration; the file appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="config">What to write.</param>
    /// <param name="storage">The element type of the tensors beside it (<c>torch_dtype</c>).</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, GriffinConfig config, ElementType storage)
    {
        config = config.Validate();
        using AtomicFile file = AtomicFile.Create(path);
        using (Utf8JsonWriter json = new(file.Stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            WriteMembers(json, config);
            json.WriteString("torch_dtype", SafetensorsTypes.TorchName(storage));
            json.WriteEndObject();
        }
        file.Commit();
    }

    /// <summary>Writes what describes the model, as members of the object that is open.</summary>
    internal static void WriteMembers(Utf8JsonWriter json, GriffinConfig config)
    {
        WriteShape(json, config);
        WriteNumerics(json, config);
        WriteTokens(json, config);
    }

    private static void RefuseOtherArchitectures(JsonKeys keys)
    {
        keys.Require("model_type", "recurrent_gemma", "only this architecture is read");
        keys.Require("hidden_activation", "gelu_pytorch_tanh", "only the tanh form of GELU is computed");
        keys.Require("hidden_act", "gelu_pytorch_tanh", "only the tanh form of GELU is computed");
        keys.Object("rope_parameters")?.Require("rope_type", "default", "only plain rotary positions are computed");
        if (keys.OptionalBoolean("attention_bias") == true)
            throw keys.Error("attention_bias is true: query, key and value products have no bias in this family");
        if (keys.OptionalInteger("num_key_value_heads") is { } heads and not 1)
            throw keys.Error($"num_key_value_heads is {heads}: the family has multi-query attention, so it must be 1");
    }

    private static int MlpWidth(JsonKeys keys)
    {
        int both = keys.Positive("intermediate_size");
        return both % 2 == 0 ? both / 2 : throw keys.Error($"intermediate_size is {both}: it counts both halves of the gated MLP, so it must be even");
    }

    private static VisibleKeysRule KeysRule(JsonKeys keys, int? window)
    {
        if (keys.OptionalString("keys_visible") is { } name)
        {
            return name switch
            {
                "W" => VisibleKeysRule.Window,
                "W+1" => VisibleKeysRule.WindowPlusOne,
                _ => throw keys.Error($"keys_visible is \"{name}\": it must be \"W\" or \"W+1\", or that number"),
            };
        }
        if (keys.OptionalInteger("keys_visible") is not { } count) return VisibleKeysRule.WindowPlusOne;
        if (window is not { } w)
            throw keys.Error("keys_visible is set although attention_window_size is null (global attention): leave it out");
        if (count == w) return VisibleKeysRule.Window;
        return count == w + 1
            ? VisibleKeysRule.WindowPlusOne
            : throw keys.Error($"keys_visible is {count}: with attention_window_size {w} it must be {w + 1L} (the default) or {w}");
    }

    private static EmbeddingScaleRule EmbeddingScale(JsonKeys keys)
    {
        if (keys.OptionalBoolean("embeddings_scale_by_sqrt_dim") == false) return EmbeddingScaleRule.None;
        return keys.OptionalString("embedding_scale_rounding") switch
        {
            null or "bfloat16" => EmbeddingScaleRule.RoundedRootOfWidth,
            "none" => EmbeddingScaleRule.RootOfWidth,
            string other => throw keys.Error($"embedding_scale_rounding is \"{other}\": it must be \"bfloat16\" or \"none\""),
        };
    }

    private static ValueList<LayerKind> Pattern(JsonKeys keys)
    {
        string key = keys.Has("block_types") ? "block_types" : "_block_types";
        if (keys.OptionalStrings(key) is not { } names) return GriffinConfig.GriffinPattern;
        LayerKind[] kinds = new LayerKind[names.Count];
        for (int i = 0; i < kinds.Length; i++)
        {
            kinds[i] = names[i] switch
            {
                "recurrent" => LayerKind.Recurrent,
                "attention" => LayerKind.Attention,
                string other => throw keys.Error($"{key} holds \"{other}\": only \"recurrent\" and \"attention\" are known"),
            };
        }
        return ValueList.Create<LayerKind>(kinds);
    }

    private static void WriteShape(Utf8JsonWriter json, GriffinConfig config)
    {
        json.WriteStartArray("architectures");
        json.WriteStringValue("RecurrentGemmaForCausalLM");
        json.WriteEndArray();
        json.WriteString("model_type", "recurrent_gemma");
        json.WriteNumber("vocab_size", config.Vocabulary);
        json.WriteNumber("hidden_size", config.Width);
        json.WriteNumber("intermediate_size", 2 * config.MlpWidth);
        json.WriteNumber("num_hidden_layers", config.Layers);
        json.WriteNumber("num_attention_heads", config.Heads);
        json.WriteNumber("num_key_value_heads", 1);
        json.WriteNumber("head_dim", config.HeadDim);
        json.WriteNumber("lru_width", config.RnnWidth);
        if (config.GateBlocks != config.Heads) json.WriteNumber("num_gate_blocks", config.GateBlocks);
        if (config.Window is { } window) json.WriteNumber("attention_window_size", window);
        else json.WriteNull("attention_window_size");
        if (config.KeysRule == VisibleKeysRule.Window) json.WriteNumber("keys_visible", config.KeysVisible);
        json.WriteNumber("conv1d_width", config.ConvTaps);
        json.WriteStartArray("block_types");
        foreach (LayerKind kind in config.Pattern) json.WriteStringValue(kind == LayerKind.Recurrent ? "recurrent" : "attention");
        json.WriteEndArray();
    }

    private static void WriteNumerics(Utf8JsonWriter json, GriffinConfig config)
    {
        json.WriteNumber("logits_soft_cap", config.LogitsSoftCap);
        json.WriteNumber("rms_norm_eps", config.RmsNormEpsilon);
        json.WriteNumber("rope_theta", config.RopeTheta);
        json.WriteNumber("partial_rotary_factor", config.PartialRotaryFactor);
        json.WriteString("hidden_activation", "gelu_pytorch_tanh");
        json.WriteBoolean("attention_bias", false);
        json.WriteBoolean("embeddings_scale_by_sqrt_dim", config.EmbeddingScaleRule != EmbeddingScaleRule.None);
        if (config.EmbeddingScaleRule == EmbeddingScaleRule.RootOfWidth) json.WriteString("embedding_scale_rounding", "none");
    }

    private static void WriteTokens(Utf8JsonWriter json, GriffinConfig config)
    {
        WriteToken(json, "bos_token_id", config.BosToken);
        WriteToken(json, "pad_token_id", config.PadToken);
        if (config.EosTokens.Count == 1)
        {
            json.WriteNumber("eos_token_id", config.EosTokens[0]);
            return;
        }
        json.WriteStartArray("eos_token_id");
        foreach (int token in config.EosTokens) json.WriteNumberValue(token);
        json.WriteEndArray();
    }

    private static void WriteToken(Utf8JsonWriter json, string key, int? token)
    {
        if (token is { } id) json.WriteNumber(key, id);
        else json.WriteNull(key);
    }
}
