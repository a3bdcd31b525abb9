using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Appends the keys and values of a call to the rings, after attention has read them: of each row the last document's, at most the last
/// ringSlots of them, position p to ring slot p mod ringSlots. Rows of padding leave their ring alone.
/// </summary>
public sealed class RingAppend : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 256;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("ring_append.cu"),
        new KernelVariant<Shape>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<Shape>("general", q => Plan(q, 1)));

    private readonly Shape _shape;
    private readonly PlannedKernel<RingAppendParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv and of the ring.</param>
    /// <param name="heads">Query heads in front of the keys in qkv.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RingAppend(GpuDevice device, ElementType type, int heads, int headDim, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        _shape = new(heads, headDim);
        _kernel = Request<Shape, RingAppendParams>(variants, _shape, variant);
    }

    /// <summary>Queues the copy.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="qkv">[N, (heads + 2) · headDim], keys rotated.</param>
    /// <param name="ring">The layer's keys [ringSlots, headDim], then values, in every slot.</param>
    /// <param name="ringSlots">Positions that the ring holds.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView qkv, in LayerState ring, int ringSlots)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Matrix(qkv, Type, rows.Tokens, (_shape.Heads + 2L) * _shape.HeadDim);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        KeyValueRing.Check(ring, ringSlots, _shape.HeadDim, Type);
        if (rows.Tokens == 0) return;
        RingAppendParams parameters = new()
        {
            Qkv = qkv.Address,
            Rows = rows.Params,
            Ring = ring.Params,
            QkvStride = qkv.RowStride,
            KeyOffset = _shape.Heads * _shape.HeadDim,
            HeadDim = _shape.HeadDim,
            RingSlots = ringSlots,
        };
        long items = rows.Tokens * (2L * _shape.HeadDim / _kernel.Plan.Vector);
        _kernel.Launch(stream, (items + Threads - 1) / Threads, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RingAppend), new(model.Heads, model.HeadDim), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim;
        TensorView ring = bench.Ring();
        new RingAppend(bench.Device, bench.Type, heads, headDim, bench.Variant).Run(
            bench.Stream, bench.Rows(), bench.Input(SelfTestBench.Tokens, (heads + 2) * headDim), SelfTestBench.State(ring), SelfTestBench.RingSlots);
        return ring;
    }

    private static KernelPlan Plan(in VariantQuery<Shape> query, int vector) => new($"ring_append<{query.T}, {vector}>", Threads) { Vector = vector };

    private readonly record struct Shape(int Heads, int HeadDim);
}

/// <summary>Mirror of RingAppendParams in ring_append.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RingAppendParams
{
    public ulong Qkv;
    public PackedRowsParams Rows;
    public SlotMemoryParams Ring;
    public long QkvStride;
    public int KeyOffset;
    public int HeadDim;
    public int RingSlots;
}
