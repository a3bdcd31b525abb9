using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The start of an attention block in a decode step: norm, q|k|v product, rotary positions and ring write in one kernel. It is
/// <see cref="RmsNorm"/>, <see cref="MatMul"/> and <see cref="RotaryStep"/> with their roundings.
/// </summary>
public sealed class RotaryProduct : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private static readonly VariantTable<SkinnyShape> variants = Variants("rotary_product");

    private readonly PlannedKernel<RotaryProductParams>[] _kernels;
    private readonly RotaryShape _shape;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the squares, and of the ring.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head, even.</param>
    /// <param name="rotated">Channels of a head that turn, even, at most <paramref name="headDim"/>.</param>
    /// <param name="inner">K: columns of the input and of the weight.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RotaryProduct(GpuDevice device, ElementType type, int heads, int headDim, int rotated, int inner, string? variant = null)
        : base(device, type, inner)
    {
        _shape = RotaryShape.Of(heads, headDim, rotated);
        if (headDim % 2 != 0) throw new ArgumentOutOfRangeException(nameof(headDim), headDim, "Channels are taken in pairs: the width of a head must be even.");
        _kernels = Request<RotaryProductParams>(variants, variant);
    }

    /// <summary>Queues the product, the rotation and the ring write.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">Rows of one token each. Rows of padding write nothing to the ring.</param>
    /// <param name="input">Rows [B, K] to norm.</param>
    /// <param name="w">[(heads + 2) · headDim, K]: q heads, k, v.</param>
    /// <param name="phases">UInt64 [rotated/2], of <see cref="RotaryPhases.Compute"/>.</param>
    /// <param name="queries">[B, heads · headDim], written: the rotated q.</param>
    /// <param name="ring">The layer's keys [ringSlots, headDim], then values, in every slot.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, a row has not one token, or views overlap.</exception>
    public void Run(
        GpuStream stream, in PackedRows rows, in NormedInput input, in TensorView w, in TensorView phases, in TensorView queries, in LayerState ring, int ringSlots)
    {
        ArgumentNullException.ThrowIfNull(stream);
        PlannedKernel<RotaryProductParams> kernel = KernelFor(_kernels, input.X.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input.X, w, _shape.QkvWidth);
        NormInputParams norm = Norm(kernel.Plan, input);
        Check.OneTokenPerRow(rows);
        Check.Matrix(input.X, Type, rows.Rows, Inner);
        Check.Vector(phases, ElementType.UInt64, _shape.Half);
        Check.Matrix(queries, Type, rows.Rows, (long)_shape.Heads * _shape.HeadDim);
        Check.Distinct(queries, input.X);
        KeyValueRing.Check(ring, ringSlots, _shape.HeadDim, Type);
        PackedRowsParams packed = rows.Params;
        RotaryProductParams parameters = new()
        {
            Product = product,
            Norm = norm,
            Q = queries.Address,
            Positions = packed.Positions,
            Slots = packed.Slots,
            Phases = phases.Address,
            Ring = ring.Params,
            QStride = queries.RowStride,
            Heads = _shape.Heads,
            HeadDim = _shape.HeadDim,
            Half = _shape.Half,
            RingSlots = ringSlots,
        };
        Launch(stream, kernel, rows.Rows, _shape.QkvWidth, kernel.Plan.TileColumns, parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RotaryProduct), new(model.Width, int.MaxValue), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim, inner = SelfTestBench.Width;
        TensorView ring = bench.Ring();
        new RotaryProduct(bench.Device, bench.Type, heads, headDim, SelfTestBench.Rotated, inner, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Normed(rows, inner), bench.Input((heads + 2) * headDim, inner, 0.0625f), bench.Phases(),
            bench.Output(rows, heads * headDim), SelfTestBench.State(ring), SelfTestBench.RingSlots);
        return ring;
    }
}

/// <summary>Mirror of RotaryProductParams in rotary_product.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RotaryProductParams
{
    public SkinnyProductParams Product;
    public NormInputParams Norm;
    public ulong Q;
    public ulong Positions;
    public ulong Slots;
    public ulong Phases;
    public SlotMemoryParams Ring;
    public long QStride;
    public int Heads;
    public int HeadDim;
    public int Half;
    public int RingSlots;
}
