using System.Globalization;
using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Attention of one token per row over the state's ring, in which <see cref="RotaryStep"/> has written the token's own key and value. The ring's
/// slots are split over blocks, the last of which merge the splits in a fixed order. The splits depend on the shapes, the device and what was measured on it, not on positions.
/// </summary>
public sealed class DecodeAttention : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int Threads = 128;
    private const int SerialKeys = 64;
    private const int ReservedSharedBytes = 1024;   // of each block, for the driver
    private const int MaxMatrixHeadDim = 256;
    private const int MaxGroupHeads = 16;
    private const int MaxHeadDim = 1024;
    private const int MaxRows = 65_535;
    private const int UsualBlocks = 2;      // for each multiprocessor, as far as splits give them
    private const int ManyRows = 64;        // stands for the last class where it is measured
    private const int GlobalSlots = 2049;   // stands for the capacity of a model without a window
    private static readonly int[] candidates = [1, 2, 4, 8];   // such numbers of blocks
    private static readonly int[] rowClasses = [1, 4, 16, int.MaxValue];

    private static readonly KernelSource source = KernelSource.BuiltIn("decode_attention.cu");
    private static readonly KernelSource matrixSource = KernelSource.BuiltIn("decode_attention_mma.cu");

    private static readonly VariantTable<AttentionShape> variants = new(source,
        new KernelVariant<AttentionShape>("serial", Serial) { Fits = q => q.Kind == GpuDeviceKind.Emulator && q.Shape.HeadDim % q.Vector == 0 },
        // One block copies while another multiplies: two of them must share a multiprocessor, or tiles of half the keys are taken, of which more do.
        new KernelVariant<AttentionShape>("mma", q => ByMatrix(q, 64)) { Fits = FitsMatrix, Preferred = q => ByMatrix(q, 64).SharedBytes + ReservedSharedBytes <= q.Limits.SharedBytesPerMultiprocessor / 2 },
        new KernelVariant<AttentionShape>("mma-32", q => ByMatrix(q, 32)) { Fits = FitsMatrix },
        new KernelVariant<AttentionShape>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => Plan(q, 1)));

    private readonly AttentionShape _shape;
    private readonly int[] _blocks;   // for each multiprocessor, by row class
    private readonly PlannedKernel<DecodeAttentionParams> _kernel;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv, ring and result.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, at most 1024.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public DecodeAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null) : this(device, type, heads, headDim, variant, null)
    {
    }

    /// <summary>The same with so many blocks for each multiprocessor, whatever was measured.</summary>
    internal DecodeAttention(GpuDevice device, ElementType type, int heads, int headDim, string? variant, int? blocks) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(headDim, MaxHeadDim);
        _shape = new(heads, headDim);
        _blocks = [.. rowClasses.Select(rows => blocks ?? (variant is null ? Measured(rows) : null) ?? UsualBlocks)];
        _kernel = Request<AttentionShape, DecodeAttentionParams>(variants, _shape, variant);
    }

    /// <summary>Bytes of workspace that a call of up to so many rows needs; it may be shared by the layers of a stream.</summary>
    /// <remarks>Fewer rows are split more, so the need of a call does not grow evenly with its rows.</remarks>
    /// <param name="rows">Most rows of a call.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    public long WorkspaceBytes(int rows, int ringSlots) => Most(rows, ringSlots, WorkspaceOf);

    /// <summary>Bytes of the counters of a call of up to so many rows, by which blocks learn that they are the last; calls of one stream may share them.</summary>
    /// <param name="rows">Most rows of a call.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    public long ArrivalBytes(int rows, int ringSlots) => Most(rows, ringSlots, ArrivalsOf);

    /// <summary>Queues the attention.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">Rows of one token each.</param>
    /// <param name="qkv">[B, (heads + 2) · headDim]; only the rotated q is read.</param>
    /// <param name="ring">The layer's keys [ringSlots, headDim], then values, in every slot, the token's own included.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <param name="keysVisible">Keys that a token sees, itself included; at most <paramref name="ringSlots"/>.</param>
    /// <param name="y">[B, heads · headDim]; rows of padding become zeros.</param>
    /// <param name="workspace">Memory of at least <see cref="WorkspaceBytes"/>, of any type, aligned to 16 bytes.</param>
    /// <param name="arrivals">Memory of at least <see cref="ArrivalBytes"/>, of any type, aligned to 16 bytes, that is zero; it is zero again afterwards.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, a row has not one token, or the workspace or the counters are too small.</exception>
    public void Run(
        GpuStream stream, in PackedRows rows, in TensorView qkv, in LayerState ring, int ringSlots, int keysVisible, in TensorView y, in TensorView workspace,
        in TensorView arrivals)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Matrix(qkv, Type, rows.Tokens, _shape.QkvWidth);
        Check.Matrix(y, Type, rows.Tokens, _shape.Width);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        Check.Aligned(y, _kernel.Plan.Vector);
        KeyValueRing.CheckStep(rows);
        KeyValueRing.Check(ring, ringSlots, _shape.HeadDim, Type);
        KeyValueRing.CheckVisible(keysVisible, ringSlots);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows.Rows, MaxRows, nameof(rows));
        if (rows.Tokens == 0) return;
        SplitPlan plan = Splits(rows.Rows, ringSlots);
        if (plan.Splits > 1)
        {
            Check.Workspace(workspace, WorkspaceOf(rows.Rows, plan));
            Check.Workspace(arrivals, ArrivalsOf(rows.Rows, plan));
        }

        DecodeAttentionParams parameters = new()
        {
            Qkv = qkv.Address,
            Y = y.Address,
            Partial = workspace.Address,
            Statistics = workspace.Address + (ulong)(Partials(rows.Rows, plan) * _shape.HeadDim * sizeof(float)),
            Arrivals = arrivals.Address,
            Rows = rows.Params,
            Ring = ring.Params,
            QkvStride = qkv.RowStride,
            YStride = y.RowStride,
            Heads = _shape.Heads,
            Splits = plan.Splits,
            SplitSlots = plan.Slots,
            GroupSplits = plan.GroupSplits,
            RingSlots = ringSlots,
            KeysVisible = keysVisible,
            ScaleLog2 = KeyValueRing.Scale(_shape.HeadDim),
        };
        _kernel.LaunchGrid(stream, new Dim3(plan.Splits, rows.Rows, HeadGroups), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(DecodeAttention), new(model.Heads, model.HeadDim), type);
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
        const int rows = SelfTestBench.Slots, heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim, ringSlots = 620;
        DecodeAttention op = new(bench.Device, bench.Type, heads, headDim, bench.Variant, 16);   // splits enough to be merged by groups
        TensorView y = bench.Output(rows, heads * headDim);
        op.Run(
            bench.Stream, bench.Steps(ringSlots + 3), bench.Input(rows, (heads + 2) * headDim), SelfTestBench.State(bench.Ring(ringSlots)), ringSlots, ringSlots,
            y, bench.Workspace(op.WorkspaceBytes(rows, ringSlots)), bench.Zeros(op.ArrivalBytes(rows, ringSlots)));
        return y;
    }

    private int HeadGroups => (_shape.Heads + _kernel.Plan.TileRows - 1) / _kernel.Plan.TileRows;

    // Fewer rows are split more: the most rows need not be what takes the most.
    private long Most(int rows, int ringSlots, Func<int, SplitPlan, long> bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ringSlots);
        long most = 0;
        for (int count = 1; count <= rows; count++) most = Math.Max(most, bytes(count, Splits(count, ringSlots)));
        return most;
    }

    private long Partials(int rows, in SplitPlan plan) => plan.Splits == 1 ? 0 : (long)rows * _shape.Heads * plan.Parts;

    private long WorkspaceOf(int rows, SplitPlan plan) => Partials(rows, plan) * (_shape.HeadDim + 2L) * sizeof(float);

    private long ArrivalsOf(int rows, SplitPlan plan) => plan.Splits == 1 ? 0 : (long)rows * HeadGroups * (plan.Groups + 1) * sizeof(uint);

    private static string NameOf(int blocks) => blocks.ToString(CultureInfo.InvariantCulture);

    private static string KeyOf(AttentionShape shape, int rows, ElementType type) => TuningQuestion.KeyOf(source, type,
        $"{shape.Heads} heads of {shape.HeadDim}, {(rows == int.MaxValue ? "more" : rows)} rows, blocks for each multiprocessor", matrixSource);

    private static TuningRun Prepare(TuningBench bench, string candidate, AttentionShape shape, int rows, int slots, ElementType type)
    {
        DecodeAttention op = new(bench.Device, type, shape.Heads, shape.HeadDim, null, int.Parse(candidate, CultureInfo.InvariantCulture));
        PackedRows steps = bench.Steps(rows, slots - 1);
        TensorView qkv = bench.Operand(type, rows, shape.QkvWidth), y = bench.Output(type, rows, shape.Width), workspace = bench.Workspace(op.WorkspaceBytes(rows, slots));
        TensorView arrivals = bench.Zeros(op.ArrivalBytes(rows, slots));
        long slotElements = 2L * slots * shape.HeadDim;
        TensorView[] rings = [.. Enumerable.Range(0, bench.SetsFor(rows * slotElements * type.SizeOf())).Select(_ => bench.Operand(type, rows, slotElements))];
        return new(run => op.Run(bench.Stream, steps, qkv, StateOf(rings[run % rings.Length]), slots, slots, y, workspace, arrivals), y);

        static LayerState StateOf(TensorView ring) => new(ring.Owner, ring.Address, ring.RowStride * ring.Type.SizeOf());
    }

    // The measured number of blocks; null where none is on record.
    private int? Measured(int rows) => Device.Tuning.Find(KeyOf(_shape, rows, Type))?.Fastest(name => candidates.Select(NameOf).Contains(name)) is { } fastest
        ? int.Parse(fastest, CultureInfo.InvariantCulture)
        : null;

    /// <summary>Name of the variant that a GPU of such limits takes.</summary>
    internal static string VariantFor(AttentionShape shape, ElementType type, DeviceLimits limits) => variants.Choose(new(shape, type, limits, GpuDeviceKind.Cuda)).Variant.Name;

    /// <summary>Parts that the ring's keys of a call of so many rows are cut into.</summary>
    internal int SplitsFor(int rows, int ringSlots) => Splits(rows, ringSlots).Splits;

    // About as many blocks per multiprocessor as measured, or two, each of whole tiles of keys.
    private SplitPlan Splits(int rows, int ringSlots) => SplitPlan.For(
        (long)_blocks[Tiling.ClassOf(rowClasses, rows)] * Device.Limits.MultiprocessorCount, (long)rows * HeadGroups, ringSlots, _kernel.Plan.TileColumns);

    // Heads that share a block's keys, at most so many, as evenly as it goes.
    private static int GroupHeads(AttentionShape shape, int most = MaxGroupHeads)
    {
        int groups = (shape.Heads + most - 1) / most;
        return (shape.Heads + groups - 1) / groups;
    }

    // Those whose sums a block's registers hold.
    private static int HeldHeads(AttentionShape shape) => GroupHeads(shape, Math.Min(MaxGroupHeads, 4096 / shape.HeadDim));

    private static KernelPlan Serial(VariantQuery<AttentionShape> query)
    {
        int heads = HeldHeads(query.Shape);
        return new($"decode_attention_serial<{query.T}, {query.Shape.HeadDim}, {heads}, {SerialKeys}, {query.Vector}>", 1)
        {
            Waits = true,
            Vector = query.Vector,
            TileRows = heads,
            TileColumns = SerialKeys,
        };
    }

    private static bool FitsMatrix(VariantQuery<AttentionShape> query) =>
        query.Type == ElementType.BFloat16 && query.Shape.HeadDim % 32 == 0 && query.Shape.HeadDim <= MaxMatrixHeadDim;

    private static KernelPlan ByMatrix(in VariantQuery<AttentionShape> query, int keys)
    {
        int headDim = query.Shape.HeadDim, groupHeads = GroupHeads(query.Shape);
        int stride = (headDim / 8 | 1) * 8;
        return new($"decode_attention_mma<{headDim}, {groupHeads}, {keys}>", Threads)
        {
            Source = matrixSource,
            Waits = true,
            Vector = query.Vector,
            TileRows = groupHeads,
            TileColumns = keys,
            SharedBytes = (MaxGroupHeads + 2 * keys) * stride * sizeof(ushort) + 2 * MaxGroupHeads * (keys + 8) * sizeof(float),
        };
    }

    private static KernelPlan Plan(in VariantQuery<AttentionShape> query, int vector)
    {
        int headDim = query.Shape.HeadDim, groupHeads = HeldHeads(query.Shape);
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

/// <summary>How a row's ring is split over blocks, and the splits merged.</summary>
/// <param name="Splits">Blocks of a row and group of heads, at most 64.</param>
/// <param name="Slots">Ring slots of a split.</param>
internal readonly record struct SplitPlan(int Splits, int Slots)
{
    private const int MergedParts = 8;   // MERGED_PARTS of decode_attention.cuh; two rounds of merging take as many groups of as many splits

    /// <summary>About so many blocks in all, each of whole tiles.</summary>
    /// <param name="wanted">Blocks wanted.</param>
    /// <param name="unsplit">Blocks if nothing were split: rows times groups of heads.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <param name="tileSlots">Slots of a tile.</param>
    public static SplitPlan For(long wanted, long unsplit, int ringSlots, int tileSlots)
    {
        int tiles = (ringSlots + tileSlots - 1) / tileSlots;
        long splits = Math.Clamp((wanted + unsplit - 1) / unsplit, 1, Math.Min(MergedParts * MergedParts, tiles));
        int splitTiles = (int)((tiles + splits - 1) / splits);
        return new((tiles + splitTiles - 1) / splitTiles, splitTiles * tileSlots);
    }

    /// <summary>Splits that one block merges: all, or about as many as there are groups of them then.</summary>
    public int GroupSplits => Splits <= MergedParts ? Splits : (int)Math.Ceiling(Math.Sqrt(Splits));

    /// <summary>Groups of splits.</summary>
    public int Groups => (Splits + GroupSplits - 1) / GroupSplits;

    /// <summary>Partial results of a query: of its splits, and of the groups where there are several.</summary>
    public int Parts => Groups > 1 ? Splits + Groups : Splits;
}

/// <summary>Mirror of DecodeAttentionParams in decode_attention.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DecodeAttentionParams
{
    public ulong Qkv;
    public ulong Y;
    public ulong Partial;
    public ulong Statistics;
    public ulong Arrivals;
    public PackedRowsParams Rows;
    public SlotMemoryParams Ring;
    public long QkvStride;
    public long YStride;
    public int Heads;
    public int Splits;
    public int SplitSlots;
    public int GroupSplits;
    public int RingSlots;
    public int KeysVisible;
    public float ScaleLog2;
}
