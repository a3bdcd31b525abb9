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
public sealed class RgLru : KernelOp, IKernelCatalogue
{
    /// <summary>Tokens of a chunk in the chunked variants.</summary>
    public const int ChunkTokens = 128;

    private const int MaxThreads = 64;
    private const int PairVector = 2;
    private const string Sequential = "sequential";
    private const string Chunked = "chunked";

    // Two channels per thread keep a GPU busier than eight; the emulator is better off with fewer, longer threads.
    private static readonly VariantTable<int> sequentialVariants = new(KernelSource.BuiltIn("rg_lru.cu"),
        new KernelVariant<int>(Sequential, q => Plan(q, "rg_lru", PairVector)) { Fits = q => q.Shape % PairVector == 0, Preferred = q => q.Kind == GpuDeviceKind.Cuda },
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
    /// <param name="variant">A variant to force; null to choose, call by call, by the size of the call and of the device.</param>
    public RgLru(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        bool forcedChunked = variant is not null && variant.StartsWith(Chunked, StringComparison.Ordinal);
        if (!forcedChunked) _sequential = Request<int, RgLruParams>(sequentialVariants, width, variant);
        // The emulator has a few cores, which rows and channels fill: chunks would only cost it a second pass.
        if (forcedChunked || (variant is null && device.Kind == GpuDeviceKind.Cuda))
        {
            _chunked = new(Request<int, RgLruParams>(summarizeVariants, width, variant), Request<int, RgLruParams>(carryVariants, width, variant),
                Request<int, RgLruParams>(chunkVariants, width, variant));
        }
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Bytes of a slot's state: h, float32.</summary>
    public long StateBytes => (long)Width * sizeof(float);

    /// <summary>Bytes of workspace that a call of so many tokens and rows may use.</summary>
    public long WorkspaceBytes(int tokens, int rows) => _chunked is null ? 0 : Places(tokens, rows) * 2 * Width * sizeof(float);

    /// <summary>Queues the scan.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="input">The operands, with as many rows as the call has tokens; h of every row's slot is updated.</param>
    /// <param name="workspace">Float32, at least <see cref="WorkspaceBytes"/>, aligned to 16 bytes; may be empty when that is 0.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap in part, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in RgLruOperands input, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        bool chunked = _sequential is null || (_chunked is not null && PrefersChunks(rows.Tokens, rows.Rows));
        input.CheckAll(Type, rows.Tokens, Width, (chunked ? _chunked!.Chunks : _sequential!).Plan.Vector);
        if (rows.Tokens == 0) return;
        RgLruParams parameters = new()
        {
            Z = input.Z.Address,
            Gates = input.Gates.Address,
            Y = input.Y.Address,
            YBias = input.YBias.Address,
            Lambda = input.Lambda.Address,
            Output = input.Output.Address,
            Workspace = workspace.Address,
            Rows = rows.Params,
            State = input.State.Params,
            ZStride = input.Z.RowStride,
            GatesStride = input.Gates.RowStride,
            YStride = input.Y.RowStride,
            OutputStride = input.Output.RowStride,
            Width = Width,
            Chunk = ChunkTokens,
        };
        if (!chunked)
        {
            _sequential!.Launch(stream, _sequential.Plan.BlocksFor(rows.Rows, Width), parameters);
            return;
        }
        long needed = WorkspaceBytes(rows.Tokens, rows.Rows);
        if (workspace.Length * sizeof(float) < needed || workspace.Type != ElementType.Float32 || workspace.Address % 16 != 0)
            throw new ArgumentException($"workspace must be float32, aligned to 16 bytes, with at least {needed} bytes.", nameof(workspace));
        long places = Places(rows.Tokens, rows.Rows);
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

    // Four warps of channels for every multiprocessor keep memory busy without chunks; short rows have too little time to cut.
    private bool PrefersChunks(int tokens, int rows) =>
        tokens >= 2L * ChunkTokens * rows && (long)rows * Width < 4L * Device.Limits.WarpSize * Device.Limits.MultiprocessorCount;

    private static long Places(int tokens, int rows) => (long)(tokens / ChunkTokens) + rows;

    private static VariantTable<int> ChunkedTable(string kernel) => new(KernelSource.BuiltIn("rg_lru.cu"),
        new KernelVariant<int>(Chunked, q => Plan(q, kernel, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("chunked-general", q => Plan(q, kernel, 1)));

    private static KernelPlan Plan(in VariantQuery<int> query, string kernel, int vector) =>
        KernelPlan.ByColumns($"{kernel}<{query.T}, {vector}>", query.Shape, vector, MaxThreads);

    private sealed record ChunkedKernels(PlannedKernel<RgLruParams> Summarize, PlannedKernel<RgLruParams> Carry, PlannedKernel<RgLruParams> Chunks);
}

/// <summary>The operands of <see cref="RgLru"/> and <see cref="RgLruStep"/>, N rows of width channels.</summary>
/// <param name="Z">[N, width], the convolution's result.</param>
/// <param name="Gates">[N, 2·width]: input gate logits, then recurrence gate logits.</param>
/// <param name="Y">[N, width], the product that makes the GELU branch, without its bias.</param>
/// <param name="YBias">[width], or empty.</param>
/// <param name="Lambda">[width].</param>
/// <param name="Output">[N, width]; may be exactly Z or Y.</param>
/// <param name="State">The layer's h, float32 [width] per slot.</param>
public readonly record struct RgLruOperands(TensorView Z, TensorView Gates, TensorView Y, TensorView YBias, TensorView Lambda, TensorView Output, LayerState State)
{
    internal void CheckAll(ElementType type, int tokens, int width, int vector)
    {
        Check.Matrix(Z, type, tokens, width);
        Check.Matrix(Gates, type, tokens, 2L * width);
        Check.Matrix(Y, type, tokens, width);
        Check.OptionalVector(YBias, type, width);
        Check.Vector(Lambda, type, width);
        Check.Matrix(Output, type, tokens, width);
        Check.State(State, (long)width * sizeof(float));
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
    public ulong Workspace;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long ZStride;
    public long GatesStride;
    public long YStride;
    public long OutputStride;
    public int Width;
    public int Chunk;
}
