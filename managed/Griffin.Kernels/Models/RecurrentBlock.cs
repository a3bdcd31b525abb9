using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// (RG-LRU(conv(x)) ⊙ GELU(y)) · Wo, with x|y = u · Wxyᵀ: the recurrent temporal block, without its output bias, which the next
/// residual add takes. One object serves all recurrent layers of a session.
/// </summary>
internal sealed class RecurrentBlock
{
    private readonly Activations _activations;
    private readonly int _width;
    private readonly RecurrentKernels _kernels;

    public RecurrentBlock(RecurrentKernels kernels, Activations activations, int width)
    {
        _kernels = kernels;
        _activations = activations;
        _width = width;
    }

    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="hidden">The layer's recurrent states.</param>
    /// <param name="tail">The layer's convolution tails.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(in Call call, RecurrentWeights weights, LayerState hidden, LayerState tail, TensorView input, TensorView output)
    {
        GpuStream stream = call.Stream;
        TensorView xy = _activations.Xy(call.Count);
        TensorView x = xy.ColumnRange(0, _width);
        TensorView y = xy.ColumnRange(_width, _width);
        TensorView z = _activations.Convolved(call.Count);
        TensorView gates = _activations.Gates(call.Count);
        TensorView mixed = _activations.Mixed(call.Count);

        _kernels.Xy.Run(stream, input, weights.Xy, xy);
        if (call.Step)
        {
            _kernels.ConvStep.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, z, tail);
        }
        else
        {
            _kernels.Conv.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, z, tail);
            _kernels.Conv.UpdateState(stream, call.Rows, x, weights.XBias, tail);
        }

        _kernels.Gates.Run(stream, z, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate, weights.RecurrenceGateBias, gates);
        if (call.Step)
            _kernels.ScanStep.Run(stream, call.Rows, z, gates, y, weights.YBias, weights.Lambda, mixed, hidden);
        else
            _kernels.Scan.Run(stream, call.Rows, z, gates, y, weights.YBias, weights.Lambda, mixed, hidden, _activations.ScanScratch);
        _kernels.Out.Run(stream, mixed, weights.Out, output);
    }
}
