using System.Globalization;

namespace Griffin.Kernels.Models;

/// <summary>What a configuration must satisfy, each rule with the one line that names the key, its value and the mend.</summary>
internal static class GriffinConfigRules
{
    /// <summary>No dimension of the family comes near this; products of two of them stay far from overflow.</summary>
    private const int LargestDimension = 1 << 24;

    /// <summary>The sampler's limit.</summary>
    private const int LargestVocabulary = 1 << 20;

    /// <summary>The attention kernels' limit.</summary>
    private const int LargestHeadDim = 1024;

    /// <summary>The first rule that <paramref name="config"/> breaks, as one line; null when it breaks none.</summary>
    internal static string? FindProblem(GriffinConfig config) =>
        Dimension("vocab_size", config.Vocabulary, LargestVocabulary)
        ?? Dimension("hidden_size", config.Width)
        ?? Dimension("num_hidden_layers", config.Layers)
        ?? Dimension("num_attention_heads", config.Heads)
        ?? Dimension("intermediate_size", config.MlpWidth)
        ?? Dimension("lru_width", config.RnnWidth)
        ?? Pattern(config)
        ?? HeadWidth(config)
        ?? Dimension("num_gate_blocks", config.GateBlocks)
        ?? GateBlocks(config)
        ?? Window(config)
        ?? (config.ConvTaps is < 1 or > 64 ? $"conv1d_width is {config.ConvTaps}: it must be between 1 and 64" : null)
        ?? Numbers(config)
        ?? Rotary(config)
        ?? Token("bos_token_id", config.BosToken, config)
        ?? Token("pad_token_id", config.PadToken, config)
        ?? config.EosTokens.Select(token => Token("eos_token_id", token, config)).FirstOrDefault(problem => problem is not null);

    private static string? Dimension(string key, int value, int largest = LargestDimension) =>
        value < 1 || value > largest ? $"{key} is {value}: it must be between 1 and {largest}" : null;

    private static string? HeadWidth(GriffinConfig config) => config.HeadDim == 0
        ? $"hidden_size is {config.Width}, which num_attention_heads {config.Heads} does not divide: set head_dim"
        : Dimension("head_dim", config.HeadDim, config.AttentionLayers > 0 ? LargestHeadDim : LargestDimension);

    private static string? Pattern(GriffinConfig config) =>
        config.Pattern.Count == 0 ? "block_types is empty: list \"recurrent\" and \"attention\" in layer order" : null;

    private static string? GateBlocks(GriffinConfig config) =>
        config.RecurrentLayers > 0 && config.RnnWidth % config.GateBlocks != 0
            ? $"lru_width is {config.RnnWidth}, which {config.GateBlocks} gate blocks do not divide: set num_gate_blocks (default: num_attention_heads)"
            : null;

    private static string? Window(GriffinConfig config) => config.Window is { } window
        ? window is < 1 or > int.MaxValue - 1
            ? $"attention_window_size is {window}: it must be positive; null means global attention"
            : null
        : config.KeysRule != VisibleKeysRule.WindowPlusOne
            ? "keys_visible is set although attention_window_size is null (global attention): leave it out"
            : null;

    private static string? Numbers(GriffinConfig config)
    {
        if (!float.IsFinite(config.LogitsSoftCap) || config.LogitsSoftCap < 0)
            return $"logits_soft_cap is {Text(config.LogitsSoftCap)}: it must be positive, or 0 or null for none";
        if (!float.IsFinite(config.RmsNormEpsilon) || config.RmsNormEpsilon <= 0)
            return $"rms_norm_eps is {Text(config.RmsNormEpsilon)}: it must be positive";
        return null;
    }

    private static string? Rotary(GriffinConfig config)
    {
        if (config.AttentionLayers > 0 && config.RopeTheta is not (> 1 and <= 1e15))
            return $"rope_theta is {Text(config.RopeTheta)}: it must be above 1 and at most 1e15";
        if (!double.IsFinite(config.RopeTheta) || config.RopeTheta <= 0)
            return $"rope_theta is {Text(config.RopeTheta)}: it must be positive";
        if (config.PartialRotaryFactor is not (>= 0 and <= 1))
            return $"partial_rotary_factor is {Text(config.PartialRotaryFactor)}: it must be between 0 and 1";
        if (config.RotatedDim % 2 != 0)
            return $"partial_rotary_factor {Text(config.PartialRotaryFactor)} of head_dim {config.HeadDim} rotates {config.RotatedDim} elements: the number must be even";
        return null;
    }

    private static string? Token(string key, int? token, GriffinConfig config) =>
        token is { } id && (id < 0 || id >= config.Vocabulary)
            ? $"{key} is {id}: it must be a token below vocab_size {config.Vocabulary}"
            : null;

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);
}
