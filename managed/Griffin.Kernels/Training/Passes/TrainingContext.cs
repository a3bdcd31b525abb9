using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>What the parts of a training pass share: kernels, weights with their gradients, activations, inputs.</summary>
internal sealed class TrainingContext
{
    public TrainingContext(ModelKernels forward, BackwardKernels backward, TrainingWeights weights, TrainingBuffers buffers, MicroBatchInputs inputs)
    {
        (Config, Forward, Backward, Buffers, Inputs) = (forward.Config, forward, backward, buffers, inputs);
        Layers = Views(weights.Weights);
        Gradients = Views(weights.Gradients);
        Embedding = weights.Weights.View(WeightName.Embedding, Config.Vocabulary, Config.Width);
        EmbeddingGradient = weights.Gradients.View(WeightName.Embedding, Config.Vocabulary, Config.Width);
        FinalNorm = weights.Weights.View(WeightName.FinalNorm, 1, Config.Width);
        FinalNormGradient = weights.Gradients.View(WeightName.FinalNorm, 1, Config.Width);
    }

    public GriffinConfig Config { get; }

    public ModelKernels Forward { get; }

    public BackwardKernels Backward { get; }

    public TrainingBuffers Buffers { get; }

    public MicroBatchInputs Inputs { get; }

    public LayerWeights[] Layers { get; }

    /// <summary>Float32 gradients, of the same shapes as <see cref="Layers"/>.</summary>
    public LayerWeights[] Gradients { get; }

    public TensorView Embedding { get; }

    public TensorView EmbeddingGradient { get; }

    public TensorView FinalNorm { get; }

    public TensorView FinalNormGradient { get; }

    /// <summary>The pass over the micro-batch that the inputs hold.</summary>
    public Call Call(GpuStream stream) => new(stream, Inputs.Rows, Inputs.Tokens, Inputs.Positions, Step: false);

    /// <summary>Scale of the norm that follows layer <paramref name="layer"/>.</summary>
    public TensorView NormAfter(int layer) => layer + 1 < Layers.Length ? Layers[layer + 1].TemporalNorm : FinalNorm;

    private static LayerWeights[] Views(WeightArena arena) => [.. Enumerable.Range(0, arena.Config.Layers).Select(layer => new LayerWeights(arena, layer))];
}
