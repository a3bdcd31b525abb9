using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The end of a block in a decode step: x ← round(x + (round(input · wᵀ) + bias)), which also leaves the sums of squares that the norm after it
/// needs. It is <see cref="MatMul"/> with the first half of <see cref="RmsNorm.RunResidual"/>.
/// </summary>
public sealed class ResidualProduct : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private static readonly VariantTable<SkinnyShape> variants = Variants("residual_product");

    private readonly PlannedKernel<ResidualProductParams>[] _kernels;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the squares.</param>
    /// <param name="width">Columns of the residual stream, rows of w.</param>
    /// <param name="inner">K: columns of the input and of w.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public ResidualProduct(GpuDevice device, ElementType type, int width, int inner, string? variant = null) : base(device, type, inner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernels = Request<ResidualProductParams>(variants, variant);
    }

    /// <summary>Columns of the residual stream.</summary>
    public int Width { get; }

    /// <summary>Sums of squares that a call of so many rows leaves for each of them.</summary>
    public int PartsFor(int rows) => Tiling.Count(Width, KernelFor(_kernels, rows).Plan.TileColumns);

    /// <summary>Queues the product and the add.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="input">[B, K].</param>
    /// <param name="w">[width, K].</param>
    /// <param name="bias">[width], or empty.</param>
    /// <param name="residual">[B, width]; changed in place.</param>
    /// <param name="squares">Float32 [B, <see cref="PartsFor"/>]; written.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView input, in TensorView w, in TensorView bias, in TensorView residual, in TensorView squares)
    {
        ArgumentNullException.ThrowIfNull(stream);
        PlannedKernel<ResidualProductParams> kernel = KernelFor(_kernels, input.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input, w, Width);
        int rows = product.Rows;
        Check.OptionalVector(bias, Type, Width);
        Check.Matrix(residual, Type, rows, Width);
        Check.AdjacentRows(squares, ElementType.Float32, rows, PartsFor(rows));
        Check.Distinct(input, residual);
        ResidualProductParams parameters = new()
        {
            Product = product,
            Bias = bias.Address,
            Residual = residual.Address,
            Squares = squares.Address,
            ResidualStride = residual.RowStride,
            Width = Width,
        };
        Launch(stream, kernel, rows, Width, kernel.Plan.TileColumns, parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        int[] inner = [model.RnnWidth, model.Heads * model.HeadDim, model.MlpWidth];
        return inner.SelectMany(k => variants.Enumerate(nameof(ResidualProduct), new(k, int.MaxValue), type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.Width, inner = SelfTestBench.MlpWidth;
        ResidualProduct op = new(bench.Device, bench.Type, width, inner, bench.Variant);
        TensorView residual = bench.Input(rows, width);
        op.Run(bench.Stream, bench.Input(rows, inner), bench.Input(width, inner, 0.25f), bench.Input(1, width), residual,
            bench.Output(ElementType.Float32, rows, op.PartsFor(rows)));
        return residual;
    }
}

/// <summary>Mirror of ResidualProductParams in residual_product.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ResidualProductParams
{
    public SkinnyProductParams Product;
    public ulong Bias;
    public ulong Residual;
    public ulong Squares;
    public long ResidualStride;
    public int Width;
}
