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
    private readonly MatMul _xy;
    private readonly MatMul _out;
    private readonly Conv1D _conv;
    private readonly Conv1DStep _convStep;
    private readonly BlockDiagonalGates _gates;
    private readonly RgLru _scan;
    private readonly RgLruStep _scanStep;

    public RecurrentBlock(ModelKernels kernels, Activations activations)
    {
        _activations = activations;
        _width = kernels.Config.RnnWidth;
        _xy = kernels.Product(2 * _width, kernels.Config.Width);
        _out = kernels.Product(kernels.Config.Width, _width);
        _conv = kernels.Conv;
        _convStep = kernels.ConvStep;
        _gates = kernels.Gates;
        _scan = kernels.Scan;
        _scanStep = kernels.ScanStep;
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

        _xy.Run(stream, input, weights.Xy, xy);
        if (call.Step)
        {
            _convStep.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, z, tail);
        }
        else
        {
            _conv.Run(stream, call.Rows, x, weights.XBias, weights.Conv, weights.ConvBias, z, tail);
            _conv.UpdateState(stream, call.Rows, x, weights.XBias, tail);
        }

        _gates.Run(stream, z, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate, weights.RecurrenceGateBias, gates);
        if (call.Step)
            _scanStep.Run(stream, call.Rows, z, gates, y, weights.YBias, weights.Lambda, mixed, hidden);
        else
            _scan.Run(stream, call.Rows, z, gates, y, weights.YBias, weights.Lambda, mixed, hidden, _activations.ScanScratch);
        _out.Run(stream, mixed, weights.Out, output);
    }
}
