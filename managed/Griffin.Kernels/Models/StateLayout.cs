using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>Where each layer's state lies inside one slot of a <see cref="StatePool"/>.</summary>
/// <remarks>
/// A recurrent layer holds <c>h</c>, float32 [rnn width], then the last <c>taps - 1</c> raw convolution inputs, oldest first, in the
/// storage type. An attention layer holds keys [slots, head_dim], rotated, and right behind them the values, of the same shape.
/// Parts start on multiples of 256 bytes (values excepted), and so does every slot.
/// </remarks>
public sealed class StateLayout
{
    private const long Alignment = 256;

    private readonly LayerStateLayout[] _layers;

    /// <summary>Plans the slot of a model.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="type">Storage type of convolution inputs, keys and values.</param>
    /// <param name="globalCapacity">Tokens that a layer without a window can hold.</param>
    public StateLayout(GriffinConfig config, ElementType type, int globalCapacity)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentOutOfRangeException.ThrowIfLessThan(globalCapacity, 1);
        ElementType = type;
        RingSlots = config.Window is int window ? window + 1 : globalCapacity;
        _layers = new LayerStateLayout[config.Layers];
        long offset = 0;
        for (int layer = 0; layer < _layers.Length; layer++)
        {
            _layers[layer] = config.KindOf(layer) == LayerKind.Recurrent
                ? Recurrent(config, type, ref offset)
                : Attention(config, type, RingSlots, ref offset);
        }

        SlotBytes = Math.Max(offset, Alignment);
    }

    /// <summary>Storage type of convolution inputs, keys and values; the recurrent state is always float32.</summary>
    public ElementType ElementType { get; }

    /// <summary>Key/value slots of an attention layer: window + 1, or the capacity of a global layer.</summary>
    public int RingSlots { get; }

    /// <summary>Bytes of one sequence's state, and the distance between two slots.</summary>
    public long SlotBytes { get; }

    /// <summary>The layers' parts, in order.</summary>
    public IReadOnlyList<LayerStateLayout> Layers => _layers;

    private static LayerStateLayout Recurrent(GriffinConfig config, ElementType type, ref long offset)
    {
        long hidden = Take(ref offset, (long)config.RnnWidth * sizeof(float));
        long convolution = Take(ref offset, (long)(config.ConvTaps - 1) * config.RnnWidth * ElementTypes.SizeOf(type));
        return new LayerStateLayout(LayerKind.Recurrent, hidden, convolution);
    }

    private static LayerStateLayout Attention(GriffinConfig config, ElementType type, int slots, ref long offset)
    {
        long bytes = (long)slots * config.HeadDim * ElementTypes.SizeOf(type);
        long keys = Take(ref offset, 2 * bytes);
        return new LayerStateLayout(LayerKind.Attention, keys, keys + bytes);
    }

    private static long Take(ref long offset, long bytes)
    {
        long start = offset;
        offset += (bytes + Alignment - 1) / Alignment * Alignment;
        return start;
    }
}

/// <summary>Byte offsets of one layer's two parts within a slot.</summary>
/// <param name="Kind">What the layer is.</param>
/// <param name="First">Recurrent: the state h. Attention: the keys.</param>
/// <param name="Second">Recurrent: the convolution's raw inputs. Attention: the values.</param>
public sealed record LayerStateLayout(LayerKind Kind, long First, long Second);
