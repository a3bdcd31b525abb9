using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The RG-LRU scan over packed rows, gates and the GELU branch fused: h_t = a_t·h_{t-1} + sqrt(1 - a_t²)·σ(input gate)·z_t with
/// a_t = exp(-8·softplus(Λ)·σ(recurrence gate)), restarted where a document starts; output round(h · gelu(y + yBias)). h stays in float32.
/// </summary>
/// <remarks>
/// The sequential variants walk each row in time and give the same bits under any split of a sequence into calls. On a GPU two others read their inputs
/// through tiles in shared memory: the ring walks rows in time, for many channels; the look-back cuts time, for few channels and long rows. On compute
/// capability 9.0 there is also the cluster, which cuts time as the look-back does and hands its carries on in shared memory; it is taken only where it was
/// measured to be the fastest. The chunked variants cut time in three launches, for widths that tiles do not take. What cuts time needs a workspace.
/// </remarks>
public sealed class RgLru : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    /// <summary>Forces the scan that gives equal bits under any split of a sequence into calls.</summary>
    public const string Sequential = "sequential";

    /// <summary>Forces the scan in chunks of time, in three launches.</summary>
    public const string Chunked = "chunked";

    /// <summary>Forces the scan that walks rows through tiles in shared memory.</summary>
    public const string Ring = "ring";

    /// <summary>Forces the scan in tiles of time whose carries travel by look-back.</summary>
    public const string LookBack = "look-back";

    /// <summary>Forces the scan in tiles of time whose carries travel through clusters of blocks (compute capability 9.0).</summary>
    public const string Cluster = "cluster";

    private const int MaxThreads = 64;
    private const int PairVector = 2;
    private const int StagedTensors = 4;
    private const int ResidentBlocks = 3;   // of the tiles' kernels, on a multiprocessor of sm_90

    // Two channels per thread keep a GPU busier than eight; the emulator is better off with fewer, longer threads.
    private static readonly VariantTable<int> sequentialVariants = new(KernelSource.BuiltIn("rg_lru.cu"),
        new KernelVariant<int>("sequential-pair", q => Plan(q, "rg_lru", PairVector)) { Fits = q => q.Shape % PairVector == 0, Preferred = q => q.Kind == GpuDeviceKind.Cuda },
        new KernelVariant<int>("sequential-vector", q => Plan(q, "rg_lru", q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("sequential-general", q => Plan(q, "rg_lru", 1)));

    private static readonly VariantTable<int> summarizeVariants = ChunkedTable("rg_lru_summarize");
    private static readonly VariantTable<int> carryVariants = ChunkedTable("rg_lru_carry");
    private static readonly VariantTable<int> chunkVariants = ChunkedTable("rg_lru_chunks");

    private static readonly VariantTable<int> tileVariants = new(KernelSource.BuiltIn("rg_lru_tiles.cu"),
        new KernelVariant<int>(Ring, q => ScanTiles.Plan(q, "rg_lru_ring", 2 * StagedTensors * TileTokens(q.Type) * ScanTiles.Channels * q.Type.SizeOf())) { Fits = FitsTiles },
        new KernelVariant<int>(LookBack, q => ScanTiles.Plan(q, "rg_lru_look_back")) { Fits = FitsTiles });

    // Not chosen unmeasured: it has not run on a GPU yet.
    private static readonly VariantTable<int> clusterVariants = new(KernelSource.BuiltIn("rg_lru_cluster.cu"),
        new KernelVariant<int>(Cluster, q => ScanTiles.Plan(q, "rg_lru_cluster") with { Architecture = "sm_90a" }) { Fits = FitsClusters });

    private readonly ScanKernels<RgLruParams> _kernels;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand; h is float32.</param>
    /// <param name="width">Channels.</param>
    /// <param name="variant">
    /// <see cref="Sequential"/>, <see cref="Chunked"/>, <see cref="Ring"/>, <see cref="LookBack"/> or <see cref="Cluster"/> to force one way, or the name of a variant; null to
    /// choose, call by call, by what was measured on the device, or else by the size of the call and of the device.
    /// </param>
    public RgLru(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        ScanAnswers measured = variant is null ? ScanAnswers.Of(device, call => KeyOf(width, call, type), Candidates(Query(width))) : ScanAnswers.None;
        bool choose = variant is null && device.Kind == GpuDeviceKind.Cuda, tiles = choose && FitsTiles(Query(width));
        bool chunked = variant?.StartsWith(Chunked, StringComparison.Ordinal) ?? ((choose && !tiles) || measured.Has(ScanForm.Chunked));
        bool sequential = variant is not (Ring or LookBack or Cluster) && (!chunked || variant is null);
        string? part = variant is Sequential or Chunked ? null : variant;
        _kernels = new(device, width, TileTokens(type), ResidentBlocks)
        {
            Measured = measured,
            Sequential = sequential ? Request<int, RgLruParams>(sequentialVariants, width, part) : null,
            Chunked = chunked
                ? new(Request<int, RgLruParams>(summarizeVariants, width, part), Request<int, RgLruParams>(carryVariants, width, part),
                    Request<int, RgLruParams>(chunkVariants, width, part))
                : null,
            Ring = tiles || variant is Ring || measured.Has(ScanForm.Ring) ? Request<int, RgLruParams>(tileVariants, width, Ring) : null,
            LookBack = tiles || variant is LookBack || measured.Has(ScanForm.LookBack) ? Request<int, RgLruParams>(tileVariants, width, LookBack) : null,
            Cluster = variant is Cluster || measured.Has(ScanForm.Cluster) ? Request<int, RgLruParams>(clusterVariants, width, Cluster) : null,
        };
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Bytes of a slot's state: h, float32.</summary>
    public long StateBytes => (long)Width * sizeof(float);

    /// <summary>Bytes of workspace that a call of so many tokens and rows may use.</summary>
    public long WorkspaceBytes(int tokens, int rows) => _kernels.Largest(form => BytesOf(form, tokens, rows));

    /// <summary>Queues the scan.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="z">[N, width], the convolution's result.</param>
    /// <param name="gates">[N, 2·width]: input gate logits, then recurrence gate logits.</param>
    /// <param name="y">[N, width], the product that makes the GELU branch, without its bias.</param>
    /// <param name="yBias">[width], or empty.</param>
    /// <param name="lambda">[width].</param>
    /// <param name="output">[N, width]; may be exactly z or y.</param>
    /// <param name="state">
    /// The layer's h, float32 [width] per slot; updated for every row with a real token. <see cref="LayerState.None"/>: every row starts from zero
    /// and leaves nothing.
    /// </param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes; may be empty when that is 0.</param>
    /// <param name="hidden">[N, width] for round(h_t), which <see cref="RgLruBackward"/> needs; may be empty. Shares nothing with the rest.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap in part, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView z, in TensorView gates, in TensorView y, in TensorView yBias, in TensorView lambda,
        in TensorView output, in LayerState state, in TensorView workspace, in TensorView hidden = default)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ScanForm form = _kernels.FormFor(rows.Tokens, rows.Rows);
        RgLruOperands operands = new(z, gates, y, yBias, lambda, output, state);
        int vector = _kernels.Vector(form);
        operands.CheckAll(Type, rows.Tokens, Width, vector);
        if (state != LayerState.None) operands.CheckState(Width);
        if (!hidden.IsEmpty) CheckHidden(hidden, operands, rows.Tokens, vector);
        if (rows.Tokens == 0) return;
        if (ScanKernels<RgLruParams>.HasPairs(form)) Check.Workspace(workspace, BytesOf(form, rows.Tokens, rows.Rows));
        RgLruParams parameters = new()
        {
            Z = operands.Z.Address,
            Gates = operands.Gates.Address,
            Y = operands.Y.Address,
            YBias = operands.YBias.Address,
            Lambda = operands.Lambda.Address,
            Output = operands.Output.Address,
            Hidden = hidden.Address,
            Workspace = workspace.Address + (ulong)_kernels.ProgressBytes(form, rows.Tokens, rows.Rows),
            Progress = workspace.Address,
            Rows = rows.Params,
            State = operands.State.Params,
            ZStride = operands.Z.RowStride,
            GatesStride = operands.Gates.RowStride,
            YStride = operands.Y.RowStride,
            OutputStride = operands.Output.RowStride,
            HiddenStride = hidden.RowStride,
            Width = Width,
            Chunk = ScanTiles.ChunkTokens,
        };
        _kernels.Launch(stream, form, rows.Tokens, rows.Rows, workspace, parameters);
    }

    /// <summary>Name of the form that a call of so many tokens and rows takes: what forces it.</summary>
    public string VariantFor(int tokens, int rows) => ScanKernels.NameOf(_kernels.FormFor(tokens, rows));

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new[] { sequentialVariants, summarizeVariants, carryVariants, chunkVariants, tileVariants, clusterVariants }
            .SelectMany(table => table.Enumerate(nameof(RgLru), model.RnnWidth, type));
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasRecurrentLayers) return [];
        int width = model.RnnWidth;
        IReadOnlyList<string> candidates = Candidates(new(width, type, device.Limits, device.Kind));
        return ScanClass.All.Where(call => call.IsMeasured)
            .Select(call => new TuningQuestion(KeyOf(width, call, type), candidates, (bench, candidate) => Prepare(bench, candidate, width, call, type)));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, slots = SelfTestBench.Slots;
        RgLru op = new(bench.Device, bench.Type, width, bench.Variant);
        TensorView output = bench.Output(tokens, width);
        op.Run(
            bench.Stream, bench.Rows(), bench.Input(tokens, width), bench.Input(tokens, 2 * width, 2), bench.Input(tokens, width), bench.Input(1, width),
            bench.Input(1, width, 2, -4), output, SelfTestBench.State(bench.Float32Input(slots, width, 1)), bench.Workspace(op.WorkspaceBytes(tokens, slots)));
        return output;
    }

    private void CheckHidden(in TensorView hidden, in RgLruOperands operands, int tokens, int vector)
    {
        Check.Matrix(hidden, Type, tokens, Width);
        Check.Aligned(hidden, vector);
        Check.Distinct(hidden, operands.Z);
        Check.Distinct(hidden, operands.Gates);
        Check.Distinct(hidden, operands.Y);
        Check.Distinct(hidden, operands.Output);
    }

    private static VariantTable<int> ChunkedTable(string kernel) => new(KernelSource.BuiltIn("rg_lru.cu"),
        new KernelVariant<int>("chunked-vector", q => Plan(q, kernel, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("chunked-general", q => Plan(q, kernel, 1)));

    private static KernelPlan Plan(in VariantQuery<int> query, string kernel, int vector) =>
        KernelPlan.ByColumns($"{kernel}<{query.T}, {vector}>", query.Shape, vector, MaxThreads);

    private static string KeyOf(int width, ScanClass call, ElementType type) => TuningQuestion.KeyOf(tileVariants.Source, type, $"{width} channels, {call.Name}", clusterVariants.Source);

    private static TuningRun Prepare(TuningBench bench, string candidate, int width, ScanClass call, ElementType type)
    {
        RgLru op = new(bench.Device, type, width, candidate);
        PackedRows rows = bench.Rows(call.Rows, call.Length);
        int tokens = rows.Tokens;
        (TensorView Z, TensorView Gates, TensorView Y)[] inputs =
        [
            .. Enumerable.Range(0, bench.SetsFor(5L * tokens * width * type.SizeOf()))
                .Select(_ => (bench.Operand(type, tokens, width), bench.Operand(type, tokens, 2L * width), bench.Operand(type, tokens, width))),
        ];
        TensorView lambda = bench.Operand(type, 1, width), output = bench.Output(type, tokens, width), workspace = bench.Workspace(op.WorkspaceBytes(tokens, call.Rows));
        return new(Queue, output);

        void Queue(int run)
        {
            (TensorView z, TensorView gates, TensorView y) = inputs[run % inputs.Length];
            op.Run(bench.Stream, rows, z, gates, y, TensorView.Empty, lambda, output, LayerState.None, workspace);
        }
    }

    // A warp takes as many tokens of a tile as elements make 16 bytes.
    private static int TileTokens(ElementType type) => ScanTiles.Warps * 16 / type.SizeOf();

    private static bool FitsTiles(VariantQuery<int> query) => query.Shape % query.Vector == 0;

    private static bool FitsClusters(VariantQuery<int> query) => FitsTiles(query) && query.Limits.WarpgroupProducts;

    private static IReadOnlyList<string> Candidates(VariantQuery<int> query) =>
        [.. ScanKernels.Candidates(FitsTiles(query)), .. FitsClusters(query) ? [Cluster] : Array.Empty<string>()];

    private long BytesOf(ScanForm form, int tokens, int rows) => _kernels.ProgressBytes(form, tokens, rows) + _kernels.PairBytes(form, tokens, rows);
}

/// <summary>What <see cref="RgLru"/> and <see cref="RgLruStep"/> work on, checked in one place.</summary>
internal readonly record struct RgLruOperands(TensorView Z, TensorView Gates, TensorView Y, TensorView YBias, TensorView Lambda, TensorView Output, LayerState State)
{
    public void CheckAll(ElementType type, int tokens, int width, int vector)
    {
        Check.Matrix(Z, type, tokens, width);
        Check.Matrix(Gates, type, tokens, 2L * width);
        Check.Matrix(Y, type, tokens, width);
        Check.OptionalVector(YBias, type, width);
        Check.Vector(Lambda, type, width);
        Check.Matrix(Output, type, tokens, width);
        Check.Aligned(Z, vector);
        Check.Aligned(Gates, vector);
        Check.Aligned(Y, vector);
        Check.Aligned(YBias, vector);
        Check.Aligned(Lambda, vector);
        Check.Aligned(Output, vector);
        Check.SameOrDistinct(Output, Z);
        Check.SameOrDistinct(Output, Y);
        Check.Distinct(Output, Gates);
    }

    public void CheckState(int width) => Check.State(State, (long)width * sizeof(float));
}

/// <summary>Mirror of RgLruParams in rg_lru_params.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RgLruParams
{
    public ulong Z;
    public ulong Gates;
    public ulong Y;
    public ulong YBias;
    public ulong Lambda;
    public ulong Output;
    public ulong Hidden;
    public ulong Workspace;
    public ulong Progress;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long ZStride;
    public long GatesStride;
    public long YStride;
    public long OutputStride;
    public long HiddenStride;
    public int Width;
    public int Chunk;
}
