namespace Griffin.Kernels.Training;

/// <summary>Device bytes of a training run, known before anything is allocated.</summary>
/// <param name="Weights">Weights in the storage type.</param>
/// <param name="Gradients">Their float32 gradients.</param>
/// <param name="Optimizer">Float32 master copy and moments.</param>
/// <param name="Activations">Activations, their gradients and scratch of one micro-batch.</param>
/// <param name="Other">Inputs, losses, tables, cuBLAS's workspace.</param>
public sealed record MemoryBudget(long Weights, long Gradients, long Optimizer, long Activations, long Other)
{
    /// <summary>All of it.</summary>
    public long Total => Weights + Gradients + Optimizer + Activations + Other;
}
