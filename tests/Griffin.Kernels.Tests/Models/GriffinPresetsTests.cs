using Griffin.Kernels.Models;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Presets against the parameter counts of the specification (§9.3, §13.1).</summary>
internal sealed class GriffinPresetsTests
{
    [TestCase("recurrentgemma-2b", 2_027_502_080, 655_360_000, 2_682_862_080)]
    [TestCase("recurrentgemma-9b", 7_531_401_216, 1_048_576_000, 8_579_977_216)]
    public void Released_models_have_the_published_counts(string name, long nonEmbedding, long embedding, long total)
    {
        GriffinConfig config = GriffinPresets.Get(name);
        Assert.That((config.NonEmbeddingParameters, config.EmbeddingParameters, config.Parameters), Is.EqualTo((nonEmbedding, embedding, total)));
    }

    // The paper's presets in the released code have as many gate blocks as heads.
    [TestCase("griffin-7b", 6_746_568_704, 7_795_144_704)]
    [TestCase("hawk-7b", 7_112_986_624, 8_161_562_624)]
    public void The_codes_paper_presets_differ_in_gate_blocks_only(string name, long nonEmbedding, long total)
    {
        GriffinConfig config = GriffinPresets.Get(name) with { GateBlocks = 32 };
        Assert.That((config.NonEmbeddingParameters, config.Parameters), Is.EqualTo((nonEmbedding, total)));
    }

    [TestCase("100m", 93.8, 89.3, 80.3)]
    [TestCase("200m", 173.7, 163.0, 141.7)]
    [TestCase("400m", 374.8, 355.3, 316.3)]
    [TestCase("1b", 1304, 1243, 1120)]
    [TestCase("3b", 2996, 2835, 2511)]
    [TestCase("7b", 7176, 6790, 5940)]
    [TestCase("14b", 14811, 13764, 11589)]
    public void Paper_sizes_have_the_published_counts(string size, double hawk, double griffin, double mqa)
    {
        double rounding = hawk < 1000 ? 0.0501 : 0.501;
        Assert.Multiple(() =>
        {
            Assert.That(GriffinPresets.Get($"hawk-{size}").NonEmbeddingParameters / 1e6, Is.EqualTo(hawk).Within(rounding));
            Assert.That(GriffinPresets.Get($"griffin-{size}").NonEmbeddingParameters / 1e6, Is.EqualTo(griffin).Within(rounding));
            Assert.That(GriffinPresets.Get($"mqa-{size}").NonEmbeddingParameters / 1e6, Is.EqualTo(mqa).Within(rounding));
        });
    }

    [Test]
    public void Every_preset_is_valid_and_there_are_23() =>
        Assert.Multiple(() =>
        {
            Assert.That(GriffinPresets.Names, Has.Count.EqualTo(23));
            foreach (string name in GriffinPresets.Names) Assert.That(() => GriffinPresets.Get(name).Validate(), Throws.Nothing, name);
        });

    [TestCase("recurrentgemma-2b", 18, 8)]
    [TestCase("recurrentgemma-9b", 26, 12)]
    [TestCase("griffin-7b", 22, 10)]
    [TestCase("griffin-14b", 27, 13)]
    [TestCase("hawk-1b", 24, 0)]
    [TestCase("mqa-1b", 0, 24)]
    public void The_pattern_is_cut_at_the_last_layer(string name, int recurrent, int attention)
    {
        GriffinConfig config = GriffinPresets.Get(name);
        Assert.That((config.RecurrentLayers, config.AttentionLayers), Is.EqualTo((recurrent, attention)));
    }

    [Test]
    public void Only_the_transformer_sees_everything() =>
        Assert.Multiple(() =>
        {
            Assert.That(GriffinPresets.Get("mqa-100m").Window, Is.Null);
            Assert.That(GriffinPresets.Get("griffin-100m").KeysVisible, Is.EqualTo(1025));
            Assert.That(GriffinPresets.Get("RecurrentGemma-2B").KeysVisible, Is.EqualTo(2049));
        });

    [Test]
    public void An_unknown_name_is_answered_with_the_known_ones() =>
        Assert.That(() => GriffinPresets.Get("gpt-2"), Throws.ArgumentException.With.Message.StartsWith("no preset is called 'gpt-2'; there are recurrentgemma-2b, "));
}
