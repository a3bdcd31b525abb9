using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The head of a decode step: norm, product and soft-cap in one kernel, float32 logits. It is <see cref="RmsNorm"/>, <see cref="MatMul"/> and
/// <see cref="SoftCap"/> with their roundings.
/// </summary>
public sealed class NormProduct : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private static readonly VariantTable<SkinnyShape> variants = Variants("norm_product");

    private readonly PlannedKernel<NormProductParams>[] _kernels;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of input, scale and weight.</param>
    /// <param name="width">Columns of the result, rows of the weight.</param>
    /// <param name="inner">K: columns of the input and of the weight.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public NormProduct(GpuDevice device, ElementType type, int width, int inner, string? variant = null) : base(device, type, inner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernels = Request<NormProductParams>(variants, variant);
    }

    /// <summary>Columns of the result.</summary>
    public int Width { get; }

    /// <summary>Queues the product.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="input">Rows [B, K] to norm.</param>
    /// <param name="w">[width, K].</param>
    /// <param name="cap">The soft-cap; 0 for none.</param>
    /// <param name="y">Float32 [B, width].</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, the cap is negative or not finite, or views overlap.</exception>
    public void Run(GpuStream stream, in NormedInput input, in TensorView w, float cap, in TensorView y)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!(cap >= 0) || !float.IsFinite(cap)) throw new ArgumentOutOfRangeException(nameof(cap), cap, "The cap must be finite, and positive or 0.");
        PlannedKernel<NormProductParams> kernel = KernelFor(_kernels, input.X.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input.X, w, Width);
        NormInputParams norm = Norm(kernel.Plan, input);
        Check.Matrix(y, ElementType.Float32, product.Rows, Width);
        Check.Distinct(y, input.X);
        NormProductParams parameters = new() { Product = product, Norm = norm, Y = y.Address, YStride = y.RowStride, Width = Width, Cap = cap };
        Launch(stream, kernel, product.Rows, Width, kernel.Plan.TileColumns, parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(NormProduct), new(model.Width, int.MaxValue), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.Vocabulary, inner = SelfTestBench.Width;
        TensorView y = bench.Output(ElementType.Float32, rows, width);
        new NormProduct(bench.Device, bench.Type, width, inner, bench.Variant).Run(
            bench.Stream, bench.Normed(rows, inner), bench.Input(width, inner, 0.0625f), 30, y);
        return y;
    }
}

/// <summary>Mirror of NormProductParams in norm_product.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NormProductParams
{
    public SkinnyProductParams Product;
    public NormInputParams Norm;
    public ulong Y;
    public long YStride;
    public int Width;
    public float Cap;
}
