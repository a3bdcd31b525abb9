using Griffin.Kernels.Models;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Which tensors a configuration has, in file order, and their shapes: linear maps [out, in], K contiguous.</summary>
public static class WeightCatalogue
{
    private static readonly WeightKind[] recurrent =
    [
        WeightKind.LinearX, WeightKind.LinearXBias, WeightKind.LinearY, WeightKind.LinearYBias,
        WeightKind.Conv, WeightKind.ConvBias, WeightKind.Lambda,
        WeightKind.InputGate, WeightKind.InputGateBias, WeightKind.RecurrenceGate, WeightKind.RecurrenceGateBias,
        WeightKind.LinearOut, WeightKind.LinearOutBias,
    ];

    private static readonly WeightKind[] attention =
    [
        WeightKind.Query, WeightKind.Key, WeightKind.Value, WeightKind.AttentionOut, WeightKind.AttentionOutBias,
    ];

    private static readonly WeightKind[] mlp =
    [
        WeightKind.MlpGate, WeightKind.MlpGateBias, WeightKind.MlpUp, WeightKind.MlpUpBias, WeightKind.MlpDown, WeightKind.MlpDownBias,
    ];

    /// <summary>The tensors of the model: embedding, layers in order, final norm.</summary>
    public static IEnumerable<WeightName> Names(GriffinConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        yield return WeightName.Embedding;
        for (int layer = 0; layer < config.Layers; layer++)
        {
            yield return new WeightName(layer, WeightKind.TemporalNorm);
            foreach (WeightKind kind in config.KindOf(layer) == LayerKind.Attention ? attention : recurrent) yield return new WeightName(layer, kind);
            yield return new WeightName(layer, WeightKind.ChannelNorm);
            foreach (WeightKind kind in mlp) yield return new WeightName(layer, kind);
        }
        yield return WeightName.FinalNorm;
    }

    /// <summary>Whether the model has a tensor.</summary>
    public static bool Contains(GriffinConfig config, WeightName name)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (name.Kind is WeightKind.Embedding or WeightKind.FinalNorm) return name.Layer == WeightName.NoLayer;
        if (name.Layer < 0 || name.Layer >= config.Layers) return false;
        return name.Kind is WeightKind.TemporalNorm or WeightKind.ChannelNorm
            || mlp.Contains(name.Kind)
            || (config.KindOf(name.Layer) == LayerKind.Attention ? attention : recurrent).Contains(name.Kind);
    }

    /// <summary>The shape of a tensor, row-major.</summary>
    public static ValueList<int> ShapeOf(GriffinConfig config, WeightKind kind) =>
        ValueList.Create<int>([.. Dimensions(config, kind).Select(dimension => dimension.Size)]);

    /// <summary>The number of elements of a tensor.</summary>
    public static long ElementsOf(GriffinConfig config, WeightKind kind) => ElementsOf(Dimensions(config, kind));

    internal static long ElementsOf(ReadOnlySpan<Dimension> shape)
    {
        long elements = 1;
        foreach (Dimension dimension in shape) elements *= dimension.Size;
        return elements;
    }

    /// <summary>The shape of a tensor with, for messages, the key of config.json behind each extent.</summary>
    internal static Dimension[] Dimensions(GriffinConfig config, WeightKind kind)
    {
        ArgumentNullException.ThrowIfNull(config);
        Dimension width = new(config.Width, "hidden_size");
        Dimension rnn = new(config.RnnWidth, "lru_width");
        Dimension half = new(config.MlpWidth, "intermediate_size / 2");
        Dimension head = new(config.HeadDim, "head_dim");
        Dimension queries = new(config.Heads * config.HeadDim, "num_attention_heads · head_dim");
        Dimension blocks = new(config.GateBlocks, "num_gate_blocks");
        Dimension block = new(config.GateBlockWidth, "lru_width / num_gate_blocks");
        return kind switch
        {
            WeightKind.Embedding => [new(config.Vocabulary, "vocab_size"), width],
            WeightKind.LinearX or WeightKind.LinearY => [rnn, width],
            WeightKind.LinearXBias or WeightKind.LinearYBias or WeightKind.ConvBias or WeightKind.Lambda => [rnn],
            WeightKind.LinearOut => [width, rnn],
            WeightKind.Conv => [rnn, new(config.ConvTaps, "conv1d_width")],
            WeightKind.InputGate or WeightKind.RecurrenceGate => [blocks, block, block],
            WeightKind.InputGateBias or WeightKind.RecurrenceGateBias => [blocks, block],
            WeightKind.Query => [queries, width],
            WeightKind.Key or WeightKind.Value => [head, width],
            WeightKind.AttentionOut => [width, queries],
            WeightKind.MlpGate or WeightKind.MlpUp => [half, width],
            WeightKind.MlpGateBias or WeightKind.MlpUpBias => [half],
            WeightKind.MlpDown => [width, half],
            WeightKind.FinalNorm or WeightKind.TemporalNorm or WeightKind.ChannelNorm or WeightKind.LinearOutBias
                or WeightKind.AttentionOutBias or WeightKind.MlpDownBias => [width],
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "no such tensor"),
        };
    }
}

/// <summary>One extent of a tensor.</summary>
/// <param name="Size">The extent.</param>
/// <param name="Key">The key of config.json it comes from.</param>
internal readonly record struct Dimension(int Size, string Key);
