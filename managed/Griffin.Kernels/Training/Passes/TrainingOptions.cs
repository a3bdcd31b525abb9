using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>How the passes of a training run are computed.</summary>
/// <param name="Precision">Storage type of weights and activations.</param>
/// <param name="Rows">Rows of a micro-batch.</param>
/// <param name="Length">Tokens of a row.</param>
/// <param name="Recompute">Whether activations within a layer are computed again on the way back instead of kept.</param>
internal sealed record TrainingOptions(ElementType Precision, int Rows, int Length, bool Recompute)
{
    /// <summary>Float32 logits held at once; a larger micro-batch takes several rounds.</summary>
    public long LogitsBytes { get; init; } = 64L << 20;

    public int Tokens => checked(Rows * Length);

    /// <summary>Rows of logits held at once.</summary>
    public int LogitsRows(int vocabulary) => (int)Math.Clamp(LogitsBytes / sizeof(float) / vocabulary, 1, Tokens);
}
