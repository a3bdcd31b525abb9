using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>
/// The model's forward pass over fresh rows, as <see cref="LayerStack"/> runs it, leaving in the tapes what the way back needs.
/// </summary>
internal sealed class ForwardPass
{
    private readonly TrainingContext _context;
    private readonly RecurrentBlock? _recurrent;
    private readonly AttentionBlock? _attention;
    private readonly MlpBlock _mlp;

    public ForwardPass(TrainingContext context)
    {
        _context = context;
        GriffinConfig config = context.Config;
        if (context.Forward.Recurrent is { } recurrent) _recurrent = new RecurrentBlock(recurrent, config.RnnWidth);
        if (context.Forward.Attention is { } attention) _attention = new AttentionBlock(attention, ringSlots: 0, config.KeysVisible);
        _mlp = new MlpBlock(context.Forward);
    }

    /// <summary>Queues everything up to the final norm.</summary>
    public void Run(in Call call)
    {
        TrainingBuffers buffers = _context.Buffers;
        _context.Forward.Embedding.Run(call.Stream, call.Tokens, _context.Embedding, _context.Config.EmbeddingScale, buffers.Residuals[0]);
        RunFirstNorm(call, 0);
        for (int layer = 0; layer < _context.Layers.Length; layer++)
        {
            LayerWeights weights = _context.Layers[layer];
            LayerTape tape = buffers.Tapes[layer];
            RunTemporal(call, layer);
            _mlp.Run(call.Stream, weights, tape.Mlp, tape.MiddleNormed, buffers.Delta);
            TensorView nextNormed = layer + 1 < _context.Layers.Length ? buffers.Tapes[layer + 1].Normed : buffers.FinalNormed;
            AddAndNorm(call, tape.Middle, weights.DownBias, _context.NormAfter(layer), buffers.Residuals[layer + 1], nextNormed);
        }
    }

    /// <summary>Queues again what a layer's tape holds, from the residual stream before it.</summary>
    public void Recompute(in Call call, int layer)
    {
        LayerTape tape = _context.Buffers.Tapes[layer];
        RunFirstNorm(call, layer);
        RunTemporal(call, layer);
        _mlp.RunHidden(call.Stream, _context.Layers[layer], tape.Mlp, tape.MiddleNormed);
    }

    private void RunFirstNorm(in Call call, int layer) => _context.Forward.Norm.Run(
        call.Stream, _context.Buffers.Residuals[layer], _context.Layers[layer].TemporalNorm, _context.Buffers.Tapes[layer].Normed, _context.Config.RmsNormEpsilon);

    private void RunTemporal(in Call call, int layer)
    {
        LayerWeights weights = _context.Layers[layer];
        LayerTape tape = _context.Buffers.Tapes[layer];
        TensorView delta = _context.Buffers.Delta, bias;
        if (weights.Recurrent is { } recurrent)
        {
            _recurrent!.Run(call, recurrent, LayerState.None, LayerState.None, tape.Recurrent, tape.Normed, delta);
            bias = recurrent.OutBias;
        }
        else
        {
            _attention!.Run(call, weights.Attention!, LayerState.None, tape.Attention, tape.Normed, delta);
            bias = weights.Attention!.OutBias;
        }

        AddAndNorm(call, _context.Buffers.Residuals[layer], bias, weights.ChannelNorm, tape.Middle, tape.MiddleNormed);
    }

    // sum = residual + delta + bias, and its norm.
    private void AddAndNorm(in Call call, TensorView residual, TensorView bias, TensorView scale, TensorView sum, TensorView normed) =>
        _context.Forward.Norm.RunResidual(call.Stream, residual, _context.Buffers.Delta, bias, scale, sum, normed, _context.Config.RmsNormEpsilon);
}
