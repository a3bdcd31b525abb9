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
    private readonly AttentionKernels _kernels;
    private readonly int _ringSlots;
    private readonly int _keysVisible;

    public AttentionBlock(AttentionKernels kernels, Activations activations, StateLayout layout, int keysVisible)
    {
        _kernels = kernels;
        _activations = activations;
        _ringSlots = layout.RingSlots;
        _keysVisible = Math.Min(keysVisible, layout.RingSlots);
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
        _kernels.Qkv.Run(stream, input, weights.Qkv, qkv);
        if (call.Step)
        {
            _kernels.RotaryStep.Run(stream, call.Rows, qkv, _kernels.Phases, ring, _ringSlots);
            _kernels.Decode.Run(stream, call.Rows, qkv, ring, _ringSlots, _keysVisible, attended, _activations.AttentionScratch);
        }
        else
        {
            _kernels.Rotary.Run(stream, qkv, call.Positions, _kernels.Phases);
            _kernels.Prefill.Run(stream, call.Rows, qkv, ring, _ringSlots, _keysVisible, attended);
            _kernels.Append.Run(stream, call.Rows, qkv, ring, _ringSlots);
        }

        _kernels.Out.Run(stream, attended, weights.Out, output);
    }
}
