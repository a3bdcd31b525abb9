using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The gated MLP, (GELU(gate) ⊙ up) · Wd, without its output bias, which the next residual add takes.</summary>
internal sealed class MlpBlock
{
    private readonly Activations _activations;
    private readonly ModelKernels _kernels;

    public MlpBlock(ModelKernels kernels, Activations activations) => (_kernels, _activations) = (kernels, activations);

    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(in Call call, LayerWeights weights, TensorView input, TensorView output)
    {
        TensorView gateUp = _activations.GateUp(call.Count);
        TensorView hidden = _activations.Hidden(call.Count);
        _kernels.GateUp.Run(call.Stream, input, weights.GateUp, gateUp);
        _kernels.GeluMultiply.Run(call.Stream, gateUp, weights.GateUpBias, hidden);
        _kernels.Down.Run(call.Stream, hidden, weights.Down, output);
    }
}
