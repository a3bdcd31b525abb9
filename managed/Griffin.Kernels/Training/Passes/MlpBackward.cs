using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>The way back through a gated MLP, from the gradient of its product to that of its input.</summary>
internal sealed class MlpBackward(BackwardKernels kernels)
{
    /// <param name="stream">The stream.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="gradients">Their gradients, added to.</param>
    /// <param name="tape">What the forward pass left; its product gate|up is overwritten by its gradient.</param>
    /// <param name="buffers">Where gradients of intermediate results go.</param>
    /// <param name="outputGradient">Gradient of the block's product, [tokens, d].</param>
    /// <param name="inputGradient">Receives that of the normed input, [tokens, d].</param>
    public void Run(GpuStream stream, LayerWeights weights, LayerWeights gradients, in LayerTape tape, TrainingBuffers buffers, TensorView outputGradient, TensorView inputGradient)
    {
        TensorView gateUpGradient = tape.Mlp.GateUp;
        kernels.Down.Run(stream, outputGradient, tape.Mlp.Hidden, weights.Down, buffers.HiddenGradient, gradients.Down, buffers.Workspace);
        kernels.GeluMultiply.Run(stream, tape.Mlp.GateUp, weights.GateUpBias, buffers.HiddenGradient, gateUpGradient);
        kernels.GateUpBias.Run(stream, gateUpGradient, gradients.GateUpBias, buffers.Workspace);
        kernels.GateUp.Run(stream, gateUpGradient, tape.MiddleNormed, weights.GateUp, inputGradient, gradients.GateUp, buffers.Workspace);
    }
}
