using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>The way back through a recurrent block, from the gradient of its product to that of its input.</summary>
internal sealed class RecurrentBackward(RecurrentBackwardKernels kernels, int width)
{
    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="gradients">Their gradients, added to.</param>
    /// <param name="tape">What the forward pass left.</param>
    /// <param name="buffers">Where gradients of intermediate results go.</param>
    /// <param name="outputGradient">Gradient of the block's product, [tokens, d].</param>
    /// <param name="inputGradient">Receives that of the normed input, [tokens, d].</param>
    public void Run(in Call call, RecurrentWeights weights, RecurrentWeights gradients, in LayerTape tape, TrainingBuffers buffers, TensorView outputGradient, TensorView inputGradient)
    {
        GpuStream stream = call.Stream;
        RecurrentBuffers forward = tape.Recurrent;
        TensorView workspace = buffers.Workspace;
        TensorView x = forward.Xy.ColumnRange(0, width), y = forward.Xy.ColumnRange(width, width);
        TensorView dx = buffers.XyGradient.ColumnRange(0, width), dy = buffers.XyGradient.ColumnRange(width, width);
        TensorView dz = buffers.ConvolvedGradient, dgates = buffers.GatesGradient;

        kernels.Out.Run(stream, outputGradient, forward.Mixed, weights.Out, buffers.MixedGradient, gradients.Out, workspace);
        kernels.Scan.Run(stream, call.Rows, forward.Convolved, forward.Gates, y, weights.YBias, weights.Lambda, forward.Hidden, buffers.MixedGradient,
            dz, dgates, dy, gradients.Lambda, workspace);
        kernels.Bias.Run(stream, dgates.ColumnRange(0, width), gradients.InputGateBias, workspace);
        kernels.Bias.Run(stream, dgates.ColumnRange(width, width), gradients.RecurrenceGateBias, workspace);
        kernels.Gates.Run(stream, forward.Convolved, weights.InputGate, weights.RecurrenceGate, dgates, dz, gradients.InputGate, gradients.RecurrenceGate, workspace);
        kernels.Conv.Run(stream, call.Rows, x, weights.XBias, weights.Conv, dz, dx, gradients.Conv, gradients.ConvBias, workspace);
        kernels.Bias.Run(stream, dx, gradients.XBias, workspace);
        kernels.Bias.Run(stream, dy, gradients.YBias, workspace);
        kernels.Xy.Run(stream, buffers.XyGradient, tape.Normed, weights.Xy, inputGradient, gradients.Xy, workspace);
    }
}
