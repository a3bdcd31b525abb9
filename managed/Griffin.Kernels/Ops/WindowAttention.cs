using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Sliding-window attention of several query heads over one key/value head, for calls of any length: each token sees the keysVisible newest
/// positions of its own document up to its own, from the ring and from the call. With keysVisible as large as the ring it is global
/// attention; without a ring, for rows that start afresh and leave no state (training), keysVisible may be anything. A query's bits depend on what it sees and on its position, not on how the sequence was cut into calls.
/// </summary>
public sealed class WindowAttention : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    /// <summary>Forces the kernel by warpgroup products, for devices of compute capability 9.0.</summary>
    public const string Warpgroup = "warpgroup";

    private const string Matrix = "mma";
    private const int TuningTokens = 4096;
    private const int MatrixRows = 128;
    private const int MatrixThreads = 256;
    private const int GeneralThreads = 128;
    private const int MaxHeadDim = 1024;

    private static readonly KernelSource warpgroupSource = KernelSource.BuiltIn("window_attention_warpgroup.cu");

    private static readonly VariantTable<AttentionShape> variants = new(KernelSource.BuiltIn("window_attention.cu"),
        new KernelVariant<AttentionShape>(Matrix, ByWarps) { Fits = q => q.Type == ElementType.BFloat16 && q.Shape.HeadDim % 16 == 0 && q.Shape.HeadDim <= 256 },
        // Not chosen unmeasured: it has not run on a GPU yet.
        new KernelVariant<AttentionShape>(Warpgroup, ByWarpgroups)
        {
            Fits = q => q.Limits.WarpgroupProducts && q.Type == ElementType.BFloat16 && (q.Shape.HeadDim is 64 or 128 or 256),
            Preferred = static _ => false,
        },
        new KernelVariant<AttentionShape>("vector", q => General(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => General(q, 1)));

    private readonly AttentionShape _shape;
    private readonly PlannedKernel<WindowAttentionParams> _kernel;

    /// <summary>Chooses and requests the kernel: the one that was measured to be the fastest on the device, or else the usual one.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv, ring and result.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, at most 1024.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    /// <param name="batchInvariant">Whether the choice must follow from shape, type and device alone, so that nothing measured counts.</param>
    public WindowAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null, bool batchInvariant = false) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(headDim, MaxHeadDim);
        _shape = new(heads, headDim);
        _kernel = Request<AttentionShape, WindowAttentionParams>(variants, _shape, variant ?? (batchInvariant ? null : Measured()));
    }

    /// <summary>Name of the variant that calls take.</summary>
    public string Variant => _kernel.Variant;

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
        KernelPlan plan = _kernel.Plan;
        int tileHeads = Math.Min(_shape.Heads, plan.TileRows);
        int tileTokens = plan.TileRows / tileHeads;
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
        // The warpgroups' tiles begin and end within a token's heads, and so are always full.
        if (_kernel.Variant == Warpgroup) _kernel.Launch(stream, Tiling.Count((long)rows.Tokens * _shape.Heads, plan.TileRows), parameters);
        else _kernel.LaunchGrid(stream, new Dim3(Tiling.Count(rows.Tokens, tileTokens), Tiling.Count(_shape.Heads, tileHeads)), parameters);
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

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasAttentionLayers) return [];
        AttentionShape shape = new(model.Heads, model.HeadDim);
        string[] candidates = [.. variants.Fitting(new(shape, type, device.Limits, device.Kind)).Where(name => name is Matrix or Warpgroup)];
        int visible = model.Window is { } window ? window + 1 : int.MaxValue;
        return [new TuningQuestion(KeyOf(shape, type), candidates, (bench, candidate) => Prepare(bench, candidate, shape, type, visible))];
    }

    private static string KeyOf(AttentionShape shape, ElementType type) => TuningQuestion.KeyOf(variants.Source, type, $"{shape.Heads} heads of {shape.HeadDim}", warpgroupSource);

    private static TuningRun Prepare(TuningBench bench, string candidate, AttentionShape shape, ElementType type, int visible)
    {
        WindowAttention op = new(bench.Device, type, shape.Heads, shape.HeadDim, candidate);
        PackedRows rows = bench.Rows(1, TuningTokens);
        TensorView[] qkv = [.. Enumerable.Range(0, bench.SetsFor(TuningTokens * shape.QkvWidth * type.SizeOf())).Select(_ => bench.Operand(type, TuningTokens, shape.QkvWidth))];
        TensorView y = bench.Output(type, TuningTokens, shape.Width);
        return new(run => op.Run(bench.Stream, rows, qkv[run % qkv.Length], default, 0, visible, y), y);
    }

    private string? Measured()
    {
        IReadOnlyList<string> fitting = variants.Fitting(Query(_shape));
        return Device.Tuning.Find(KeyOf(_shape, Type))?.Fastest(fitting.Contains);
    }

    private static KernelPlan ByWarps(VariantQuery<AttentionShape> query)
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

    private static KernelPlan ByWarpgroups(VariantQuery<AttentionShape> query)
    {
        const int queries = 128, keys = 80, stages = 2, alignment = 1024;
        int headDim = query.Shape.HeadDim;
        return new($"window_attention_warpgroup<{headDim}, {keys}>", 384)
        {
            Vector = query.Vector,
            TileRows = queries,
            SharedBytes = (queries + 2 * stages * keys) * headDim * sizeof(ushort) + alignment,
            Source = warpgroupSource,
            Architecture = "sm_90a",
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
