using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Backward pass of <see cref="WindowAttention"/> over rows that start afresh: the gradients of the rotated q, k and v from that of the result, probabilities
/// computed anew from the forward pass's logarithms. The gradients of k and v are sums over the query heads; the same bits on every run.
/// </summary>
public sealed class WindowAttentionBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 128;
    private const int MaxHeadDim = 1024;
    private const int LaneChannels = 8;   // of a head in one thread, where the warp has lanes enough
    private const int MatrixRows = 64;    // queries, or keys, of a block on matrix instructions
    private const string Mma = "mma";

    // A thread of the emulator does best with a whole head to itself; on a GPU that would not fit its registers.
    private static readonly VariantTable<AttentionShape> deltaVariants = new(KernelSource.BuiltIn("window_attention_backward.cu"),
        new KernelVariant<AttentionShape>("serial", q => Delta(q, 1)) { Fits = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<AttentionShape>("vector", q => Delta(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => Delta(q, 1)));

    private static readonly VariantTable<AttentionShape> queryVariants = Table("window_attention_backward_queries", MatrixQueries);
    private static readonly VariantTable<AttentionShape> keyVariants = Table("window_attention_backward_keys", MatrixKeys);

    private readonly AttentionShape _shape;
    private readonly PlannedKernel<WindowAttentionBackwardParams> _delta;
    private readonly PlannedKernel<WindowAttentionBackwardParams> _queries;
    private readonly PlannedKernel<WindowAttentionBackwardParams> _keys;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv, the result and the gradients.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, at most 1024.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public WindowAttentionBackward(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(headDim, MaxHeadDim);
        _shape = new(heads, headDim);
        _delta = Request<AttentionShape, WindowAttentionBackwardParams>(deltaVariants, _shape, variant == Mma ? "vector" : variant);
        _queries = Request<AttentionShape, WindowAttentionBackwardParams>(queryVariants, _shape, variant);
        _keys = Request<AttentionShape, WindowAttentionBackwardParams>(keyVariants, _shape, variant);
    }

    /// <summary>Bytes of workspace that a call of so many tokens uses.</summary>
    public long WorkspaceBytes(int tokens) => (long)tokens * _shape.Heads * sizeof(float);

    /// <summary>Queues the backward pass.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows, as the forward pass had them; nothing precedes them.</param>
    /// <param name="qkv">[N, (heads + 2) · headDim]: q heads, k, v; q and k rotated.</param>
    /// <param name="keysVisible">Keys that a token sees, itself included; int.MaxValue for all.</param>
    /// <param name="y">[N, heads · headDim], the forward pass's result.</param>
    /// <param name="dy">[N, heads · headDim], the gradient of the result.</param>
    /// <param name="logSumExp">Float32 [N, heads], the forward pass's logarithms.</param>
    /// <param name="dqkv">[N, (heads + 2) · headDim]: gets the gradients of qkv, zeros in rows of padding, of which nothing is read.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, dqkv overlaps another operand, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView qkv, int keysVisible, in TensorView y, in TensorView dy, in TensorView logSumExp,
        in TensorView dqkv, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keysVisible);
        CheckOperands(rows.Tokens, qkv, y, dy, logSumExp, dqkv);
        if (rows.Tokens == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(rows.Tokens));
        WindowAttentionBackwardParams parameters = new()
        {
            Qkv = qkv.Address,
            Y = y.Address,
            Dy = dy.Address,
            LogSumExp = logSumExp.Address,
            Dqkv = dqkv.Address,
            Delta = workspace.Address,
            Rows = rows.Params,
            QkvStride = qkv.RowStride,
            YStride = y.RowStride,
            DyStride = dy.RowStride,
            LogSumExpStride = logSumExp.RowStride,
            DqkvStride = dqkv.RowStride,
            Heads = _shape.Heads,
            KeysVisible = keysVisible,
            Scale = (float)(1 / Math.Sqrt(_shape.HeadDim)),
            ScaleLog2 = KeyValueRing.Scale(_shape.HeadDim),
        };
        _delta.Launch(stream, _delta.Plan.BlocksFor((long)rows.Tokens * _shape.Heads, 1), parameters);
        LaunchQueries(stream, rows.Tokens, parameters);
        LaunchKeys(stream, rows.Tokens, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new[] { deltaVariants, queryVariants, keyVariants }.SelectMany(table => table.Enumerate(nameof(WindowAttentionBackward), new(model.Heads, model.HeadDim), type));
    }

    // The logarithms need not be those of the scores: they scale the probabilities alike in every variant.
    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim, width = heads * headDim;
        WindowAttentionBackward op = new(bench.Device, bench.Type, heads, headDim, bench.Variant);
        TensorView dqkv = bench.Output(tokens, width + 2 * headDim);
        op.Run(
            bench.Stream, bench.Rows(), bench.Input(tokens, width + 2 * headDim), 3, bench.Input(tokens, width), bench.Input(tokens, width, 0.125f),
            bench.Float32Input(tokens, heads, 1), dqkv, bench.Workspace(op.WorkspaceBytes(tokens)));
        return dqkv;
    }

    private void LaunchQueries(GpuStream stream, int tokens, WindowAttentionBackwardParams parameters)
    {
        if (_queries.Variant != Mma)
        {
            _queries.Launch(stream, _queries.Plan.BlocksFor((long)tokens * _shape.Heads, 1), parameters);
            return;
        }
        (parameters.TileTokens, parameters.TileHeads) = TileOf(_queries.Plan.TileRows);
        _queries.LaunchGrid(stream, new Dim3(Tiling.Count(tokens, parameters.TileTokens), Tiling.Count(_shape.Heads, parameters.TileHeads)), parameters);
    }

    private void LaunchKeys(GpuStream stream, int tokens, WindowAttentionBackwardParams parameters)
    {
        if (_keys.Variant != Mma)
        {
            _keys.Launch(stream, _keys.Plan.BlocksFor(tokens, 1), parameters);
            return;
        }
        (parameters.TileTokens, parameters.TileHeads) = TileOf(QueryRows(_shape.HeadDim));
        _keys.LaunchGrid(stream, new Dim3(Tiling.Count(tokens, _keys.Plan.TileRows), Tiling.Count(_shape.HeadDim, _keys.Plan.TileColumns)), parameters);
    }

    // Tokens and heads of a tile of at most so many (token, head) pairs.
    private (int Tokens, int Heads) TileOf(int rows)
    {
        int heads = Math.Min(_shape.Heads, rows);
        return (rows / heads, heads);
    }

    private void CheckOperands(int tokens, in TensorView qkv, in TensorView y, in TensorView dy, in TensorView logSumExp, in TensorView dqkv)
    {
        Check.Matrix(qkv, Type, tokens, _shape.QkvWidth);
        Check.Matrix(y, Type, tokens, _shape.Width);
        Check.Matrix(dy, Type, tokens, _shape.Width);
        Check.Matrix(logSumExp, ElementType.Float32, tokens, _shape.Heads);
        Check.Matrix(dqkv, Type, tokens, _shape.QkvWidth);
        int vector = _queries.Plan.Vector;
        Check.Aligned(qkv, vector);
        Check.Aligned(y, vector);
        Check.Aligned(dy, vector);
        Check.Aligned(dqkv, vector);
        Check.Distinct(dqkv, qkv);
        Check.Distinct(dqkv, y);
        Check.Distinct(dqkv, dy);
        Check.Distinct(dqkv, logSumExp);
    }

    private static VariantTable<AttentionShape> Table(string kernel, Func<VariantQuery<AttentionShape>, KernelPlan> matrix) => new(
        KernelSource.BuiltIn("window_attention_backward.cu"),
        new KernelVariant<AttentionShape>("serial", q => Lanes(q, kernel, 1, 1)) { Fits = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<AttentionShape>(Mma, matrix) { Fits = q => q.Type == ElementType.BFloat16 && q.Shape.HeadDim % 16 == 0 && q.Shape.HeadDim <= 256 },
        new KernelVariant<AttentionShape>("vector", q => Lanes(q, kernel, LanesFor(q), q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<AttentionShape>("general", q => Lanes(q, kernel, LanesFor(q), 1)));

    private static KernelPlan Delta(in VariantQuery<AttentionShape> query, int vector) =>
        new($"window_attention_delta<{query.T}, {query.Shape.HeadDim}, {vector}>", Threads) { Vector = vector, TileRows = Threads };

    private static KernelPlan Lanes(in VariantQuery<AttentionShape> query, string kernel, int lanes, int vector) =>
        new($"{kernel}<{query.T}, {query.Shape.HeadDim}, {lanes}, {vector}>", Threads) { Vector = vector, TileRows = Threads / lanes };

    private static KernelPlan MatrixQueries(VariantQuery<AttentionShape> query)
    {
        int headDim = query.Shape.HeadDim;
        int keys = headDim <= 128 ? 64 : 32;
        return new($"window_attention_backward_queries_mma<{headDim}, {MatrixRows}, {keys}>", 2 * MatrixRows)
        {
            Vector = query.Vector,
            TileRows = MatrixRows,
            SharedBytes = TileBytes(2 * (MatrixRows + keys), headDim),
        };
    }

    // The gradients of 64 keys over more than 128 channels would not fit the registers of their warps: blocks then halve the channels.
    private static KernelPlan MatrixKeys(VariantQuery<AttentionShape> query)
    {
        int headDim = query.Shape.HeadDim, columns = headDim <= 128 ? headDim : headDim / 2, rows = QueryRows(headDim);
        return new($"window_attention_backward_keys_mma<{headDim}, {columns}, {rows}>", 2 * MatrixRows)
        {
            Vector = query.Vector,
            TileRows = MatrixRows,
            TileColumns = columns,
            SharedBytes = TileBytes(2 * (MatrixRows + rows), headDim),
        };
    }

    // Queries that meet the keys of a block at a time.
    private static int QueryRows(int headDim) => headDim switch { <= 64 => 64, <= 128 => 32, _ => 16 };

    // Rows of bfloat16 in shared memory, an odd number of 16-byte words apart.
    private static int TileBytes(int rows, int headDim) => rows * ((headDim + 7) / 8 | 1) * 8 * sizeof(ushort);

    // Threads that share a head: a power of two up to a warp.
    private static int LanesFor(in VariantQuery<AttentionShape> query)
    {
        int lanes = 2;
        while (lanes < 32 && lanes * LaneChannels < query.Shape.HeadDim) lanes *= 2;
        return lanes;
    }
}

/// <summary>Mirror of WindowAttentionBackwardParams in window_attention_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct WindowAttentionBackwardParams
{
    public ulong Qkv;
    public ulong Y;
    public ulong Dy;
    public ulong LogSumExp;
    public ulong Dqkv;
    public ulong Delta;
    public PackedRowsParams Rows;
    public long QkvStride;
    public long YStride;
    public long DyStride;
    public long LogSumExpStride;
    public long DqkvStride;
    public int Heads;
    public int KeysVisible;
    public int TileTokens;
    public int TileHeads;
    public float Scale;
    public float ScaleLog2;
}
