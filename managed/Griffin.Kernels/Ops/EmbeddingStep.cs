using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>The first kernel of a decode step: <see cref="Embedding"/>, which also leaves the sum of squares that the first norm needs.</summary>
public sealed class EmbeddingStep : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 256;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("embedding_step.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<EmbeddingStepParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the table and of the result.</param>
    /// <param name="width">Columns of the table.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public EmbeddingStep(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, EmbeddingStepParams>(variants, width, variant);
    }

    /// <summary>Columns of the table.</summary>
    public int Width { get; }

    /// <summary>Queues the gather. A negative token gives zeros, one past the table a row of NaN.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="tokens">Int32 [B].</param>
    /// <param name="table">[V, width].</param>
    /// <param name="scale">The factor.</param>
    /// <param name="y">[B, width].</param>
    /// <param name="squares">Float32 [B, 1]; written.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or y overlaps the table.</exception>
    public void Run(GpuStream stream, in TensorView tokens, in TensorView table, float scale, in TensorView y, in TensorView squares)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.VectorLength(tokens, ElementType.Int32);
        int vocabulary = Check.Matrix(table, Type, Width);
        Check.Matrix(y, Type, rows, Width);
        Check.AdjacentRows(squares, ElementType.Float32, rows, 1);
        Check.Aligned(table, _kernel.Plan.Vector);
        Check.Aligned(y, _kernel.Plan.Vector);
        Check.Distinct(y, table);
        if (rows == 0) return;
        EmbeddingStepParams parameters = new()
        {
            Tokens = tokens.Address,
            Table = table.Address,
            Y = y.Address,
            Squares = squares.Address,
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
        return variants.Enumerate(nameof(EmbeddingStep), model.Width, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width;
        TensorView squares = bench.Output(ElementType.Float32, 3, 1);
        new EmbeddingStep(bench.Device, bench.Type, width, bench.Variant).Run(
            bench.Stream, bench.Integers(5, 0, SelfTestBench.Vocabulary - 1), bench.Input(SelfTestBench.Vocabulary, width), 1.5f, bench.Output(3, width), squares);
        return squares;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) => new($"embedding_step<{query.T}, {vector}>", Threads) { Vector = vector, Waits = true };
}

/// <summary>Mirror of EmbeddingStepParams in embedding_step.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmbeddingStepParams
{
    public ulong Tokens;
    public ulong Table;
    public ulong Y;
    public ulong Squares;
    public long TableStride;
    public long YStride;
    public int Width;
    public int Vocabulary;
    public float Scale;
}
