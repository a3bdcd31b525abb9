using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>Where a recurrent block puts what lies between its kernels; a training pass keeps it for the way back.</summary>
/// <param name="Xy">Product x|y, [tokens, 2l].</param>
/// <param name="Convolved">The convolution's result z, [tokens, l].</param>
/// <param name="Gates">Input and recurrence gate logits, [tokens, 2l].</param>
/// <param name="Mixed">h ⊙ GELU(y), [tokens, l].</param>
/// <param name="Scratch">Workspace of the scan.</param>
internal readonly record struct RecurrentBuffers(TensorView Xy, TensorView Convolved, TensorView Gates, TensorView Mixed, TensorView Scratch)
{
    /// <summary>Receives h, [tokens, l]; empty where nobody asks for it.</summary>
    public TensorView Hidden { get; init; }
}

/// <summary>Where an attention block puts what lies between its kernels.</summary>
/// <param name="Qkv">Queries, key and value, rotated in place, [tokens, (H + 2)·hd].</param>
/// <param name="Attended">The heads' outputs, [tokens, H·hd].</param>
/// <param name="Scratch">Workspace of decode attention.</param>
/// <param name="Arrivals">Counters of decode attention.</param>
internal readonly record struct AttentionBuffers(TensorView Qkv, TensorView Attended, TensorView Scratch, TensorView Arrivals)
{
    /// <summary>Receives the logarithm of each softmax sum, float32 [tokens, H]; empty where nobody asks for it.</summary>
    public TensorView LogSumExp { get; init; }
}

/// <summary>Where a gated MLP puts what lies between its kernels.</summary>
/// <param name="GateUp">Product gate|up, [tokens, 2D].</param>
/// <param name="Hidden">GELU(gate) ⊙ up, [tokens, D].</param>
internal readonly record struct MlpBuffers(TensorView GateUp, TensorView Hidden);
