using System.Text;
using System.Text.Json.Nodes;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Checkpoints;

internal sealed class ConfigFileTests
{
    private const string Least = """{"vocab_size": 11, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 80}""";

    [Test]
    public void The_shipped_configuration_is_read()
    {
        GriffinConfig config = ConfigFile.Read(Path.Combine(TestData.AustenTiny, "config.json"));
        Assert.That(config, Is.EqualTo(new GriffinConfig
        {
            Vocabulary = 384,
            Width = 192,
            RnnWidth = 192,
            Layers = 6,
            Heads = 3,
            HeadDim = 64,
            GateBlocks = 3,
            MlpWidth = 576,
            Window = 128,
        }));
        Assert.That(config.Parameters, Is.EqualTo(2_821_056));
    }

    [Test]
    public void Five_keys_are_enough() =>
        Assert.That(Parse(Least), Is.EqualTo(new GriffinConfig { Vocabulary = 11, Width = 24, Layers = 4, Heads = 2, MlpWidth = 40 }.Validate()));

    [TestCase("""{"attention_window_size": null}""", null, int.MaxValue)]
    [TestCase("{}", 2048, 2049)]
    [TestCase("""{"attention_window_size": 3}""", 3, 4)]
    [TestCase("""{"attention_window_size": 3, "keys_visible": 4}""", 3, 4)]
    [TestCase("""{"attention_window_size": 3, "keys_visible": 3}""", 3, 3)]
    [TestCase("""{"attention_window_size": 3, "keys_visible": "W"}""", 3, 3)]
    [TestCase("""{"attention_window_size": 3, "keys_visible": "W+1"}""", 3, 4)]
    [TestCase("""{"attention_window_size": 3, "keys_visible": null}""", 3, 4)]
    public void Window_and_visible_keys(string changes, int? window, int keys)
    {
        GriffinConfig config = Parse(With(changes));
        Assert.That((config.Window, config.KeysVisible), Is.EqualTo((window, keys)));
    }

    [TestCase("""{"block_types": ["attention", "recurrent"]}""")]
    [TestCase("""{"_block_types": ["attention", "recurrent"]}""")]
    public void Both_pattern_keys_are_read(string changes)
    {
        GriffinConfig config = Parse(With(changes));
        Assert.That(Enumerable.Range(0, 4).Select(config.KindOf), Is.EqualTo(new[] { LayerKind.Attention, LayerKind.Recurrent, LayerKind.Attention, LayerKind.Recurrent }));
    }

    [Test]
    public void Other_keys_are_read()
    {
        GriffinConfig config = Parse(With("""
            {"lru_width": 30, "head_dim": 8, "num_gate_blocks": 5, "conv1d_width": 3, "logits_soft_cap": null, "rms_norm_eps": 1e-5, "embeddings_scale_by_sqrt_dim": false,
             "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.25}, "bos_token_id": null, "eos_token_id": [1, 7], "pad_token_id": 3,
             "num_key_value_heads": 1, "hidden_activation": "gelu_pytorch_tanh", "model_type": "recurrent_gemma", "attention_bias": false}
            """));
        Assert.That(config, Is.EqualTo(new GriffinConfig
        {
            Vocabulary = 11,
            Width = 24,
            RnnWidth = 30,
            Layers = 4,
            Heads = 2,
            HeadDim = 8,
            GateBlocks = 5,
            MlpWidth = 40,
            ConvTaps = 3,
            LogitsSoftCap = 0,
            RmsNormEpsilon = 1e-5f,
            RopeTheta = 5000,
            PartialRotaryFactor = 0.25,
            EmbeddingScaleRule = EmbeddingScaleRule.None,
            BosToken = null,
            EosTokens = [1, 7],
            PadToken = 3,
        }));
    }

    [Test]
    public void Rope_keys_outside_the_nested_object_count_too() =>
        Assert.That(Parse(With("""{"rope_parameters": {"rope_theta": 5000.0}, "partial_rotary_factor": 1.0}""")) is { RopeTheta: 5000, PartialRotaryFactor: 1.0 }, Is.True);

    [TestCase("""{"vocab_size": null}""", "vocab_size is missing: it cannot be guessed")]
    [TestCase("""{"hidden_size": "24"}""", "hidden_size is \"24\": a whole number is needed")]
    [TestCase("""{"hidden_size": 24.5}""", "hidden_size is 24.5: a whole number is needed")]
    [TestCase("""{"num_hidden_layers": 0}""", "num_hidden_layers is 0: it must be positive")]
    [TestCase("""{"intermediate_size": 81}""", "intermediate_size is 81: it counts both halves of the gated MLP, so it must be even")]
    [TestCase("""{"num_attention_heads": 5}""", "hidden_size is 24, which num_attention_heads 5 does not divide: set head_dim")]
    [TestCase("""{"lru_width": 25}""", "lru_width is 25, which 2 gate blocks do not divide: set num_gate_blocks (default: num_attention_heads)")]
    [TestCase("""{"attention_window_size": 0}""", "attention_window_size is 0: it must be positive; null means global attention")]
    [TestCase("""{"attention_window_size": -1}""", "attention_window_size is -1: it must be positive; null means global attention")]
    [TestCase("""{"attention_window_size": 3, "keys_visible": 5}""", "keys_visible is 5: with attention_window_size 3 it must be 4 (the default) or 3")]
    [TestCase("""{"attention_window_size": 3, "keys_visible": "w"}""", "keys_visible is \"w\": it must be \"W\" or \"W+1\", or that number")]
    [TestCase("""{"attention_window_size": null, "keys_visible": 5}""", "keys_visible is set although attention_window_size is null (global attention): leave it out")]
    [TestCase("""{"num_key_value_heads": 2}""", "num_key_value_heads is 2: the family has multi-query attention, so it must be 1")]
    [TestCase("""{"attention_bias": true}""", "attention_bias is true: query, key and value products have no bias in this family")]
    [TestCase("""{"hidden_activation": "gelu"}""", "hidden_activation is \"gelu\", not \"gelu_pytorch_tanh\": only the tanh form of GELU is computed")]
    [TestCase("""{"model_type": "llama"}""", "model_type is \"llama\", not \"recurrent_gemma\": only this architecture is read")]
    [TestCase("""{"rope_parameters": {"rope_type": "yarn"}}""", "rope_type is \"yarn\", not \"default\": only plain rotary positions are computed")]
    [TestCase("""{"rope_parameters": 3}""", "rope_parameters is 3: an object is needed")]
    [TestCase("""{"block_types": ["mamba"]}""", "block_types holds \"mamba\": only \"recurrent\" and \"attention\" are known")]
    [TestCase("""{"_block_types": "recurrent"}""", "_block_types is \"recurrent\": a list of strings is needed")]
    [TestCase("""{"block_types": []}""", "block_types is empty: list \"recurrent\" and \"attention\" in layer order")]
    [TestCase("""{"logits_soft_cap": "30"}""", "logits_soft_cap is \"30\": a number is needed")]
    [TestCase("""{"embeddings_scale_by_sqrt_dim": 1}""", "embeddings_scale_by_sqrt_dim is 1: true or false is needed")]
    [TestCase("""{"embedding_scale_rounding": "float16"}""", "embedding_scale_rounding is \"float16\": it must be \"bfloat16\" or \"none\"")]
    [TestCase("""{"eos_token_id": [1, "x"]}""", "eos_token_id is [1,\"x\"]: a whole number or a list of them is needed")]
    [TestCase("""{"bos_token_id": 11}""", "bos_token_id is 11: it must be a token below vocab_size 11")]
    public void Each_mistake_has_its_line(string changes, string line) =>
        Assert.That(() => Parse(With(changes)), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"config.json: {line}"));

    [TestCase("", "config.json: is not valid JSON (line 1: ")]
    [TestCase("{\"vocab_size\": 11,\n oops}", "config.json: is not valid JSON (line 2: ")]
    [TestCase("{\"vocab_size\": 11, \"vocab_size\": 12}", "config.json: is not valid JSON (")]
    [TestCase("[1]", "config.json: holds a JSON array where an object is needed")]
    public void Broken_JSON_has_its_line(string text, string line)
    {
        CheckpointException error = Assert.Throws<CheckpointException>(() => Parse(text))!;
        Assert.That(error.Message, Does.StartWith(line).And.Not.Contain("\n"));
    }

    [Test]
    public void A_missing_file_has_its_line() =>
        Assert.That(() => ConfigFile.Read("/nowhere/config.json"), Throws.TypeOf<CheckpointException>().With.Message.EqualTo(
            "/nowhere/config.json: no such file: a checkpoint needs a config.json beside it, or a preset's name"));

    [Test]
    public void Every_preset_survives_writing_and_reading()
    {
        using TempFolder folder = new();
        Assert.Multiple(() =>
        {
            foreach (string name in GriffinPresets.Names) RoundTrip(folder, GriffinPresets.Get(name));
        });
    }

    [Test]
    public void Unusual_values_survive_writing_and_reading()
    {
        using TempFolder folder = new();
        GriffinConfig config = new()
        {
            Vocabulary = 11,
            Width = 24,
            RnnWidth = 20,
            Layers = 5,
            Heads = 2,
            HeadDim = 6,
            GateBlocks = 5,
            MlpWidth = 41,
            Window = 3,
            KeysRule = VisibleKeysRule.Window,
            ConvTaps = 2,
            LogitsSoftCap = 0.1f,
            RmsNormEpsilon = 3e-7f,
            RopeTheta = 12345.678,
            PartialRotaryFactor = 1.0 / 3,
            EmbeddingScaleRule = EmbeddingScaleRule.RootOfWidth,
            Pattern = [LayerKind.Attention, LayerKind.Recurrent],
            BosToken = null,
            EosTokens = [1, 7],
            PadToken = null,
        };
        RoundTrip(folder, config);
        RoundTrip(folder, config with { EosTokens = [] });
    }

    private static void RoundTrip(TempFolder folder, GriffinConfig config)
    {
        ConfigFile.Write(folder.File("config.json"), config, ElementType.BFloat16);
        Assert.That(ConfigFile.Read(folder.File("config.json")), Is.EqualTo(config.Validate()));
        Assert.That(Directory.GetFiles(folder.Path), Has.Length.EqualTo(1));
    }

    private static GriffinConfig Parse(string text) => ConfigFile.Parse(Encoding.UTF8.GetBytes(text), "config.json");

    /// <summary>The least configuration with some keys set.</summary>
    private static string With(string changes)
    {
        JsonObject config = JsonNode.Parse(Least)!.AsObject();
        foreach ((string key, JsonNode? value) in JsonNode.Parse(changes)!.AsObject()) config[key] = value?.DeepClone();
        return config.ToJsonString(new System.Text.Json.JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }
}
