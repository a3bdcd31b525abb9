using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Multi-query attention with rotary positions over a window or everything: q|k|v = u · Wqkvᵀ, attention, · Wo, without the output bias,
/// which the next residual add takes. One object serves all attention layers of a session.
/// </summary>
internal sealed class AttentionBlock
{
    private readonly Activations _activations;
    private readonly TensorView _phases;
    private readonly int _ringSlots;
    private readonly int _keysVisible;
    private readonly MatMul _qkv;
    private readonly MatMul _out;
    private readonly RotaryEmbedding _rotary;
    private readonly RotaryStep _rotaryStep;
    private readonly WindowAttention _attention;
    private readonly DecodeAttention _decode;
    private readonly RingAppend _append;

    public AttentionBlock(ModelKernels kernels, Activations activations, StateLayout layout)
    {
        GriffinConfig config = kernels.Config;
        _activations = activations;
        _phases = kernels.Phases;
        _ringSlots = layout.RingSlots;
        _keysVisible = Math.Min(config.KeysVisible, layout.RingSlots);
        int attended = config.Heads * config.HeadDim;
        _qkv = kernels.Product(attended + 2 * config.HeadDim, config.Width);
        _out = kernels.Product(config.Width, attended);
        _rotary = kernels.Rotary;
        _rotaryStep = kernels.RotaryStep;
        _attention = kernels.Attention;
        _decode = kernels.DecodeAttention;
        _append = kernels.Append;
    }

    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="ring">The layer's keys and values.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(in Call call, AttentionWeights weights, LayerState ring, TensorView input, TensorView output)
    {
        GpuStream stream = call.Stream;
        TensorView qkv = _activations.Qkv(call.Count);
        TensorView attended = _activations.Attended(call.Count);
        _qkv.Run(stream, input, weights.Qkv, qkv);
        if (call.Step)
        {
            _rotaryStep.Run(stream, call.Rows, qkv, _phases, ring, _ringSlots);
            _decode.Run(stream, call.Rows, qkv, ring, _ringSlots, _keysVisible, attended, _activations.AttentionScratch);
        }
        else
        {
            _rotary.Run(stream, qkv, call.Positions, _phases);
            _attention.Run(stream, call.Rows, qkv, ring, _ringSlots, _keysVisible, attended);
            _append.Run(stream, call.Rows, qkv, ring, _ringSlots);
        }

        _out.Run(stream, attended, weights.Out, output);
    }
}
