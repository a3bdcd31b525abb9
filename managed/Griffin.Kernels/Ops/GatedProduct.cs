using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The first half of a gated MLP in a decode step: norm, gate|up product and gelu(g + bg) · (u + bu) in one kernel. It is <see cref="RmsNorm"/>,
/// <see cref="MatMul"/> and <see cref="GeluMultiply"/> with their roundings.
/// </summary>
public sealed class GatedProduct : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private static readonly VariantTable<SkinnyShape> variants = Variants("gated_product");

    private readonly PlannedKernel<GatedProductParams>[] _kernels;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the squares.</param>
    /// <param name="width">D: columns of the result; the weight has 2·D rows.</param>
    /// <param name="inner">K: columns of the input and of the weight.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public GatedProduct(GpuDevice device, ElementType type, int width, int inner, string? variant = null) : base(device, type, inner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, int.MaxValue / 2);
        Width = width;
        _kernels = Request<GatedProductParams>(variants, variant);
    }

    /// <summary>D: columns of the result.</summary>
    public int Width { get; }

    /// <summary>Queues the half.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="input">Rows [B, K] to norm.</param>
    /// <param name="w">[2·D, K]: the gate's rows, then up's.</param>
    /// <param name="bias">[2·D].</param>
    /// <param name="y">[B, D].</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in NormedInput input, in TensorView w, in TensorView bias, in TensorView y)
    {
        ArgumentNullException.ThrowIfNull(stream);
        PlannedKernel<GatedProductParams> kernel = KernelFor(_kernels, input.X.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input.X, w, 2L * Width);
        NormInputParams norm = Norm(kernel.Plan, input);
        Check.Vector(bias, Type, 2L * Width);
        Check.Matrix(y, Type, product.Rows, Width);
        Check.Distinct(y, input.X);
        GatedProductParams parameters = new() { Product = product, Norm = norm, Bias = bias.Address, Y = y.Address, YStride = y.RowStride, Width = Width };
        Launch(stream, kernel, product.Rows, Width, kernel.Plan.TileColumns / 2, parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(GatedProduct), new(model.Width, int.MaxValue), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.MlpWidth, inner = SelfTestBench.Width;
        TensorView y = bench.Output(rows, width);
        new GatedProduct(bench.Device, bench.Type, width, inner, bench.Variant).Run(
            bench.Stream, bench.Normed(rows, inner), bench.Input(2 * width, inner, 0.0625f), bench.Input(1, 2 * width), y);
        return y;
    }
}

/// <summary>Mirror of GatedProductParams in gated_product.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GatedProductParams
{
    public SkinnyProductParams Product;
    public NormInputParams Norm;
    public ulong Bias;
    public ulong Y;
    public long YStride;
    public int Width;
}
