using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// One token per row from token ids to logits through the fused kernels: five a layer. Each kernel that
/// changes the residual stream leaves the sums of squares of its rows, from which the next one norms what it reads: no kernel of the norm's own.
/// It rounds where <see cref="LayerStack"/> does, so that both agree up to the order of float32 sums.
/// </summary>
/// <param name="config">The model's shape.</param>
/// <param name="fused">The fused ops.</param>
/// <param name="attention">Phases and decode attention; null in a model without attention layers.</param>
/// <param name="activations">Where results go.</param>
/// <param name="layers">The layers' weights.</param>
/// <param name="states">The layers' states.</param>
/// <param name="attentionBlock">Sizes of the ring; null as <paramref name="attention"/>.</param>
internal sealed class FusedLayers(
    GriffinConfig config, FusedKernels fused, AttentionKernels? attention, Activations activations, LayerWeights[] layers,
    (LayerState First, LayerState Second)[] states, AttentionBlock? attentionBlock)
{
    /// <summary>Queues all layers.</summary>
    /// <returns>The residual stream as the head's norm takes it.</returns>
    public NormedInput Run(in Call call, TensorView embedding, TensorView finalNorm, Action<int, TensorView>? afterBlock)
    {
        TensorView residual = activations.Residual(call.Count);
        TensorView squares = activations.Squares(call.Count, 1);
        fused.Embedding.Run(call.Stream, call.Tokens, embedding, config.EmbeddingScale, residual, squares);
        for (int i = 0; i < layers.Length; i++)
        {
            LayerWeights layer = layers[i];
            NormedInput input = Normed(residual, layer.TemporalNorm, squares);
            squares = layer.Recurrent is { } recurrent ? RunRecurrent(call, i, recurrent, input) : RunAttention(call, i, layer.Attention!, input);
            TensorView hidden = activations.Mlp(call.Count).Hidden;
            fused.GateUp.Run(call.Stream, Normed(residual, layer.ChannelNorm, squares), layer.GateUp, layer.GateUpBias, hidden);
            squares = AddProduct(call, fused.Down, hidden, layer.Down, layer.DownBias, residual);
            afterBlock?.Invoke(i, residual);
        }

        return Normed(residual, finalNorm, squares);
    }

    /// <summary>Queues the head: logits, soft-capped, float32 [rows, V].</summary>
    public void RunHead(GpuStream stream, in NormedInput last, TensorView embedding, TensorView logits) =>
        fused.Head.Run(stream, last, embedding, config.LogitsSoftCap, logits);

    /// <summary>Queues the head of a step in which no row's draw is restricted: tokens i32 [rows].</summary>
    public void RunSamplingHead(in Call call, in NormedInput last, TensorView embedding, TensorView slots, LayerState samplers) =>
        fused.SamplingHead.Run(
            call.Stream, last, embedding, config.LogitsSoftCap, call.Positions, slots, samplers, call.Tokens,
            activations.Best(call.Count, fused.SamplingHead.TilesFor(call.Count)));

    private TensorView RunRecurrent(in Call call, int index, RecurrentWeights weights, in NormedInput input)
    {
        RecurrentBuffers buffers = activations.Recurrent(call.Count);
        (LayerState hidden, LayerState tail) = states[index];
        TensorView y = buffers.Xy.ColumnRange(config.RnnWidth, config.RnnWidth);
        fused.RecurrentInput!.Run(call.Stream, call.Rows, input, weights.Xy, weights.XBias, weights.Conv, weights.ConvBias, buffers.Convolved, y, tail);
        RecurrentStepOperands operands = new(
            buffers.Convolved, weights.InputGate, weights.InputGateBias, weights.RecurrenceGate, weights.RecurrenceGateBias, y, weights.YBias, weights.Lambda);
        fused.RecurrentStep!.Run(call.Stream, call.Rows, operands, buffers.Mixed, hidden);
        return AddProduct(call, fused.RecurrentOut!, buffers.Mixed, weights.Out, weights.OutBias, input.X);
    }

    private TensorView RunAttention(in Call call, int index, AttentionWeights weights, in NormedInput input)
    {
        AttentionBuffers buffers = activations.Attention(call.Count);
        LayerState ring = states[index].First;
        TensorView queries = buffers.Qkv.ColumnRange(0, buffers.Attended.Columns);
        fused.Qkv!.Run(call.Stream, call.Rows, input, weights.Qkv, attention!.Phases, queries, ring, attentionBlock!.RingSlots);
        attention.Decode.Run(
            call.Stream, call.Rows, buffers.Qkv, ring, attentionBlock.RingSlots, attentionBlock.KeysVisible, buffers.Attended, buffers.Scratch, buffers.Arrivals);
        return AddProduct(call, fused.AttentionOut!, buffers.Attended, weights.Out, weights.OutBias, input.X);
    }

    private TensorView AddProduct(in Call call, ResidualProduct product, TensorView input, TensorView weight, TensorView bias, TensorView residual)
    {
        TensorView squares = activations.Squares(call.Count, product.PartsFor(call.Count));
        product.Run(call.Stream, input, weight, bias, residual, squares);
        return squares;
    }

    private NormedInput Normed(TensorView residual, TensorView scale, TensorView squares) => new(residual, scale, squares, config.RmsNormEpsilon);
}
