using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Sliding-window attention of several query heads over one key/value head, for calls of any length: each token sees the keysVisible newest
/// positions of its own document up to its own, from the ring and from the call. With keysVisible as large as the ring it is global
/// attention; without a ring, for rows that start afresh and leave no state (training), keysVisible may be anything. A query's bits depend on what it sees and on its position, not on how the sequence was cut into calls.
/// </summary>
public sealed class WindowAttention : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MatrixRows = 128;
    private const int MatrixThreads = 256;
    private const int GeneralThreads = 128;
    private const int MaxHeadDim = 1024;

    private static readonly VariantTable<AttentionShape> variants = new(KernelSource.BuiltIn("window_attention.cu"),
        new KernelVariant<AttentionShape>("mma", Matrix) { Fits = q => q.Type == ElementType.BFloat16 && q.Shape.HeadDim % 16 == 0 && q.Shape.HeadDim <= 256 },
        new KernelVariant<AttentionShape>("vector", q => General(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => General(q, 1)));

    private readonly AttentionShape _shape;
    private readonly PlannedKernel<WindowAttentionParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv, ring and result.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, at most 1024.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public WindowAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(headDim, MaxHeadDim);
        _shape = new(heads, headDim);
        _kernel = Request<AttentionShape, WindowAttentionParams>(variants, _shape, variant);
    }

    /// <summary>Queues the attention; the ring is only read.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="qkv">[N, (heads + 2) · headDim]: q heads, k, v; q and k rotated.</param>
    /// <param name="ring">
    /// The layer's keys [ringSlots, headDim], then values, in every slot, as they were before the call; default for none: then nothing precedes the call's rows.
    /// </param>
    /// <param name="ringSlots">Positions that the ring holds; 0 without one.</param>
    /// <param name="keysVisible">Keys that a token sees, itself included; at most <paramref name="ringSlots"/>, or without a ring any number, int.MaxValue for all.</param>
    /// <param name="y">[N, heads · headDim]; rows of padding become zeros.</param>
    /// <param name="logSumExp">Float32 [N, heads], or empty: gets ln Σ exp(q·k / √headDim) over the visible keys, zeros in rows of padding.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or y or logSumExp overlaps another operand.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView qkv, in LayerState ring, int ringSlots, int keysVisible, in TensorView y,
        in TensorView logSumExp = default)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Matrix(qkv, Type, rows.Tokens, _shape.QkvWidth);
        Check.Matrix(y, Type, rows.Tokens, _shape.Width);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        Check.Aligned(y, _kernel.Plan.Vector);
        Check.Distinct(y, qkv);
        KeyValueRing.CheckOptional(ring, ringSlots, keysVisible, _shape.HeadDim, Type);
        if (!logSumExp.IsEmpty)
        {
            Check.Matrix(logSumExp, ElementType.Float32, rows.Tokens, _shape.Heads);
            Check.Distinct(logSumExp, qkv);
            Check.Distinct(logSumExp, y);
        }
        if (rows.Tokens == 0) return;
        int tileHeads = Math.Min(_shape.Heads, _kernel.Plan.TileRows);
        int tileTokens = _kernel.Plan.TileRows / tileHeads;
        WindowAttentionParams parameters = new()
        {
            Qkv = qkv.Address,
            Y = y.Address,
            LogSumExp = logSumExp.Address,
            Rows = rows.Params,
            Ring = ring.Params,
            QkvStride = qkv.RowStride,
            YStride = y.RowStride,
            LogSumExpStride = logSumExp.RowStride,
            Heads = _shape.Heads,
            TileTokens = tileTokens,
            TileHeads = tileHeads,
            RingSlots = ringSlots,
            KeysVisible = keysVisible,
            ScaleLog2 = KeyValueRing.Scale(_shape.HeadDim),
        };
        Dim3 grid = new((int)(((long)rows.Tokens + tileTokens - 1) / tileTokens), (_shape.Heads + tileHeads - 1) / tileHeads);
        _kernel.LaunchGrid(stream, grid, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(WindowAttention), new(model.Heads, model.HeadDim), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim, ringSlots = SelfTestBench.RingSlots;
        TensorView y = bench.Output(tokens, heads * headDim);
        new WindowAttention(bench.Device, bench.Type, heads, headDim, bench.Variant).Run(
            bench.Stream, bench.Rows(), bench.Input(tokens, (heads + 2) * headDim), SelfTestBench.State(bench.Ring()), ringSlots, ringSlots, y);
        return y;
    }

    private static KernelPlan Matrix(VariantQuery<AttentionShape> query)
    {
        int headDim = query.Shape.HeadDim;
        int keys = headDim <= 128 ? 64 : 32;
        int stride = ((headDim + 7) / 8 | 1) * 8;
        return new($"window_attention_mma<{headDim}, {keys}>", MatrixThreads)
        {
            Vector = 8,
            TileRows = MatrixRows,
            SharedBytes = (MatrixRows + 2 * keys) * stride * sizeof(ushort),
        };
    }

    private static KernelPlan General(in VariantQuery<AttentionShape> query, int vector)
    {
        int headDim = query.Shape.HeadDim;
        (int rows, int keys) = headDim switch { <= 16 => (32, 32), <= 64 => (64, 32), <= 128 => (32, 32), <= 256 => (32, 16), <= 512 => (16, 8), _ => (8, 8) };
        int stride = ((headDim + 3) / 4 | 1) * 4;
        return new($"window_attention<{query.T}, {headDim}, {rows}, {keys}, {vector}>", GeneralThreads)
        {
            Vector = vector,
            TileRows = rows,
            SharedBytes = ((rows + 2 * keys) * stride + rows * (keys + 4) + rows) * sizeof(float),
        };
    }
}

/// <summary>Query heads over one key/value head.</summary>
internal readonly record struct AttentionShape(int Heads, int HeadDim)
{
    public long QkvWidth => (Heads + 2L) * HeadDim;

    public long Width => (long)Heads * HeadDim;
}

/// <summary>Mirror of WindowAttentionParams in window_attention.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct WindowAttentionParams
{
    public ulong Qkv;
    public ulong Y;
    public ulong LogSumExp;
    public PackedRowsParams Rows;
    public SlotMemoryParams Ring;
    public long QkvStride;
    public long YStride;
    public long LogSumExpStride;
    public int Heads;
    public int TileTokens;
    public int TileHeads;
    public int RingSlots;
    public int KeysVisible;
    public float ScaleLog2;
}
