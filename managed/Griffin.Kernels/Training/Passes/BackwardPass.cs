using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>
/// The way back through the layers. The gradient of the residual stream goes down in one buffer: each block takes it as the gradient of its
/// product, and the norm before the block adds the block's share to it.
/// </summary>
internal sealed class BackwardPass
{
    private readonly TrainingContext _context;
    private readonly ForwardPass? _recompute;
    private readonly RecurrentBackward? _recurrent;
    private readonly AttentionBackward? _attention;
    private readonly MlpBackward _mlp;

    /// <param name="context">What the pass works on.</param>
    /// <param name="recompute">The forward pass, when the layers share one tape.</param>
    public BackwardPass(TrainingContext context, ForwardPass? recompute)
    {
        (_context, _recompute) = (context, recompute);
        if (context.Backward.Recurrent is { } recurrent) _recurrent = new RecurrentBackward(recurrent, context.Config.RnnWidth);
        if (context.Backward.Attention is { } attention) _attention = new AttentionBackward(attention, context.Forward.Attention!, context.Config.KeysVisible);
        _mlp = new MlpBackward(context.Backward);
    }

    /// <summary>Queues everything below the head, which has left the gradient of the final norm's result.</summary>
    public void Run(in Call call)
    {
        TrainingBuffers buffers = _context.Buffers;
        Norm(call, buffers.Residuals[^1], _context.FinalNorm, _context.FinalNormGradient, accumulate: false);
        for (int layer = _context.Layers.Length - 1; layer >= 0; layer--)
        {
            _recompute?.Recompute(call, layer);
            RunMlp(call, layer);
            RunTemporal(call, layer);
        }

        _context.Backward.Embedding.Run(
            call.Stream, call.Tokens, _context.Inputs.Order, buffers.ResidualGradient, _context.Config.EmbeddingScale, _context.EmbeddingGradient);
    }

    private void RunMlp(in Call call, int layer)
    {
        TrainingBuffers buffers = _context.Buffers;
        LayerTape tape = buffers.Tapes[layer];
        LayerWeights weights = _context.Layers[layer], gradients = _context.Gradients[layer];
        _context.Backward.WidthBias.Run(call.Stream, buffers.ResidualGradient, gradients.DownBias, buffers.Workspace);
        _mlp.Run(call.Stream, weights, gradients, tape, buffers, buffers.ResidualGradient, buffers.Delta);
        Norm(call, tape.Middle, weights.ChannelNorm, gradients.ChannelNorm, accumulate: true);
    }

    private void RunTemporal(in Call call, int layer)
    {
        TrainingBuffers buffers = _context.Buffers;
        LayerTape tape = buffers.Tapes[layer];
        LayerWeights weights = _context.Layers[layer], gradients = _context.Gradients[layer];
        TensorView outBias = gradients.Recurrent?.OutBias ?? gradients.Attention!.OutBias;
        _context.Backward.WidthBias.Run(call.Stream, buffers.ResidualGradient, outBias, buffers.Workspace);
        if (weights.Recurrent is { } recurrent)
            _recurrent!.Run(call, recurrent, gradients.Recurrent!, tape, buffers, buffers.ResidualGradient, buffers.Delta);
        else
            _attention!.Run(call, weights.Attention!, gradients.Attention!, tape, buffers, buffers.ResidualGradient, buffers.Delta);
        Norm(call, buffers.Residuals[layer], weights.TemporalNorm, gradients.TemporalNorm, accumulate: true);
    }

    private void Norm(in Call call, TensorView x, TensorView scale, TensorView scaleGradient, bool accumulate) => _context.Backward.Norm.Run(
        call.Stream, x, scale, _context.Buffers.Delta, _context.Buffers.ResidualGradient, accumulate, scaleGradient, _context.Config.RmsNormEpsilon, _context.Buffers.Workspace);
}
