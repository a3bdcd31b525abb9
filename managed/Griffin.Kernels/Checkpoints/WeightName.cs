namespace Griffin.Kernels.Checkpoints;

/// <summary>The tensors of a model of the family; shapes are those of <see cref="WeightCatalogue.ShapeOf"/>.</summary>
public enum WeightKind
{
    /// <summary>Embedding table and output head, [V, d].</summary>
    Embedding,

    /// <summary>Scale of the last norm, stored around 0, [d].</summary>
    FinalNorm,

    /// <summary>Scale of the norm before the temporal block, stored around 0, [d].</summary>
    TemporalNorm,

    /// <summary>Scale of the norm before the MLP, stored around 0, [d].</summary>
    ChannelNorm,

    /// <summary>Conv branch of a recurrent block, [l, d].</summary>
    LinearX,

    /// <summary>Bias of the conv branch, [l].</summary>
    LinearXBias,

    /// <summary>GELU branch of a recurrent block, [l, d].</summary>
    LinearY,

    /// <summary>Bias of the GELU branch, [l].</summary>
    LinearYBias,

    /// <summary>Output of a recurrent block, [d, l].</summary>
    LinearOut,

    /// <summary>Bias of a recurrent block's output, [d].</summary>
    LinearOutBias,

    /// <summary>Short convolution, [l, taps]; the last tap meets the current token.</summary>
    Conv,

    /// <summary>Bias of the short convolution, [l].</summary>
    ConvBias,

    /// <summary>The recurrence's Λ, [l].</summary>
    Lambda,

    /// <summary>Input gate, [blocks, b, b], each block [in, out].</summary>
    InputGate,

    /// <summary>Bias of the input gate, [blocks, b].</summary>
    InputGateBias,

    /// <summary>Recurrence gate, [blocks, b, b], each block [in, out].</summary>
    RecurrenceGate,

    /// <summary>Bias of the recurrence gate, [blocks, b].</summary>
    RecurrenceGateBias,

    /// <summary>Queries, [H·hd, d].</summary>
    Query,

    /// <summary>Keys, [hd, d].</summary>
    Key,

    /// <summary>Values, [hd, d].</summary>
    Value,

    /// <summary>Output of an attention block, [d, H·hd].</summary>
    AttentionOut,

    /// <summary>Bias of an attention block's output, [d].</summary>
    AttentionOutBias,

    /// <summary>GELU half of the MLP, [D, d].</summary>
    MlpGate,

    /// <summary>Bias of the GELU half, [D].</summary>
    MlpGateBias,

    /// <summary>Linear half of the MLP, [D, d].</summary>
    MlpUp,

    /// <summary>Bias of the linear half, [D].</summary>
    MlpUpBias,

    /// <summary>Output of the MLP, [d, D].</summary>
    MlpDown,

    /// <summary>Bias of the MLP's output, [d].</summary>
    MlpDownBias,
}

/// <summary>One tensor of a model.</summary>
/// <param name="Layer">The layer, from 0; <see cref="NoLayer"/> for the embedding and the final norm.</param>
/// <param name="Kind">Which tensor of the layer.</param>
public readonly record struct WeightName(int Layer, WeightKind Kind)
{
    /// <summary>The layer of tensors that belong to none.</summary>
    public const int NoLayer = -1;

    /// <summary>The embedding table.</summary>
    public static WeightName Embedding { get; } = new(NoLayer, WeightKind.Embedding);

    /// <summary>The last norm's scale.</summary>
    public static WeightName FinalNorm { get; } = new(NoLayer, WeightKind.FinalNorm);

    /// <inheritdoc/>
    public override string ToString() => Layer == NoLayer ? Kind.ToString() : $"{Kind} of layer {Layer}";
}
