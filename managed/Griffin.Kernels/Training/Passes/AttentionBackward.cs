using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>The way back through an attention block, from the gradient of its product to that of its input.</summary>
internal sealed class AttentionBackward(AttentionBackwardKernels kernels, AttentionKernels forwardKernels, int keysVisible)
{
    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="gradients">Their gradients, added to.</param>
    /// <param name="tape">What the forward pass left.</param>
    /// <param name="buffers">Where gradients of intermediate results go.</param>
    /// <param name="outputGradient">Gradient of the block's product, [tokens, d].</param>
    /// <param name="inputGradient">Receives that of the normed input, [tokens, d].</param>
    public void Run(in Call call, AttentionWeights weights, AttentionWeights gradients, in LayerTape tape, TrainingBuffers buffers, TensorView outputGradient, TensorView inputGradient)
    {
        GpuStream stream = call.Stream;
        AttentionBuffers forward = tape.Attention;
        kernels.Out.Run(stream, outputGradient, forward.Attended, weights.Out, buffers.AttendedGradient, gradients.Out, buffers.Workspace);
        kernels.Attend.Run(stream, call.Rows, forward.Qkv, keysVisible, forward.Attended, buffers.AttendedGradient, forward.LogSumExp, buffers.QkvGradient, buffers.Workspace);
        forwardKernels.Rotary.Run(stream, buffers.QkvGradient, call.Positions, forwardKernels.Phases, inverse: true);
        kernels.Qkv.Run(stream, buffers.QkvGradient, tape.Normed, weights.Qkv, inputGradient, gradients.Qkv, buffers.Workspace);
    }
}
