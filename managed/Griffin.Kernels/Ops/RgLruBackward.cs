using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="RgLru"/> over fresh packed rows: the scan in reverse, gates and decays recomputed from z and the gate logits, the derivative of
/// the square root clipped as the reference does. A document's gradients do not depend on its neighbours in the row.
/// </summary>
/// <remarks>
/// The sequential variants walk each row backwards in time. On a GPU two others read their inputs through tiles in shared memory: the ring walks rows, for many
/// channels; the look-back cuts time, for few channels and long rows. The chunked variants cut time in three launches, for widths that tiles do not take. All
/// need a workspace.
/// </remarks>
public sealed class RgLruBackward : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int MaxThreads = 64;
    private const int PairVector = 2;
    private const int StagedTensors = 6;
    private const int ResidentBlocks = 2;   // of the tiles' kernels, on a multiprocessor of sm_90

    // Two channels per thread keep a GPU busier than eight; the emulator is better off with fewer, longer threads.
    private static readonly VariantTable<int> sequentialVariants = new(KernelSource.BuiltIn("rg_lru_backward.cu"),
        new KernelVariant<int>("sequential-pair", q => Plan(q, "rg_lru_backward", PairVector))
        {
            Fits = q => q.Shape % PairVector == 0,
            Preferred = q => q.Kind == GpuDeviceKind.Cuda,
        },
        new KernelVariant<int>("sequential-vector", q => Plan(q, "rg_lru_backward", q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("sequential-general", q => Plan(q, "rg_lru_backward", 1)));

    private static readonly VariantTable<int> summarizeVariants = ChunkedTable("rg_lru_backward_summarize");
    private static readonly VariantTable<int> carryVariants = ChunkedTable("rg_lru_backward_carry");
    private static readonly VariantTable<int> chunkVariants = ChunkedTable("rg_lru_backward_chunks");

    private static readonly VariantTable<int> tileVariants = new(KernelSource.BuiltIn("rg_lru_backward_tiles.cu"),
        new KernelVariant<int>(RgLru.Ring, q => ScanTiles.Plan(q, "rg_lru_backward_ring", 2 * StageBytes(q.Type))) { Fits = FitsTiles },
        new KernelVariant<int>(RgLru.LookBack, q => ScanTiles.Plan(q, "rg_lru_backward_look_back")) { Fits = FitsTiles });

    private readonly ScanKernels<RgLruBackwardParams> _kernels;
    private readonly PartialSums _sums;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the gradient of Λ, which is float32.</param>
    /// <param name="width">Channels.</param>
    /// <param name="variant">
    /// <see cref="RgLru.Sequential"/>, <see cref="RgLru.Chunked"/>, <see cref="RgLru.Ring"/> or <see cref="RgLru.LookBack"/> to force one way, or the name of a
    /// variant; null to choose, call by call, by what was measured on the device, or else by the size of the call and of the device.
    /// </param>
    public RgLruBackward(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        ScanAnswers measured = variant is null ? ScanAnswers.Of(device, call => KeyOf(width, call, type), ScanKernels.Candidates(FitsTiles(Query(width)))) : ScanAnswers.None;
        bool choose = variant is null && device.Kind == GpuDeviceKind.Cuda, tiles = choose && FitsTiles(Query(width));
        bool chunked = variant?.StartsWith(RgLru.Chunked, StringComparison.Ordinal) ?? ((choose && !tiles) || measured.Has(ScanForm.Chunked));
        bool sequential = variant is not (RgLru.Ring or RgLru.LookBack) && (!chunked || variant is null);
        string? part = variant is RgLru.Sequential or RgLru.Chunked ? null : variant;
        _kernels = new(device, width, TileTokens(type), ResidentBlocks)
        {
            Measured = measured,
            Sequential = sequential ? Request<int, RgLruBackwardParams>(sequentialVariants, width, part) : null,
            Chunked = chunked
                ? new(Request<int, RgLruBackwardParams>(summarizeVariants, width, part), Request<int, RgLruBackwardParams>(carryVariants, width, part),
                    Request<int, RgLruBackwardParams>(chunkVariants, width, part))
                : null,
            Ring = tiles || variant is RgLru.Ring || measured.Has(ScanForm.Ring) ? Request<int, RgLruBackwardParams>(tileVariants, width, RgLru.Ring) : null,
            LookBack = tiles || variant is RgLru.LookBack || measured.Has(ScanForm.LookBack) ? Request<int, RgLruBackwardParams>(tileVariants, width, RgLru.LookBack) : null,
        };
        _sums = Use(new PartialSums(device, width));
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Bytes of workspace that a call of so many tokens and rows may use.</summary>
    public long WorkspaceBytes(int tokens, int rows) => _kernels.Largest(form => BytesOf(form, tokens, rows));

    /// <summary>Queues the reverse scan.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows; all of them fresh: what their slots have seen is not looked at.</param>
    /// <param name="z">[N, width], the convolution's result, as in the forward pass.</param>
    /// <param name="gates">[N, 2·width], the gate logits, as in the forward pass.</param>
    /// <param name="y">[N, width], the GELU branch's product, as in the forward pass.</param>
    /// <param name="yBias">[width], or empty.</param>
    /// <param name="lambda">[width].</param>
    /// <param name="hidden">[N, width], h as the forward pass left it.</param>
    /// <param name="dout">[N, width], the gradient of the output.</param>
    /// <param name="dz">[N, width], written: the gradient of z on its direct path. The path through the gates is <see cref="BlockDiagonalGates"/>' own.</param>
    /// <param name="dgates">[N, 2·width], written: the gradients of the gate logits.</param>
    /// <param name="dy">[N, width], written: the gradient of y, whose column sums are that of yBias.</param>
    /// <param name="dlambda">Float32 [width], added to; aligned to 16 bytes.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView z, in TensorView gates, in TensorView y, in TensorView yBias, in TensorView lambda,
        in TensorView hidden, in TensorView dout, in TensorView dz, in TensorView dgates, in TensorView dy, in TensorView dlambda, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ScanForm form = _kernels.FormFor(rows.Tokens, rows.Rows);
        int vector = _kernels.Vector(form);
        CheckInputs(rows.Tokens, vector, z, gates, y, yBias, lambda, hidden, dout);
        CheckOutputs(rows.Tokens, vector, [z, gates, y, hidden, dout], dz, dgates, dy);
        _sums.CheckSum(dlambda);
        if (rows.Tokens == 0) return;
        Check.Workspace(workspace, BytesOf(form, rows.Tokens, rows.Rows));
        // One after another: the parts of dlambda, the look-back's progress, the pairs.
        long parts = _kernels.Parts(form, rows.Tokens, rows.Rows), progress = _kernels.ProgressBytes(form, rows.Tokens, rows.Rows);
        long offset = (long)(workspace.Address - workspace.Owner.Address);
        RgLruBackwardParams parameters = new()
        {
            Z = z.Address,
            Gates = gates.Address,
            Y = y.Address,
            YBias = yBias.Address,
            Lambda = lambda.Address,
            Hidden = hidden.Address,
            Dout = dout.Address,
            Dz = dz.Address,
            Dgates = dgates.Address,
            Dy = dy.Address,
            DlambdaParts = workspace.Address,
            Carries = workspace.Address + (ulong)(PartBytes(parts) + progress),
            Progress = workspace.Address + (ulong)PartBytes(parts),
            Rows = rows.Params,
            ZStride = z.RowStride,
            GatesStride = gates.RowStride,
            YStride = y.RowStride,
            HiddenStride = hidden.RowStride,
            DoutStride = dout.RowStride,
            DzStride = dz.RowStride,
            DgatesStride = dgates.RowStride,
            DyStride = dy.RowStride,
            Width = Width,
            Chunk = ScanTiles.ChunkTokens,
        };
        TensorView flags = TensorView.Of(workspace.Owner, offset + PartBytes(parts), ElementType.UInt8, 1, progress);
        _kernels.Launch(stream, form, rows.Tokens, rows.Rows, flags, parameters);
        _sums.Run(stream, TensorView.Of(workspace.Owner, offset, ElementType.Float32, parts, Width), dlambda);
    }

    /// <summary>Name of the form that a call of so many tokens and rows takes: what forces it.</summary>
    public string VariantFor(int tokens, int rows) => ScanKernels.NameOf(_kernels.FormFor(tokens, rows));

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new[] { sequentialVariants, summarizeVariants, carryVariants, chunkVariants, tileVariants }
            .SelectMany(table => table.Enumerate(nameof(RgLruBackward), model.RnnWidth, type));
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasRecurrentLayers) return [];
        int width = model.RnnWidth;
        IReadOnlyList<string> candidates = ScanKernels.Candidates(FitsTiles(new(width, type, device.Limits, device.Kind)));
        return ScanClass.All.Where(call => call.IsMeasured)
            .Select(call => new TuningQuestion(KeyOf(width, call, type), candidates, (bench, candidate) => Prepare(bench, candidate, width, call, type)));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, slots = SelfTestBench.Slots;
        RgLruBackward op = new(bench.Device, bench.Type, width, bench.Variant);
        TensorView results = bench.Output(tokens, 4 * width);
        op.Run(
            bench.Stream, bench.Rows(), bench.Input(tokens, width), bench.Input(tokens, 2 * width, 2), bench.Input(tokens, width), bench.Input(1, width),
            bench.Input(1, width, 2, -4), bench.Input(tokens, width), bench.Input(tokens, width), results.ColumnRange(0, width),
            results.ColumnRange(width, 2 * width), results.ColumnRange(3 * width, width), bench.Float32Input(1, width, 1),
            bench.Workspace(op.WorkspaceBytes(tokens, slots)));
        return results;
    }

    private void CheckInputs(int tokens, int vector, in TensorView z, in TensorView gates, in TensorView y, in TensorView yBias, in TensorView lambda, in TensorView hidden,
        in TensorView dout)
    {
        Check.Matrix(z, Type, tokens, Width);
        Check.Matrix(gates, Type, tokens, 2L * Width);
        Check.Matrix(y, Type, tokens, Width);
        Check.OptionalVector(yBias, Type, Width);
        Check.Vector(lambda, Type, Width);
        Check.Matrix(hidden, Type, tokens, Width);
        Check.Matrix(dout, Type, tokens, Width);
        Check.Aligned(z, vector);
        Check.Aligned(gates, vector);
        Check.Aligned(y, vector);
        Check.Aligned(yBias, vector);
        Check.Aligned(lambda, vector);
        Check.Aligned(hidden, vector);
        Check.Aligned(dout, vector);
    }

    private void CheckOutputs(int tokens, int vector, ReadOnlySpan<TensorView> inputs, in TensorView dz, in TensorView dgates, in TensorView dy)
    {
        Check.Matrix(dz, Type, tokens, Width);
        Check.Matrix(dgates, Type, tokens, 2L * Width);
        Check.Matrix(dy, Type, tokens, Width);
        Check.Aligned(dz, vector);
        Check.Aligned(dgates, vector);
        Check.Aligned(dy, vector);
        Check.Distinct(dz, dgates);
        Check.Distinct(dz, dy);
        Check.Distinct(dgates, dy);
        foreach (TensorView input in inputs)
        {
            Check.Distinct(dz, input);
            Check.Distinct(dgates, input);
            Check.Distinct(dy, input);
        }
    }

    private static string KeyOf(int width, ScanClass call, ElementType type) => TuningQuestion.KeyOf(tileVariants.Source, type, $"{width} channels, {call.Name}");

    private static TuningRun Prepare(TuningBench bench, string candidate, int width, ScanClass call, ElementType type)
    {
        RgLruBackward op = new(bench.Device, type, width, candidate);
        PackedRows rows = bench.Rows(call.Rows, call.Length);
        int tokens = rows.Tokens;
        // Columns: z, the gates' logits, y, h and the gradient of the output.
        TensorView[] inputs = [.. Enumerable.Range(0, bench.SetsFor(10L * tokens * width * type.SizeOf())).Select(_ => bench.Operand(type, tokens, 6L * width))];
        TensorView lambda = bench.Operand(type, 1, width), dlambda = bench.Operand(ElementType.Float32, 1, width);
        TensorView dz = bench.Output(type, tokens, width), dgates = bench.Output(type, tokens, 2L * width), dy = bench.Output(type, tokens, width);
        TensorView workspace = bench.Workspace(op.WorkspaceBytes(tokens, call.Rows));
        return new(Queue, dgates);

        void Queue(int run)
        {
            TensorView input = inputs[run % inputs.Length];
            op.Run(bench.Stream, rows, input.ColumnRange(0, width), input.ColumnRange(width, 2L * width), input.ColumnRange(3L * width, width), TensorView.Empty, lambda,
                input.ColumnRange(4L * width, width), input.ColumnRange(5L * width, width), dz, dgates, dy, dlambda, workspace);
        }
    }

    // A warp takes half as many tokens of a tile as elements make 16 bytes.
    private static int TileTokens(ElementType type) => ScanTiles.Warps * 8 / type.SizeOf();

    // h of the token before the tile as well.
    private static int StageBytes(ElementType type) => (StagedTensors * TileTokens(type) + 1) * ScanTiles.Channels * type.SizeOf();

    private static bool FitsTiles(VariantQuery<int> query) => query.Shape % query.Vector == 0;

    // Whole 256 bytes, as what lies behind them wants it.
    private long PartBytes(long parts) => (parts * Width * sizeof(float) + 255) / 256 * 256;

    private long BytesOf(ScanForm form, int tokens, int rows) =>
        PartBytes(_kernels.Parts(form, tokens, rows)) + _kernels.ProgressBytes(form, tokens, rows) + _kernels.PairBytes(form, tokens, rows);

    private static VariantTable<int> ChunkedTable(string kernel) => new(KernelSource.BuiltIn("rg_lru_backward.cu"),
        new KernelVariant<int>("chunked-vector", q => Plan(q, kernel, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("chunked-general", q => Plan(q, kernel, 1)));

    private static KernelPlan Plan(in VariantQuery<int> query, string kernel, int vector) =>
        KernelPlan.ByColumns($"{kernel}<{query.T}, {vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of RgLruBackwardParams in rg_lru_params.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RgLruBackwardParams
{
    public ulong Z;
    public ulong Gates;
    public ulong Y;
    public ulong YBias;
    public ulong Lambda;
    public ulong Hidden;
    public ulong Dout;
    public ulong Dz;
    public ulong Dgates;
    public ulong Dy;
    public ulong DlambdaParts;
    public ulong Carries;
    public ulong Progress;
    public PackedRowsParams Rows;
    public long ZStride;
    public long GatesStride;
    public long YStride;
    public long HiddenStride;
    public long DoutStride;
    public long DzStride;
    public long DgatesStride;
    public long DyStride;
    public int Width;
    public int Chunk;
}
