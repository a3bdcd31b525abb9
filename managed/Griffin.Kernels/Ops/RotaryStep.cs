using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Rotary position embedding of one token per row, fused with the write of its key and value to the row's ring. q turns in place; k is written
/// rotated to ring slot pos mod ringSlots, with v, and stays unrotated in qkv. Padding rows write nothing.
/// </summary>
public sealed class RotaryStep : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 256;

    private static readonly VariantTable<RotaryShape> variants = new(KernelSource.BuiltIn("rotary_step.cu"),
        new KernelVariant<RotaryShape>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape.Half % q.Vector == 0 && q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<RotaryShape>("general", q => Plan(q, 1)));

    private readonly RotaryShape _shape;
    private readonly PlannedKernel<RotaryStepParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv and of the ring.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="rotated">Channels of a head that turn, even, at most <paramref name="headDim"/>.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RotaryStep(GpuDevice device, ElementType type, int heads, int headDim, int rotated, string? variant = null) : base(device, type)
    {
        _shape = RotaryShape.Of(heads, headDim, rotated);
        _kernel = Request<RotaryShape, RotaryStepParams>(variants, _shape, variant);
    }

    /// <summary>Queues the rotation and the ring write.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">Rows of one token each.</param>
    /// <param name="qkv">[B, (heads + 2) · headDim]: q heads, k, v; q changes in place.</param>
    /// <param name="phases">UInt64 [rotated/2], of <see cref="RotaryPhases.Compute"/>.</param>
    /// <param name="ring">The layer's keys [ringSlots, headDim], then values, in every slot.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or a row has not one token.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView qkv, in TensorView phases, in LayerState ring, int ringSlots)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Matrix(qkv, Type, rows.Tokens, _shape.QkvWidth);
        Check.Vector(phases, ElementType.UInt64, _shape.Half);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        KeyValueRing.CheckStep(rows);
        KeyValueRing.Check(ring, ringSlots, _shape.HeadDim, Type);
        if (rows.Tokens == 0) return;
        PackedRowsParams packed = rows.Params;
        RotaryStepParams parameters = new()
        {
            Qkv = qkv.Address,
            Positions = packed.Positions,
            Slots = packed.Slots,
            Phases = phases.Address,
            Ring = ring.Params,
            QkvStride = qkv.RowStride,
            Rows = rows.Rows,
            Heads = _shape.Heads,
            HeadDim = _shape.HeadDim,
            Half = _shape.Half,
            RingSlots = ringSlots,
        };
        long pieces = ((_shape.Heads + 1L) * _shape.Half + (_shape.HeadDim - 2L * _shape.Half) + _shape.HeadDim) / _kernel.Plan.Vector;
        _kernel.Launch(stream, (rows.Rows * pieces + Threads - 1) / Threads, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RotaryStep), RotaryShape.Of(model), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim;
        TensorView ring = bench.Ring();
        new RotaryStep(bench.Device, bench.Type, heads, headDim, SelfTestBench.Rotated, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(SelfTestBench.Slots, (heads + 2) * headDim), bench.Phases(), SelfTestBench.State(ring), SelfTestBench.RingSlots);
        return ring;
    }

    private static KernelPlan Plan(in VariantQuery<RotaryShape> query, int vector) => new($"rotary_step<{query.T}, {vector}>", Threads) { Vector = vector };
}

/// <summary>Mirror of RotaryStepParams in rotary_step.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RotaryStepParams
{
    public ulong Qkv;
    public ulong Positions;
    public ulong Slots;
    public ulong Phases;
    public SlotMemoryParams Ring;
    public long QkvStride;
    public int Rows;
    public int Heads;
    public int HeadDim;
    public int Half;
    public int RingSlots;
}
