using System.Runtime.InteropServices;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Griffin.Bench.TorchSharp;

/// <summary>A model of the family in plain TorchSharp, over weights by the names of our checkpoints: the whole forward pass, and one step on states of fixed size.</summary>
internal sealed class TorchGriffin : IDisposable
{
    private const int Piece = 1 << 24;

    private readonly Dictionary<WeightName, Parameter> _weights = [];
    private readonly GriffinConfig _config;
    private readonly Device _device;

    /// <summary>Copies a checkpoint's weights to the device.</summary>
    public TorchGriffin(ICheckpointSource source, ScalarType type, Device device, bool training)
    {
        (_config, _device) = (source.Config, device);
        foreach (WeightName name in WeightCatalogue.Names(_config))
            _weights[name] = new Parameter(Read(source, name, type, device), training);
    }

    public IReadOnlyDictionary<WeightName, Parameter> Weights => _weights;

    /// <summary>tokens [B, T] → logits [B, T, V] in float32, or of the last token alone, [B, V].</summary>
    public Tensor Logits(Tensor tokens, bool lastOnly)
    {
        Tensor x = Embed(tokens);
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            Tensor u = Formulas.RmsNorm(x, Of(layer, WeightKind.TemporalNorm));
            x = Mlp(layer, x + (_config.KindOf(layer) == LayerKind.Attention ? Attention(layer, u) : Recurrent(layer, u)));
        }

        return Head(lastOnly ? x.select(1, x.shape[1] - 1) : x);
    }

    /// <summary>Fresh states: hidden and convolution's, or a ring of keys and one of values, a slot a token where there is no window.</summary>
    public Tensor[][] States(long batch, long capacity) => [.. Enumerable.Range(0, _config.Layers).Select(layer =>
    {
        ScalarType type = _weights[WeightName.Embedding].dtype;
        if (_config.KindOf(layer) != LayerKind.Attention)
            return new[] { zeros([batch, _config.RnnWidth], ScalarType.Float32, _device), zeros([batch, _config.ConvTaps - 1, _config.RnnWidth], type, _device) };
        long slots = _config.Window is { } window ? window + 1 : capacity;
        return [zeros([batch, slots, _config.HeadDim], type, _device), zeros([batch, slots, _config.HeadDim], type, _device)];
    })];

    /// <summary>One token a sequence [B] at a position [1] → logits [B, V]; the states change in place.</summary>
    public Tensor Step(Tensor tokens, Tensor[][] states, Tensor position)
    {
        Tensor x = Embed(tokens);
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            Tensor u = Formulas.RmsNorm(x, Of(layer, WeightKind.TemporalNorm));
            x = Mlp(layer, x + (_config.KindOf(layer) == LayerKind.Attention ? AttentionStep(layer, u, states[layer], position) : RecurrentStep(layer, u, states[layer], position)));
        }

        return Head(x);
    }

    public void Dispose()
    {
        foreach (Parameter weight in _weights.Values) weight.Dispose();
    }

    private Parameter Of(int layer, WeightKind kind) => _weights[new WeightName(layer, kind)];

    private Tensor Product(int layer, Tensor x, WeightKind weight, WeightKind? bias) => linear(x, Of(layer, weight), bias is { } kind ? Of(layer, kind) : null);

    private Tensor Embed(Tensor tokens)
    {
        Tensor table = _weights[WeightName.Embedding], x = table.index_select(0, tokens.flatten()).reshape([.. tokens.shape, _config.Width]);
        return (Formulas.Wide(x) * _config.EmbeddingScale).to(table.dtype);
    }

    private Tensor Head(Tensor x) =>
        Formulas.SoftCap(Formulas.Wide(Formulas.RmsNorm(x, _weights[WeightName.FinalNorm]).matmul(_weights[WeightName.Embedding].t())), _config.LogitsSoftCap);

    private Tensor Mlp(int layer, Tensor x)
    {
        Tensor u = Formulas.RmsNorm(x, Of(layer, WeightKind.ChannelNorm));
        Tensor gate = Product(layer, u, WeightKind.MlpGate, WeightKind.MlpGateBias), up = Product(layer, u, WeightKind.MlpUp, WeightKind.MlpUpBias);
        return x + Product(layer, Formulas.Gelu(gate) * up, WeightKind.MlpDown, WeightKind.MlpDownBias);
    }

    private Tensor Recurrent(int layer, Tensor u)
    {
        Tensor z = Formulas.Convolve(Product(layer, u, WeightKind.LinearX, WeightKind.LinearXBias), Of(layer, WeightKind.Conv), Of(layer, WeightKind.ConvBias));
        Tensor y = Product(layer, u, WeightKind.LinearY, WeightKind.LinearYBias);
        return Product(layer, Recurrence.RgLru(z, Gates(layer, z), y, Of(layer, WeightKind.Lambda)), WeightKind.LinearOut, WeightKind.LinearOutBias);
    }

    private Tensor RecurrentStep(int layer, Tensor u, Tensor[] state, Tensor position)
    {
        Tensor z = Formulas.ConvolveStep(Product(layer, u, WeightKind.LinearX, WeightKind.LinearXBias), Of(layer, WeightKind.Conv), Of(layer, WeightKind.ConvBias), state[1]);
        Tensor y = Product(layer, u, WeightKind.LinearY, WeightKind.LinearYBias);
        return Product(layer, Recurrence.Step(z, Gates(layer, z), y, Of(layer, WeightKind.Lambda), state[0], position), WeightKind.LinearOut, WeightKind.LinearOutBias);
    }

    private Tensor Gates(int layer, Tensor z)
    {
        Tensor input = Formulas.BlockDiagonal(z, Of(layer, WeightKind.InputGate), Of(layer, WeightKind.InputGateBias).flatten());
        return cat([input, Formulas.BlockDiagonal(z, Of(layer, WeightKind.RecurrenceGate), Of(layer, WeightKind.RecurrenceGateBias).flatten())], -1);
    }

    private Tensor Attention(int layer, Tensor u)
    {
        (long batch, long tokens) = (u.shape[0], u.shape[1]);
        Tensor positions = arange(tokens, ScalarType.Int64, _device);
        Tensor q = Formulas.Rotate(Product(layer, u, WeightKind.Query, null).view(batch, tokens, _config.Heads, _config.HeadDim).transpose(1, 2), positions, _config.RopeTheta);
        Tensor k = Formulas.Rotate(Product(layer, u, WeightKind.Key, null).unsqueeze(1), positions, _config.RopeTheta), v = Product(layer, u, WeightKind.Value, null).unsqueeze(1);
        Tensor y = Formulas.Attend(q, k, v, _config.Window).transpose(1, 2).reshape(batch, tokens, -1);
        return Product(layer, y, WeightKind.AttentionOut, WeightKind.AttentionOutBias);
    }

    private Tensor AttentionStep(int layer, Tensor u, Tensor[] state, Tensor position)
    {
        long slots = state[0].shape[1];
        Tensor slot = position.remainder(slots), visible = arange(slots, ScalarType.Int64, _device).le(position).view(1, 1, 1, slots);
        // The query heads are the rows of one head.
        Tensor q = Formulas.Rotate(Product(layer, u, WeightKind.Query, null).view(-1, 1, _config.Heads, _config.HeadDim), position, _config.RopeTheta);
        state[0].index_copy_(1, slot, Formulas.Rotate(Product(layer, u, WeightKind.Key, null).unsqueeze(1), position, _config.RopeTheta));
        state[1].index_copy_(1, slot, Product(layer, u, WeightKind.Value, null).unsqueeze(1));
        Tensor y = scaled_dot_product_attention(q, state[0].unsqueeze(1), state[1].unsqueeze(1), attn_mask: visible).flatten(1);
        return Product(layer, y, WeightKind.AttentionOut, WeightKind.AttentionOutBias);
    }

    // A piece at a time: a 2B model's table is larger than an array may be.
    private static Tensor Read(ICheckpointSource source, WeightName name, ScalarType type, Device device)
    {
        long elements = WeightCatalogue.ElementsOf(source.Config, name.Kind);
        Tensor whole = empty([elements], type, device);
        for (long at = 0; at < elements; at += Piece)
        {
            using DisposeScope scope = NewDisposeScope();
            float[] values = new float[Math.Min(Piece, elements - at)];
            source.Read(name, ElementType.Float32, at, MemoryMarshal.AsBytes(values.AsSpan()));
            whole.narrow(0, at, values.Length).copy_(tensor(values));
        }

        return whole.reshape([.. WeightCatalogue.ShapeOf(source.Config, name.Kind).Select(size => (long)size)]);
    }
}
