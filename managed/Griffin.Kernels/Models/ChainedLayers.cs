using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// The layers of a call of many rows without kernels for residual adds and norms: each product before a norm leaves the residual stream scaled, with 1 / rms
/// of its rows, and the product behind the norm multiplies its sums by that. What a product is given is as far from the exact norm as in
/// <see cref="LayerStack"/>, but not the same bits.
/// </summary>
/// <param name="config">The model's shape.</param>
/// <param name="kernels">All ops.</param>
/// <param name="chained">Those of this path.</param>
/// <param name="activations">Where results go.</param>
/// <param name="layers">The layers' weights.</param>
/// <param name="states">The layers' states.</param>
/// <param name="recurrentBlock">What lies between the products of a recurrent layer; null in a model without.</param>
/// <param name="attentionBlock">What lies between the products of an attention layer; null in a model without.</param>
internal sealed class ChainedLayers(
    GriffinConfig config, ModelKernels kernels, ChainedKernels chained, Activations activations, LayerWeights[] layers,
    (LayerState First, LayerState Second)[] states, RecurrentBlock? recurrentBlock, AttentionBlock? attentionBlock)
{
    private const uint One = 0x3F800000;   // as float32

    /// <summary>Whether a call of so many rows takes this path.</summary>
    public bool Serves(int rows) => chained.Serves(rows);

    /// <summary>Queues all layers; the normed output of the last stays in <see cref="Activations.Normed"/>.</summary>
    public void Run(in Call call, TensorView embedding, TensorView finalNorm, Action<int, TensorView>? afterBlock)
    {
        GpuStream stream = call.Stream;
        TensorView residual = activations.Residual(call.Count);
        FactoredRows normed = new(activations.Normed(call.Count), activations.Factors(call.Count));
        kernels.Embedding.Run(stream, call.Tokens, embedding, config.EmbeddingScale, residual);
        kernels.Norm.Run(stream, residual, layers[0].TemporalNorm, normed.Rows, config.RmsNormEpsilon);
        stream.Fill32(normed.Factors.Owner, (long)(normed.Factors.Address - normed.Factors.Owner.Address), call.Count, One);   // normed by a kernel, this once
        for (int i = 0; i < layers.Length; i++)
        {
            LayerWeights layer = layers[i];
            RunTemporal(call, i, residual, normed);
            TensorView hidden = activations.Mlp(call.Count).Hidden;
            chained.GateUp.Run(stream, normed.Rows, layer.GateUp, layer.GateUpBias, hidden, normed.Factors);
            if (i + 1 < layers.Length)
            {
                AddProduct(call, chained.Down, hidden, layer.Down, layer.DownBias, residual, layers[i + 1].TemporalNorm, normed);
            }
            else
            {
                TensorView delta = activations.Delta(call.Count);   // the head takes rows that are normed
                kernels.Down.Run(stream, hidden, layer.Down, delta);
                kernels.Norm.RunResidual(stream, residual, delta, layer.DownBias, finalNorm, residual, normed.Rows, config.RmsNormEpsilon);
            }
            afterBlock?.Invoke(i, residual);
        }
    }

    private void RunTemporal(in Call call, int index, TensorView residual, in FactoredRows normed)
    {
        LayerWeights layer = layers[index];
        (LayerState first, LayerState second) = states[index];
        if (layer.Recurrent is { } recurrent)
        {
            RecurrentBuffers buffers = activations.Recurrent(call.Count);
            chained.Xy!.Run(call.Stream, normed.Rows, recurrent.Xy, buffers.Xy, normed.Factors);
            recurrentBlock!.Mix(call, recurrent, first, second, buffers);
            AddProduct(call, chained.RecurrentOut!, buffers.Mixed, recurrent.Out, recurrent.OutBias, residual, layer.ChannelNorm, normed);
        }
        else
        {
            AttentionWeights attention = layer.Attention!;
            AttentionBuffers buffers = activations.Attention(call.Count);
            chained.Qkv!.Run(call.Stream, normed.Rows, attention.Qkv, buffers.Qkv, normed.Factors);
            attentionBlock!.Attend(call, first, buffers);
            AddProduct(call, chained.AttentionOut!, buffers.Attended, attention.Out, attention.OutBias, residual, layer.ChannelNorm, normed);
        }
    }

    private void AddProduct(
        in Call call, ResidualMatMul product, TensorView input, TensorView weight, TensorView bias, TensorView residual, TensorView scale, in FactoredRows normed) =>
        product.Run(call.Stream, input, weight, bias, residual, new(scale, config.RmsNormEpsilon), normed, activations.SquaresWorkspace);
}
