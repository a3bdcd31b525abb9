using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// (RG-LRU(conv(x)) ⊙ GELU(y)) · Wo, with x|y = u · Wxyᵀ: the recurrent temporal block, without its output bias, which the next
/// residual add takes. One object serves all recurrent layers.
/// </summary>
internal sealed class RecurrentBlock(RecurrentKernels kernels, int width)
{
    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="hidden">The layer's recurrent states; none in training, whose rows are fresh.</param>
    /// <param name="tail">The layer's convolution tails, or none.</param>
    /// <param name="buffers">Where intermediate results go.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(in Call call, RecurrentWeights weights, LayerState hidden, LayerState tail, in RecurrentBuffers buffers, TensorView input, TensorView output)
    {
        kernels.Xy.Run(call.Stream, input, weights.Xy, buffers.Xy);
        Mix(call, weights, hidden, tail, buffers);
        kernels.Out.Run(call.Stream, buffers.Mixed, weights.Out, output);
    }

    /// <summary>Queues what lies between the block's two products: from <see cref="RecurrentBuffers.Xy"/> to <see cref="RecurrentBuffers.Mixed"/>.</summary>
    public void Mix(in Call call, RecurrentWeights weights, LayerState hidden, LayerState tail, in RecurrentBuffers buffers)
    {
        GpuStream stream = call.Stream;
        TensorView x = buffers.Xy.ColumnRange(0, width);
        TensorView y = buffers.Xy.ColumnRange(width, width);
        TensorView z = buffers.Convolved;

        if (call.Step)
        {
            kernels.ConvStep.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, z, tail);
            kernels.Gates.Run(stream, z, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate, weights.RecurrenceGateBias, buffers.Gates);
            kernels.ScanStep.Run(stream, call.Rows, z, buffers.Gates, y, weights.YBias, weights.Lambda, buffers.Mixed, hidden);
        }
        else if (tail.IsNone)
        {
            // Training: the way back needs z, the gates and h.
            kernels.ConvGates.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate,
                weights.RecurrenceGateBias, z, buffers.Gates, tail);
            kernels.Scan.Run(stream, call.Rows, z, buffers.Gates, y, weights.YBias, weights.Lambda, buffers.Mixed, hidden, buffers.Scratch, buffers.Hidden);
        }
        else
        {
            kernels.Mixer.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate,
                weights.RecurrenceGateBias, y, weights.YBias, weights.Lambda, buffers.Mixed, tail, hidden, z, buffers.Gates, buffers.Scratch);
            kernels.Conv.UpdateState(stream, call.Rows, x, weights.XBias, tail);
        }
    }
}
