using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Multi-query attention with rotary positions over a window or everything: q|k|v = u · Wqkvᵀ, attention, · Wo, without the output bias,
/// which the next residual add takes. One object serves all attention layers.
/// </summary>
/// <param name="kernels">The ops.</param>
/// <param name="ringSlots">Positions that a layer's ring holds.</param>
/// <param name="keysVisible">Keys that a query sees, itself included; at most <paramref name="ringSlots"/> with a ring.</param>
internal sealed class AttentionBlock(AttentionKernels kernels, int ringSlots, int keysVisible)
{
    /// <summary>Positions that a layer's ring holds.</summary>
    public int RingSlots => ringSlots;

    /// <summary>Keys that a query sees, itself included.</summary>
    public int KeysVisible => keysVisible;

    /// <param name="call">The rows.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="ring">The layer's keys and values.</param>
    /// <param name="buffers">Where intermediate results go.</param>
    /// <param name="input">Normed residual stream, [tokens, d].</param>
    /// <param name="output">Receives the block's product, [tokens, d].</param>
    public void Run(in Call call, AttentionWeights weights, LayerState ring, in AttentionBuffers buffers, TensorView input, TensorView output)
    {
        kernels.Qkv.Run(call.Stream, input, weights.Qkv, buffers.Qkv);
        Attend(call, ring, buffers);
        kernels.Out.Run(call.Stream, buffers.Attended, weights.Out, output);
    }

    /// <summary>Queues what lies between the block's two products: from <see cref="AttentionBuffers.Qkv"/> to <see cref="AttentionBuffers.Attended"/>.</summary>
    public void Attend(in Call call, LayerState ring, in AttentionBuffers buffers)
    {
        GpuStream stream = call.Stream;
        if (call.Step)
        {
            kernels.RotaryStep.Run(stream, call.Rows, buffers.Qkv, kernels.Phases, ring, ringSlots);
            kernels.Decode.Run(stream, call.Rows, buffers.Qkv, ring, ringSlots, keysVisible, buffers.Attended, buffers.Scratch, buffers.Arrivals);
        }
        else
        {
            kernels.Rotary.Run(stream, buffers.Qkv, call.Positions, kernels.Phases);
            kernels.Prefill.Run(stream, call.Rows, buffers.Qkv, ring, ringSlots, keysVisible, buffers.Attended, buffers.LogSumExp);
            if (!ring.IsNone) kernels.Append.Run(stream, call.Rows, buffers.Qkv, ring, ringSlots);
        }
    }
}
