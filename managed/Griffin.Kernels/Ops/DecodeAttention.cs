using System.Globalization;
using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Attention of one token per row over the state's ring, in which <see cref="RotaryStep"/> has written the token's own key and value. The ring's
/// slots are split over blocks; a second kernel merges the splits in a fixed order. The splits depend on the shapes, the device and what was measured on it, not on positions.
/// </summary>
public sealed class DecodeAttention : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int Threads = 128;
    private const int CombineThreads = 256;
    private const int SerialKeys = 64;
    private const int MaxSplits = 64;
    private const int MaxGroupHeads = 16;
    private const int MaxHeadDim = 1024;
    private const int MaxRows = 65_535;
    private const int UsualBlocks = 2;      // for each multiprocessor, as far as splits give them
    private const int ManyRows = 64;        // stands for the last class where it is measured
    private const int GlobalSlots = 2049;   // stands for the capacity of a model without a window
    private static readonly int[] candidates = [1, 2, 4, 8];   // such numbers of blocks
    private static readonly int[] rowClasses = [1, 4, 16, int.MaxValue];

    private static readonly KernelSource source = KernelSource.BuiltIn("decode_attention.cu");

    private static readonly VariantTable<AttentionShape> variants = new(source,
        new KernelVariant<AttentionShape>("serial", Serial) { Fits = q => q.Kind == GpuDeviceKind.Emulator && q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => Plan(q, 1)));

    private static readonly VariantTable<AttentionShape> combineVariants = new(source,
        new KernelVariant<AttentionShape>("combine", q => new KernelPlan($"decode_attention_combine<{q.T}>", CombineThreads) { Waits = true }));

    private readonly AttentionShape _shape;
    private readonly int[] _blocks;   // for each multiprocessor, by row class
    private readonly PlannedKernel<DecodeAttentionParams> _kernel;
    private readonly PlannedKernel<DecodeAttentionCombineParams> _combine;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv, ring and result.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, at most 1024.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public DecodeAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null) : this(device, type, heads, headDim, variant, null)
    {
    }

    private DecodeAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant, int? blocks) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(headDim, MaxHeadDim);
        _shape = new(heads, headDim);
        _blocks = [.. rowClasses.Select(rows => blocks ?? (variant is null ? Measured(rows) : null) ?? UsualBlocks)];
        _kernel = Request<AttentionShape, DecodeAttentionParams>(variants, _shape, variant);
        _combine = Request<AttentionShape, DecodeAttentionCombineParams>(combineVariants, _shape);
    }

    /// <summary>Bytes of workspace that a call of up to so many rows needs; it may be shared by the layers of a stream.</summary>
    /// <remarks>Fewer rows are split more, so the need of a call does not grow evenly with its rows.</remarks>
    /// <param name="rows">Most rows of a call.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    public long WorkspaceBytes(int rows, int ringSlots)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ringSlots);
        long partials = 0;
        for (int count = 1; count <= rows; count++) partials = Math.Max(partials, Partials(count, ringSlots));
        return BytesOf(partials);
    }

    /// <summary>Queues the attention.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">Rows of one token each.</param>
    /// <param name="qkv">[B, (heads + 2) · headDim]; only the rotated q is read.</param>
    /// <param name="ring">The layer's keys [ringSlots, headDim], then values, in every slot, the token's own included.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <param name="keysVisible">Keys that a token sees, itself included; at most <paramref name="ringSlots"/>.</param>
    /// <param name="y">[B, heads · headDim]; rows of padding become zeros.</param>
    /// <param name="workspace">Memory of at least <see cref="WorkspaceBytes"/>, of any type, aligned to 4 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, a row has not one token, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView qkv, in LayerState ring, int ringSlots, int keysVisible, in TensorView y, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Matrix(qkv, Type, rows.Tokens, _shape.QkvWidth);
        Check.Matrix(y, Type, rows.Tokens, _shape.Width);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        KeyValueRing.CheckStep(rows);
        KeyValueRing.Check(ring, ringSlots, _shape.HeadDim, Type);
        KeyValueRing.CheckVisible(keysVisible, ringSlots);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows.Rows, MaxRows, nameof(rows));
        if (rows.Tokens == 0) return;
        long needed = BytesOf(Partials(rows.Rows, ringSlots));
        if (workspace.IsEmpty || workspace.Address % sizeof(float) != 0 || workspace.Length * workspace.Type.SizeOf() < needed)
            throw new ArgumentException($"workspace must be {needed} bytes, aligned to 4.", nameof(workspace));

        (int splits, int splitSlots) = Splits(rows.Rows, ringSlots);
        ulong statistics = workspace.Address + (ulong)(Partials(rows.Rows, ringSlots) * _shape.HeadDim * sizeof(float));
        DecodeAttentionParams parameters = new()
        {
            Qkv = qkv.Address,
            Partial = workspace.Address,
            Statistics = statistics,
            Rows = rows.Params,
            Ring = ring.Params,
            QkvStride = qkv.RowStride,
            Heads = _shape.Heads,
            Splits = splits,
            SplitSlots = splitSlots,
            RingSlots = ringSlots,
            KeysVisible = keysVisible,
            ScaleLog2 = KeyValueRing.Scale(_shape.HeadDim),
        };
        _kernel.LaunchGrid(stream, new Dim3(splits, rows.Rows, HeadGroups), parameters);

        DecodeAttentionCombineParams combine = new()
        {
            Partial = workspace.Address,
            Statistics = statistics,
            Y = y.Address,
            YStride = y.RowStride,
            Elements = rows.Rows * _shape.Width,
            Heads = _shape.Heads,
            HeadDim = _shape.HeadDim,
            Splits = splits,
        };
        _combine.Launch(stream, (combine.Elements + CombineThreads - 1) / CombineThreads, combine);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        AttentionShape shape = new(model.Heads, model.HeadDim);
        return variants.Enumerate(nameof(DecodeAttention), shape, type).Concat(combineVariants.Enumerate(nameof(DecodeAttention), shape, type));
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasAttentionLayers) return [];
        AttentionShape shape = new(model.Heads, model.HeadDim);
        int slots = model.Window + 1 ?? GlobalSlots;
        string[] names = [.. candidates.Select(NameOf)];
        return rowClasses.Select(rows => new TuningQuestion(
            KeyOf(shape, rows, type), names, (bench, candidate) => Prepare(bench, candidate, shape, Math.Min(rows, ManyRows), slots, type)));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim, ringSlots = SelfTestBench.RingSlots;
        DecodeAttention op = new(bench.Device, bench.Type, heads, headDim, bench.Variant);
        TensorView y = bench.Output(rows, heads * headDim);
        op.Run(
            bench.Stream, bench.Steps(), bench.Input(rows, (heads + 2) * headDim), SelfTestBench.State(bench.Ring()), ringSlots, ringSlots,
            y, bench.Workspace(op.WorkspaceBytes(rows, ringSlots)));
        return y;
    }

    private int HeadGroups => (_shape.Heads + _kernel.Plan.TileRows - 1) / _kernel.Plan.TileRows;

    private long BytesOf(long partials) => partials * (_shape.HeadDim + 2L) * sizeof(float);

    private long Partials(int rows, int ringSlots) => (long)rows * _shape.Heads * Splits(rows, ringSlots).Count;

    private static string NameOf(int blocks) => blocks.ToString(CultureInfo.InvariantCulture);

    private static string KeyOf(AttentionShape shape, int rows, ElementType type) => TuningQuestion.KeyOf(source, type,
        $"{shape.Heads} heads of {shape.HeadDim}, {(rows == int.MaxValue ? "more" : rows)} rows, blocks for each multiprocessor");

    private static TuningRun Prepare(TuningBench bench, string candidate, AttentionShape shape, int rows, int slots, ElementType type)
    {
        DecodeAttention op = new(bench.Device, type, shape.Heads, shape.HeadDim, null, int.Parse(candidate, CultureInfo.InvariantCulture));
        PackedRows steps = bench.Steps(rows, slots - 1);
        TensorView qkv = bench.Operand(type, rows, shape.QkvWidth), y = bench.Output(type, rows, shape.Width), workspace = bench.Workspace(op.WorkspaceBytes(rows, slots));
        long slotElements = 2L * slots * shape.HeadDim;
        TensorView[] rings = [.. Enumerable.Range(0, bench.SetsFor(rows * slotElements * type.SizeOf())).Select(_ => bench.Operand(type, rows, slotElements))];
        return new(run => op.Run(bench.Stream, steps, qkv, StateOf(rings[run % rings.Length]), slots, slots, y, workspace), y);

        static LayerState StateOf(TensorView ring) => new(ring.Owner, ring.Address, ring.RowStride * ring.Type.SizeOf());
    }

    // The measured number of blocks; null where none is on record.
    private int? Measured(int rows) => Device.Tuning.Find(KeyOf(_shape, rows, Type))?.Fastest(name => candidates.Select(NameOf).Contains(name)) is { } fastest
        ? int.Parse(fastest, CultureInfo.InvariantCulture)
        : null;

    /// <summary>Parts that the ring's keys of a call of so many rows are cut into.</summary>
    internal int SplitsFor(int rows, int ringSlots) => Splits(rows, ringSlots).Count;

    // About as many blocks per multiprocessor as measured, or two, each of whole tiles of keys.
    private (int Count, int Slots) Splits(int rows, int ringSlots)
    {
        int keys = _kernel.Plan.TileColumns;
        int tiles = (ringSlots + keys - 1) / keys;
        long blocks = (long)rows * HeadGroups;
        long wanted = Math.Clamp(((long)_blocks[Tiling.ClassOf(rowClasses, rows)] * Device.Limits.MultiprocessorCount + blocks - 1) / blocks, 1, Math.Min(MaxSplits, tiles));
        int tilesPerSplit = (int)((tiles + wanted - 1) / wanted);
        return ((tiles + tilesPerSplit - 1) / tilesPerSplit, tilesPerSplit * keys);
    }

    // Heads that share a block's keys, as evenly as it goes.
    private static int GroupHeads(AttentionShape shape)
    {
        int most = Math.Min(MaxGroupHeads, 4096 / shape.HeadDim), groups = (shape.Heads + most - 1) / most;
        return (shape.Heads + groups - 1) / groups;
    }

    private static KernelPlan Serial(VariantQuery<AttentionShape> query)
    {
        int heads = GroupHeads(query.Shape);
        return new($"decode_attention_serial<{query.T}, {query.Shape.HeadDim}, {heads}, {SerialKeys}, {query.Vector}>", 1)
        {
            Waits = true,
            Vector = query.Vector,
            TileRows = heads,
            TileColumns = SerialKeys,
        };
    }

    private static KernelPlan Plan(in VariantQuery<AttentionShape> query, int vector)
    {
        int headDim = query.Shape.HeadDim, groupHeads = GroupHeads(query.Shape);
        int size = query.Type.SizeOf();
        int keys = (headDim * size) switch { <= 1024 => 32, <= 2048 => 16, _ => 8 };
        int words = (headDim + query.Vector - 1) / query.Vector;
        int stride = (words | 1) * query.Vector;
        return new($"decode_attention<{query.T}, {headDim}, {groupHeads}, {keys}, {vector}>", Threads)
        {
            Waits = true,
            Vector = vector,
            TileRows = groupHeads,
            TileColumns = keys,
            SharedBytes = groupHeads * (words * query.Vector + keys) * sizeof(float) + 2 * keys * stride * size,
        };
    }
}

/// <summary>Mirror of DecodeAttentionParams in decode_attention.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DecodeAttentionParams
{
    public ulong Qkv;
    public ulong Partial;
    public ulong Statistics;
    public PackedRowsParams Rows;
    public SlotMemoryParams Ring;
    public long QkvStride;
    public int Heads;
    public int Splits;
    public int SplitSlots;
    public int RingSlots;
    public int KeysVisible;
    public float ScaleLog2;
}

/// <summary>Mirror of DecodeAttentionCombineParams in decode_attention.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DecodeAttentionCombineParams
{
    public ulong Partial;
    public ulong Statistics;
    public ulong Y;
    public long YStride;
    public long Elements;
    public int Heads;
    public int HeadDim;
    public int Splits;
}
