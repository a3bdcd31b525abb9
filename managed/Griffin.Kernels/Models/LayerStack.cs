using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// The model from token ids to logits. The residual stream is rounded once at each add; a block's output bias and the norm after it
/// are fused with the add, so the layers hand on the pair (residual stream, what is still to be added to it).
/// </summary>
internal sealed class LayerStack
{
    private readonly GriffinConfig _config;
    private readonly ModelKernels _kernels;
    private readonly Activations _activations;
    private readonly LayerWeights[] _layers;
    private readonly (LayerState First, LayerState Second)[] _states;
    private readonly RecurrentBlock? _recurrent;
    private readonly AttentionBlock? _attention;
    private readonly MlpBlock _mlp;
    private readonly FusedLayers? _fused;
    private readonly ChainedLayers? _chained;
    private readonly TensorView _embedding;
    private readonly TensorView _finalNorm;

    public LayerStack(WeightArena weights, ModelKernels kernels, Activations activations, StatePool states)
    {
        _config = weights.Config;
        _kernels = kernels;
        _activations = activations;
        _layers = [.. Enumerable.Range(0, _config.Layers).Select(layer => new LayerWeights(weights, layer))];
        _states = [.. states.Layout.Layers.Select(layer => (states.StateOf(layer.First), states.StateOf(layer.Second)))];
        if (kernels.Recurrent is { } recurrent) _recurrent = new RecurrentBlock(recurrent, _config.RnnWidth);
        if (kernels.Attention is { } attention) _attention = new AttentionBlock(attention, states.Layout.RingSlots, Math.Min(_config.KeysVisible, states.Layout.RingSlots));
        _mlp = new MlpBlock(kernels);
        _embedding = weights.View(WeightName.Embedding, _config.Vocabulary, _config.Width);
        _finalNorm = weights.View(WeightName.FinalNorm, 1, _config.Width);
        if (kernels.Fused is { } fused) _fused = new FusedLayers(_config, fused, kernels.Attention, activations, _layers, _states, _attention);
        if (kernels.Chained is { } chained) _chained = new ChainedLayers(_config, kernels, chained, activations, _layers, _states, _recurrent, _attention);
    }

    /// <summary>Called after each block with its number and the residual stream it leaves, [tokens, d]; for tests, which bisect with it.</summary>
    public Action<int, TensorView>? AfterBlock { get; set; }

    /// <summary>Queues all layers; the normed output of the last stays in <see cref="Activations.Normed"/>.</summary>
    public void Run(in Call call)
    {
        if (FusedFor(call) is { } fused)
        {
            NormedInput last = fused.Run(call, _embedding, _finalNorm, AfterBlock);
            _kernels.Norm.Run(call.Stream, last.X, last.Scale, _activations.Normed(call.Count), last.Epsilon);
            return;
        }

        if (_chained is { } chained && chained.Serves(call.Count))
        {
            chained.Run(call, _embedding, _finalNorm, AfterBlock);
            return;
        }

        TensorView residual = _activations.Residual(call.Count);
        TensorView normed = _activations.Normed(call.Count);
        TensorView delta = _activations.Delta(call.Count);
        _kernels.Embedding.Run(call.Stream, call.Tokens, _embedding, _config.EmbeddingScale, residual);
        _kernels.Norm.Run(call.Stream, residual, _layers[0].TemporalNorm, normed, _config.RmsNormEpsilon);
        for (int i = 0; i < _layers.Length; i++)
        {
            LayerWeights layer = _layers[i];
            TensorView bias = RunTemporal(call, i, normed, delta);
            AddAndNorm(call, residual, delta, bias, layer.ChannelNorm, normed);
            _mlp.Run(call.Stream, layer, _activations.Mlp(call.Count), normed, delta);
            TensorView nextNorm = i + 1 < _layers.Length ? _layers[i + 1].TemporalNorm : _finalNorm;
            AddAndNorm(call, residual, delta, layer.DownBias, nextNorm, normed);
            AfterBlock?.Invoke(i, residual);
        }
    }

    /// <summary>Queues all layers and the head of a step: logits, soft-capped, float32 [rows, V].</summary>
    public void RunToLogits(in Call call, TensorView logits)
    {
        if (FusedFor(call) is { } fused)
        {
            NormedInput last = fused.Run(call, _embedding, _finalNorm, AfterBlock);
            fused.RunHead(call.Stream, last, _embedding, logits);
            return;
        }

        Run(call);
        RunHead(call.Stream, _activations.Normed(call.Count), logits);
    }

    /// <summary>Whether <see cref="RunToTokens"/> serves so many rows.</summary>
    public bool ChoosesTokens(int rows) => _fused is not null && rows <= FusedKernels.MaxRows;

    /// <summary>Queues all layers and the sampling head of a step, which replaces the call's tokens by the drawn ones; no row's draw may be restricted.</summary>
    public void RunToTokens(in Call call, TensorView slots, LayerState samplers)
    {
        NormedInput last = _fused!.Run(call, _embedding, _finalNorm, AfterBlock);
        _fused.RunSamplingHead(call, last, _embedding, slots, samplers);
    }

    /// <summary>Queues the head over normed rows: logits, soft-capped, float32 [rows, V].</summary>
    public void RunHead(GpuStream stream, TensorView normed, TensorView logits)
    {
        _kernels.Head.Run(stream, normed, _embedding, logits);
        if (_config.LogitsSoftCap > 0) _kernels.SoftCap.Run(stream, logits, _config.LogitsSoftCap);
    }

    private FusedLayers? FusedFor(in Call call) => call.Step && ChoosesTokens(call.Count) ? _fused : null;

    private TensorView RunTemporal(in Call call, int index, TensorView normed, TensorView delta)
    {
        LayerWeights layer = _layers[index];
        (LayerState first, LayerState second) = _states[index];
        if (layer.Recurrent is { } recurrent)
        {
            _recurrent!.Run(call, recurrent, first, second, _activations.Recurrent(call.Count), normed, delta);
            return recurrent.OutBias;
        }

        _attention!.Run(call, layer.Attention!, first, _activations.Attention(call.Count), normed, delta);
        return layer.Attention!.OutBias;
    }

    private void AddAndNorm(in Call call, TensorView residual, TensorView delta, TensorView bias, TensorView scale, TensorView normed) =>
        _kernels.Norm.RunResidual(call.Stream, residual, delta, bias, scale, residual, normed, _config.RmsNormEpsilon);
}
