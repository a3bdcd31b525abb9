using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The gated MLP, (GELU(gate) ⊙ up) · Wd, without its output bias, which the next residual add takes.</summary>
internal sealed class MlpBlock(ModelKernels kernels)
{
    /// <param name="stream">The stream.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="buffers">Where intermediate results go.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(GpuStream stream, LayerWeights weights, in MlpBuffers buffers, TensorView input, TensorView output)
    {
        if (kernels.GatedMatMul is { } fused && fused.PaysFor((int)input.Rows)) fused.Run(stream, input, weights.GateUp, weights.GateUpBias, buffers.Hidden);
        else RunHidden(stream, weights, buffers, input);
        kernels.Down.Run(stream, buffers.Hidden, weights.Down, output);
    }

    /// <summary>Queues everything but the last product, and keeps gate|up, which training needs on the way back.</summary>
    public void RunHidden(GpuStream stream, LayerWeights weights, in MlpBuffers buffers, TensorView input)
    {
        kernels.GateUp.Run(stream, input, weights.GateUp, buffers.GateUp);
        kernels.GeluMultiply.Run(stream, buffers.GateUp, weights.GateUpBias, buffers.Hidden);
    }
}
