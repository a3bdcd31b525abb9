using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The RG-LRU scan over packed rows, gates and the GELU branch fused: h_t = a_t·h_{t-1} + sqrt(1 - a_t²)·σ(input gate)·z_t with
/// a_t = exp(-8·softplus(Λ)·σ(recurrence gate)), restarted where a document starts; output round(h · gelu(y + yBias)). h stays in float32.
/// </summary>
/// <remarks>
/// The sequential variants walk each row in time and give the same bits under any split of a sequence into calls; they suit many channels. The
/// chunked variants cut time into chunks of <see cref="ChunkTokens"/> tokens, for few channels and long rows on a wide device; they need a workspace.
/// </remarks>
public sealed class RgLru : KernelOp, IKernelCatalogue, ISelfTested
{
    /// <summary>Tokens of a chunk in the chunked variants.</summary>
    public const int ChunkTokens = 128;

    /// <summary>Forces the scan that gives equal bits under any split of a sequence into calls.</summary>
    public const string Sequential = "sequential";

    /// <summary>Forces the scan in chunks of time.</summary>
    public const string Chunked = "chunked";

    private const int MaxThreads = 64;
    private const int PairVector = 2;

    // Two channels per thread keep a GPU busier than eight; the emulator is better off with fewer, longer threads.
    private static readonly VariantTable<int> sequentialVariants = new(KernelSource.BuiltIn("rg_lru.cu"),
        new KernelVariant<int>("sequential-pair", q => Plan(q, "rg_lru", PairVector)) { Fits = q => q.Shape % PairVector == 0, Preferred = q => q.Kind == GpuDeviceKind.Cuda },
        new KernelVariant<int>("sequential-vector", q => Plan(q, "rg_lru", q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("sequential-general", q => Plan(q, "rg_lru", 1)));

    private static readonly VariantTable<int> summarizeVariants = ChunkedTable("rg_lru_summarize");
    private static readonly VariantTable<int> carryVariants = ChunkedTable("rg_lru_carry");
    private static readonly VariantTable<int> chunkVariants = ChunkedTable("rg_lru_chunks");

    private readonly PlannedKernel<RgLruParams>? _sequential;
    private readonly ChunkedKernels? _chunked;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand; h is float32.</param>
    /// <param name="width">Channels.</param>
    /// <param name="variant">
    /// "sequential" or "chunked" to force one way, or the name of a variant; null to choose, call by call, by the size of the call and of the device.
    /// </param>
    public RgLru(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        bool forcedChunks = variant?.StartsWith(Chunked, StringComparison.Ordinal) ?? false;
        string? part = variant is Sequential or Chunked ? null : variant;
        if (!forcedChunks) _sequential = Request<int, RgLruParams>(sequentialVariants, width, part);
        // The emulator has a few cores, which rows and channels fill: chunks would only cost it a second pass.
        if (forcedChunks || (variant is null && device.Kind == GpuDeviceKind.Cuda))
        {
            _chunked = new(Request<int, RgLruParams>(summarizeVariants, width, part), Request<int, RgLruParams>(carryVariants, width, part),
                Request<int, RgLruParams>(chunkVariants, width, part));
        }
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Bytes of a slot's state: h, float32.</summary>
    public long StateBytes => (long)Width * sizeof(float);

    /// <summary>Bytes of workspace that a call of so many tokens and rows may use.</summary>
    public long WorkspaceBytes(int tokens, int rows) => _chunked is null ? 0 : ScanChunks.Places(tokens, rows) * 2 * Width * sizeof(float);

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
        bool chunked = _sequential is null || (_chunked is not null && ScanChunks.Preferred(Device.Limits, rows.Tokens, rows.Rows, Width));
        RgLruOperands operands = new(z, gates, y, yBias, lambda, output, state);
        int vector = (chunked ? _chunked!.Chunks : _sequential!).Plan.Vector;
        operands.CheckAll(Type, rows.Tokens, Width, vector);
        if (state != LayerState.None) operands.CheckState(Width);
        if (!hidden.IsEmpty) CheckHidden(hidden, operands, rows.Tokens, vector);
        if (rows.Tokens == 0) return;
        RgLruParams parameters = new()
        {
            Z = operands.Z.Address,
            Gates = operands.Gates.Address,
            Y = operands.Y.Address,
            YBias = operands.YBias.Address,
            Lambda = operands.Lambda.Address,
            Output = operands.Output.Address,
            Hidden = hidden.Address,
            Workspace = workspace.Address,
            Rows = rows.Params,
            State = operands.State.Params,
            ZStride = operands.Z.RowStride,
            GatesStride = operands.Gates.RowStride,
            YStride = operands.Y.RowStride,
            OutputStride = operands.Output.RowStride,
            HiddenStride = hidden.RowStride,
            Width = Width,
            Chunk = ChunkTokens,
        };
        if (!chunked)
        {
            _sequential!.Launch(stream, _sequential.Plan.BlocksFor(rows.Rows, Width), parameters);
            return;
        }
        Check.Workspace(workspace, WorkspaceBytes(rows.Tokens, rows.Rows));
        long places = ScanChunks.Places(rows.Tokens, rows.Rows);
        _chunked!.Summarize.Launch(stream, _chunked.Summarize.Plan.BlocksFor(places, Width), parameters);
        _chunked.Carry.Launch(stream, _chunked.Carry.Plan.BlocksFor(rows.Rows, Width), parameters);
        _chunked.Chunks.Launch(stream, _chunked.Chunks.Plan.BlocksFor(places, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new[] { sequentialVariants, summarizeVariants, carryVariants, chunkVariants }
            .SelectMany(table => table.Enumerate(nameof(RgLru), model.RnnWidth, type));
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

    private sealed record ChunkedKernels(PlannedKernel<RgLruParams> Summarize, PlannedKernel<RgLruParams> Carry, PlannedKernel<RgLruParams> Chunks);
}

/// <summary>How scans cut time into chunks: scan_chunks.cuh.</summary>
internal static class ScanChunks
{
    /// <summary>Places of the chunks of a call, a few of them unused.</summary>
    public static long Places(int tokens, int rows) => (long)(tokens / RgLru.ChunkTokens) + rows;

    /// <summary>
    /// Whether chunks pay: four warps of channels for every multiprocessor keep memory busy without them, and short rows have too little time to cut.
    /// </summary>
    public static bool Preferred(DeviceLimits limits, int tokens, int rows, int width) =>
        tokens >= 2L * RgLru.ChunkTokens * rows && (long)rows * width < 4L * limits.WarpSize * limits.MultiprocessorCount;
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

/// <summary>Mirror of RgLruParams in rg_lru.cu.</summary>
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
