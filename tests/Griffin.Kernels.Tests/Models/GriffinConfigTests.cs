using Griffin.Kernels.Models;

namespace Griffin.Kernels.Tests.Models;

internal sealed class GriffinConfigTests
{
    private static readonly GriffinConfig small = new() { Vocabulary = 11, Width = 24, Layers = 4, Heads = 2, MlpWidth = 40 };

    [TestCase(2560, 50.5f)]
    [TestCase(4096, 64f)]
    [TestCase(2048, 45.25f)]
    [TestCase(3072, 55.5f)]
    [TestCase(24, 4.90625f)]
    public void The_embedding_scale_is_the_root_rounded_to_bfloat16(int width, float scale) =>
        Assert.That((small with { Width = width }).EmbeddingScale, Is.EqualTo(scale));

    [Test]
    public void The_embedding_scale_can_be_exact_or_off() =>
        Assert.Multiple(() =>
        {
            Assert.That((small with { Width = 2560, EmbeddingScaleRule = EmbeddingScaleRule.RootOfWidth }).EmbeddingScale, Is.EqualTo(50.596443f));
            Assert.That((small with { EmbeddingScaleRule = EmbeddingScaleRule.None }).EmbeddingScale, Is.EqualTo(1f));
        });

    [Test]
    public void Absent_fields_follow_the_others()
    {
        GriffinConfig config = small.Validate();
        Assert.That((config.RnnWidth, config.HeadDim, config.GateBlocks, config.RotatedDim, config.KeysVisible), Is.EqualTo((24, 12, 2, 6, 2049)));
        Assert.That(config, Is.EqualTo((small with { RnnWidth = 24, HeadDim = 12, GateBlocks = 2 }).Validate()));
    }

    [Test]
    public void Configurations_are_equal_by_value()
    {
        GriffinConfig same = small with { Pattern = [LayerKind.Recurrent, LayerKind.Recurrent, LayerKind.Attention], EosTokens = [1] };
        Assert.That(same, Is.EqualTo(small));
        Assert.That(same.GetHashCode(), Is.EqualTo(small.GetHashCode()));
        Assert.That(small with { EosTokens = [1, 7] }, Is.Not.EqualTo(small));
    }

    private static IEnumerable<TestCaseData> Mistakes()
    {
        yield return Mistake(small with { Vocabulary = 0 }, "vocab_size is 0: it must be between 1 and 1048576");
        yield return Mistake(small with { Vocabulary = (1 << 20) + 1 }, "vocab_size is 1048577: it must be between 1 and 1048576");
        yield return Mistake(small with { Width = -3 }, "hidden_size is -3: it must be between 1 and 16777216");
        yield return Mistake(small with { Layers = 0 }, "num_hidden_layers is 0: it must be between 1 and 16777216");
        yield return Mistake(small with { Heads = 0 }, "num_attention_heads is 0: it must be between 1 and 16777216");
        yield return Mistake(small with { MlpWidth = 0 }, "intermediate_size is 0: it must be between 1 and 16777216");
        yield return Mistake(small with { Heads = 5 }, "hidden_size is 24, which num_attention_heads 5 does not divide: set head_dim");
        yield return Mistake(small with { HeadDim = 1025 }, "head_dim is 1025: it must be between 1 and 1024");
        yield return Mistake(small with { Width = 4096 }, "head_dim is 2048: it must be between 1 and 1024");
        yield return Mistake(small with { HeadDim = -2, Pattern = GriffinConfig.HawkPattern }, "head_dim is -2: it must be between 1 and 16777216");
        yield return Mistake(small with { RnnWidth = 25 }, "lru_width is 25, which 2 gate blocks do not divide: set num_gate_blocks (default: num_attention_heads)");
        yield return Mistake(small with { GateBlocks = 48 }, "lru_width is 24, which 48 gate blocks do not divide: set num_gate_blocks (default: num_attention_heads)");
        yield return Mistake(small with { Window = 0 }, "attention_window_size is 0: it must be positive; null means global attention");
        yield return Mistake(small with { Window = null, KeysRule = VisibleKeysRule.Window }, "keys_visible is set although attention_window_size is null (global attention): leave it out");
        yield return Mistake(small with { ConvTaps = 0 }, "conv1d_width is 0: it must be between 1 and 64");
        yield return Mistake(small with { LogitsSoftCap = -1 }, "logits_soft_cap is -1: it must be positive, or 0 or null for none");
        yield return Mistake(small with { LogitsSoftCap = float.NaN }, "logits_soft_cap is NaN: it must be positive, or 0 or null for none");
        yield return Mistake(small with { RmsNormEpsilon = 0 }, "rms_norm_eps is 0: it must be positive");
        yield return Mistake(small with { RopeTheta = double.NaN }, "rope_theta is NaN: it must be above 1 and at most 1e15");
        yield return Mistake(small with { RopeTheta = 1 }, "rope_theta is 1: it must be above 1 and at most 1e15");
        yield return Mistake(small with { RopeTheta = 1.5e15 }, "rope_theta is 1500000000000000: it must be above 1 and at most 1e15");
        yield return Mistake(small with { RopeTheta = 0, Pattern = GriffinConfig.HawkPattern }, "rope_theta is 0: it must be positive");
        yield return Mistake(small with { PartialRotaryFactor = 1.5 }, "partial_rotary_factor is 1.5: it must be between 0 and 1");
        yield return Mistake(small with { PartialRotaryFactor = 0.25 }, "partial_rotary_factor 0.25 of head_dim 12 rotates 3 elements: the number must be even");
        yield return Mistake(small with { Pattern = [] }, "block_types is empty: list \"recurrent\" and \"attention\" in layer order");
        yield return Mistake(small with { BosToken = 11 }, "bos_token_id is 11: it must be a token below vocab_size 11");
        yield return Mistake(small with { EosTokens = [1, -1] }, "eos_token_id is -1: it must be a token below vocab_size 11");
        static TestCaseData Mistake(GriffinConfig config, string line) => new TestCaseData(config, line).SetArgDisplayNames(line);
    }

    [TestCaseSource(nameof(Mistakes))]
    public void Each_mistake_has_its_line(GriffinConfig config, string line) =>
        Assert.That(config.Validate, Throws.ArgumentException.With.Message.EqualTo(line));

    private static IEnumerable<GriffinConfig> Limits()
    {
        yield return small with { Vocabulary = 1 << 20 };
        yield return small with { HeadDim = 1024 };
        yield return small with { RopeTheta = 1e15 };
        yield return small with { RopeTheta = Math.BitIncrement(1.0) };
        yield return small with { GateBlocks = 24 };
        yield return small with { HeadDim = 1028, RopeTheta = 0.5, Pattern = GriffinConfig.HawkPattern };
        yield return small with { GateBlocks = 5, Pattern = GriffinConfig.TransformerPattern };
    }

    [TestCaseSource(nameof(Limits))]
    public void The_limits_themselves_and_the_fields_of_absent_layers_are_allowed(GriffinConfig config) =>
        Assert.That(config.Validate, Throws.Nothing);
}
