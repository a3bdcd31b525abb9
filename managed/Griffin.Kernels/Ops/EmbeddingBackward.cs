using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="Embedding"/>: dtable[id] += scale · Σ dx[n] over the rows n whose token is id, in float32. The caller sorts the rows
/// by token, so that no two blocks add to one row of the table: equal bits always.
/// </summary>
public sealed class EmbeddingBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 128;
    private const int Vector = 4;   // 16 bytes of the float32 table: a warp's accesses lie side by side

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("embedding_backward.cu"),
        new KernelVariant<int>("vector", q => Plan(q, Vector)) { Fits = q => q.Shape % Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<EmbeddingBackwardParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of dx.</param>
    /// <param name="width">Columns of the table.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public EmbeddingBackward(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, EmbeddingBackwardParams>(variants, width, variant);
    }

    /// <summary>Columns of the table.</summary>
    public int Width { get; }

    /// <summary>Queues the gradient. Tokens outside the table count for nothing.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="tokens">Int32 [N].</param>
    /// <param name="order">Int32 [N], the rows 0 … N-1 sorted by their token, <see cref="Sort"/>; equal tokens are added up in this order.</param>
    /// <param name="dx">[N, width], the gradient of the gathered rows.</param>
    /// <param name="scale">The factor of the forward pass.</param>
    /// <param name="dtable">Float32 [V, width], added to.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or the views overlap.</exception>
    public void Run(GpuStream stream, in TensorView tokens, in TensorView order, in TensorView dx, float scale, in TensorView dtable)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.VectorLength(tokens, ElementType.Int32);
        Check.Vector(order, ElementType.Int32, rows);
        Check.Matrix(dx, Type, rows, Width);
        int vocabulary = Check.Matrix(dtable, ElementType.Float32, Width);
        Check.Aligned(dx, _kernel.Plan.Vector);
        Check.Aligned(dtable, _kernel.Plan.Vector);
        Check.Distinct(dtable, dx);
        if (rows == 0) return;
        EmbeddingBackwardParams parameters = new()
        {
            Tokens = tokens.Address,
            Order = order.Address,
            Dx = dx.Address,
            DTable = dtable.Address,
            DxStride = dx.RowStride,
            DTableStride = dtable.RowStride,
            Rows = rows,
            Width = Width,
            Vocabulary = vocabulary,
            Scale = scale,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows, Width), parameters);
    }

    /// <summary>Fills <paramref name="order"/> with the indices of the tokens sorted by token, equal ones as they come.</summary>
    /// <param name="tokens">The tokens of a call.</param>
    /// <param name="order">As many indices.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void Sort(ReadOnlySpan<int> tokens, Span<int> order)
    {
        if (order.Length != tokens.Length) throw new ArgumentException($"order has {order.Length} elements for {tokens.Length} tokens.", nameof(order));
        long[] keys = new long[tokens.Length];
        for (int i = 0; i < keys.Length; i++) keys[i] = ((long)tokens[i] << 32) | (uint)i;
        Array.Sort(keys);
        for (int i = 0; i < keys.Length; i++) order[i] = (int)keys[i];
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(EmbeddingBackward), model.Width, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width, vocabulary = SelfTestBench.Vocabulary;
        TensorView dtable = bench.Float32Input(vocabulary, width, 1);
        new EmbeddingBackward(bench.Device, bench.Type, width, bench.Variant).Run(
            bench.Stream, bench.Integers(7, 0, vocabulary - 1, 7, -1, 7), bench.Integers(4, 1, 0, 3, 5, 2), bench.Input(6, width), 1.5f, dtable);
        return dtable;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) => KernelPlan.ByColumns($"embedding_backward<{query.T}, {vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of EmbeddingBackwardParams in embedding_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmbeddingBackwardParams
{
    public ulong Tokens;
    public ulong Order;
    public ulong Dx;
    public ulong DTable;
    public long DxStride;
    public long DTableStride;
    public int Rows;
    public int Width;
    public int Vocabulary;
    public float Scale;
}
