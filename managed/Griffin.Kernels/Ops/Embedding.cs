using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Gathers rows of a table by token: y[n] = round(scale · table[tokens[n]]). A scale of 1 makes it a plain row gather.</summary>
public sealed class Embedding : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 256;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("embedding.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<EmbeddingParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the table and of the result.</param>
    /// <param name="width">Columns of the table.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public Embedding(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, EmbeddingParams>(variants, width, variant);
    }

    /// <summary>Columns of the table.</summary>
    public int Width { get; }

    /// <summary>Queues the gather. A negative token gives zeros, one past the table a row of NaN.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="tokens">Int32 [N].</param>
    /// <param name="table">[V, width].</param>
    /// <param name="scale">The factor; a model's is <c>GriffinConfig.EmbeddingScale</c>.</param>
    /// <param name="y">[N, width].</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or y overlaps the table.</exception>
    public void Run(GpuStream stream, in TensorView tokens, in TensorView table, float scale, in TensorView y)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.VectorLength(tokens, ElementType.Int32);
        if (rows == 0) return;
        int vocabulary = Check.Matrix(table, Type, Width);
        Check.Matrix(y, Type, rows, Width);
        Check.Aligned(table, _kernel.Plan.Vector);
        Check.Aligned(y, _kernel.Plan.Vector);
        Check.Distinct(y, table);
        EmbeddingParams parameters = new()
        {
            Tokens = tokens.Address,
            Table = table.Address,
            Y = y.Address,
            TableStride = table.RowStride,
            YStride = y.RowStride,
            Width = Width,
            Vocabulary = vocabulary,
            Scale = scale,
        };
        _kernel.Launch(stream, rows, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(Embedding), model.Width, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width, vocabulary = SelfTestBench.Vocabulary;
        TensorView y = bench.Output(4, width);
        new Embedding(bench.Device, bench.Type, width, bench.Variant).Run(
            bench.Stream, bench.Integers(0, vocabulary - 1, 7, 7), bench.Input(vocabulary, width), 1.5f, y);
        return y;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        new($"embedding<{query.T}, {vector}>", KernelPlan.ThreadsFor(query.Shape, vector, MaxThreads)) { Vector = vector };
}

/// <summary>Mirror of EmbeddingParams in embedding.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmbeddingParams
{
    public ulong Tokens;
    public ulong Table;
    public ulong Y;
    public long TableStride;
    public long YStride;
    public int Width;
    public int Vocabulary;
    public float Scale;
}
