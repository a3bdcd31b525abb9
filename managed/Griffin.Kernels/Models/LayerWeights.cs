using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>Views of one layer's weights, the parts of a product side by side.</summary>
internal sealed class LayerWeights
{
    public LayerWeights(WeightArena arena, int layer)
    {
        GriffinConfig config = arena.Config;
        long d = config.Width;
        TemporalNorm = Vector(WeightKind.TemporalNorm, d);
        ChannelNorm = Vector(WeightKind.ChannelNorm, d);
        GateUp = Matrix(WeightKind.MlpGate, 2L * config.MlpWidth, d);
        GateUpBias = Vector(WeightKind.MlpGateBias, 2L * config.MlpWidth);
        Down = Matrix(WeightKind.MlpDown, d, config.MlpWidth);
        DownBias = Vector(WeightKind.MlpDownBias, d);
        if (config.KindOf(layer) == LayerKind.Recurrent)
            Recurrent = new RecurrentWeights(config, Matrix);
        else
            Attention = new AttentionWeights(config, Matrix);

        TensorView Vector(WeightKind kind, long length) => Matrix(kind, 1, length);
        TensorView Matrix(WeightKind kind, long rows, long columns) => arena.View(new WeightName(layer, kind), rows, columns);
    }

    /// <summary>Scale before the temporal block, [d].</summary>
    public TensorView TemporalNorm { get; }

    /// <summary>Scale before the MLP, [d].</summary>
    public TensorView ChannelNorm { get; }

    /// <summary>gate|up, [2D, d].</summary>
    public TensorView GateUp { get; }

    /// <summary>gate|up bias, [2D].</summary>
    public TensorView GateUpBias { get; }

    /// <summary>[d, D].</summary>
    public TensorView Down { get; }

    /// <summary>[d].</summary>
    public TensorView DownBias { get; }

    /// <summary>Set in recurrent layers.</summary>
    public RecurrentWeights? Recurrent { get; }

    /// <summary>Set in attention layers.</summary>
    public AttentionWeights? Attention { get; }
}

/// <summary>Views of a recurrent block's weights.</summary>
internal sealed class RecurrentWeights(GriffinConfig config, Func<WeightKind, long, long, TensorView> view)
{
    /// <summary>x|y, [2l, d].</summary>
    public TensorView Xy { get; } = view(WeightKind.LinearX, 2L * config.RnnWidth, config.Width);

    /// <summary>[l].</summary>
    public TensorView XBias { get; } = view(WeightKind.LinearXBias, 1, config.RnnWidth);

    /// <summary>[l].</summary>
    public TensorView YBias { get; } = view(WeightKind.LinearYBias, 1, config.RnnWidth);

    /// <summary>[l, taps].</summary>
    public TensorView Conv { get; } = view(WeightKind.Conv, config.RnnWidth, config.ConvTaps);

    /// <summary>[l].</summary>
    public TensorView ConvBias { get; } = view(WeightKind.ConvBias, 1, config.RnnWidth);

    /// <summary>[blocks · b, b], each block [in, out].</summary>
    public TensorView InputGate { get; } = view(WeightKind.InputGate, config.RnnWidth, config.GateBlockWidth);

    /// <summary>[l].</summary>
    public TensorView InputGateBias { get; } = view(WeightKind.InputGateBias, 1, config.RnnWidth);

    /// <summary>[blocks · b, b], each block [in, out].</summary>
    public TensorView RecurrenceGate { get; } = view(WeightKind.RecurrenceGate, config.RnnWidth, config.GateBlockWidth);

    /// <summary>[l].</summary>
    public TensorView RecurrenceGateBias { get; } = view(WeightKind.RecurrenceGateBias, 1, config.RnnWidth);

    /// <summary>[l].</summary>
    public TensorView Lambda { get; } = view(WeightKind.Lambda, 1, config.RnnWidth);

    /// <summary>[d, l].</summary>
    public TensorView Out { get; } = view(WeightKind.LinearOut, config.Width, config.RnnWidth);

    /// <summary>[d].</summary>
    public TensorView OutBias { get; } = view(WeightKind.LinearOutBias, 1, config.Width);
}

/// <summary>Views of an attention block's weights.</summary>
internal sealed class AttentionWeights(GriffinConfig config, Func<WeightKind, long, long, TensorView> view)
{
    /// <summary>query|key|value, [(H + 2)·hd, d].</summary>
    public TensorView Qkv { get; } = view(WeightKind.Query, (config.Heads + 2L) * config.HeadDim, config.Width);

    /// <summary>[d, H·hd].</summary>
    public TensorView Out { get; } = view(WeightKind.AttentionOut, config.Width, (long)config.Heads * config.HeadDim);

    /// <summary>[d].</summary>
    public TensorView OutBias { get; } = view(WeightKind.AttentionOutBias, 1, config.Width);
}
