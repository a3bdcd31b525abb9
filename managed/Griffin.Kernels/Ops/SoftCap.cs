using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Soft-cap of float32 logits in place: x ← cap · tanh(x / cap).</summary>
public sealed class SoftCap : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 256;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("soft_cap.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<SoftCapParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="width">Columns of a row of logits.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public SoftCap(GpuDevice device, int width, string? variant = null) : base(device, ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, SoftCapParams>(variants, width, variant);
    }

    /// <summary>Columns of a row of logits.</summary>
    public int Width { get; }

    /// <summary>Queues the cap.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="logits">Float32 [N, width], changed in place.</param>
    /// <param name="cap">The bound, above 0; a model without one leaves the op out.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or the cap is not positive.</exception>
    public void Run(GpuStream stream, in TensorView logits, float cap)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!(cap > 0) || !float.IsFinite(cap)) throw new ArgumentOutOfRangeException(nameof(cap), cap, "The cap must be positive and finite.");
        int rows = Check.Matrix(logits, Type, Width);
        Check.Aligned(logits, _kernel.Plan.Vector);
        if (rows == 0) return;
        SoftCapParams parameters = new() { X = logits.Address, XStride = logits.RowStride, Width = Width, Cap = cap };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(SoftCap), model.Vocabulary, ElementType.Float32);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        TensorView logits = bench.Float32Input(SelfTestBench.Tokens, SelfTestBench.Vocabulary, 90);
        new SoftCap(bench.Device, SelfTestBench.Vocabulary, bench.Variant).Run(bench.Stream, logits, 30);
        return logits;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        KernelPlan.ByColumns($"soft_cap<{vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of SoftCapParams in soft_cap.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SoftCapParams
{
    public ulong X;
    public long XStride;
    public int Width;
    public float Cap;
}
