using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Partial rotary position embedding in place: channels j and j + rotated/2 of every q head and of the k head turn by pos · base^(-2j/rotated);
/// the channels from <c>rotated</c> on pass through. Padding rows stay as they are.
/// </summary>
public sealed class RotaryEmbedding : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 256;

    private static readonly VariantTable<RotaryShape> variants = new(KernelSource.BuiltIn("rotary_embedding.cu"),
        new KernelVariant<RotaryShape>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape.Half % q.Vector == 0 && q.Shape.HeadDim % q.Vector == 0 },
        new KernelVariant<RotaryShape>("general", q => Plan(q, 1)));

    private readonly RotaryShape _shape;
    private readonly PlannedKernel<RotaryEmbeddingParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of qkv.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="rotated">Channels of a head that turn, even, at most <paramref name="headDim"/>.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RotaryEmbedding(GpuDevice device, ElementType type, int heads, int headDim, int rotated, string? variant = null) : base(device, type)
    {
        _shape = RotaryShape.Of(heads, headDim, rotated);
        _kernel = Request<RotaryShape, RotaryEmbeddingParams>(variants, _shape, variant);
    }

    /// <summary>Queues the rotation.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="qkv">[N, (heads + 2) · headDim]: q heads, k, v; q and k change in place.</param>
    /// <param name="positions">Int32 [N]; -1 leaves a row alone.</param>
    /// <param name="phases">UInt64 [rotated/2], of <see cref="RotaryPhases.Compute"/>.</param>
    /// <param name="inverse">Whether to turn by the opposite angles: what undoes the rotation, and is its backward pass.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong.</exception>
    public void Run(GpuStream stream, in TensorView qkv, in TensorView positions, in TensorView phases, bool inverse = false)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int tokens = Check.Matrix(qkv, Type, _shape.QkvWidth);
        Check.Vector(positions, ElementType.Int32, tokens);
        Check.Vector(phases, ElementType.UInt64, _shape.Half);
        Check.Aligned(qkv, _kernel.Plan.Vector);
        if (tokens == 0 || _shape.Half == 0) return;
        RotaryEmbeddingParams parameters = new()
        {
            Qkv = qkv.Address,
            Positions = positions.Address,
            Phases = phases.Address,
            QkvStride = qkv.RowStride,
            Tokens = tokens,
            Heads = _shape.Heads,
            HeadDim = _shape.HeadDim,
            Half = _shape.Half,
            Direction = inverse ? -1 : 1,
        };
        long items = (long)tokens * (_shape.Half / _kernel.Plan.Vector);
        _kernel.Launch(stream, (items + Threads - 1) / Threads, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RotaryEmbedding), RotaryShape.Of(model), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int heads = SelfTestBench.Heads, headDim = SelfTestBench.HeadDim;
        TensorView qkv = bench.Input(SelfTestBench.Tokens, (heads + 2) * headDim);
        new RotaryEmbedding(bench.Device, bench.Type, heads, headDim, SelfTestBench.Rotated, bench.Variant).Run(
            bench.Stream, qkv, bench.Positions(), bench.Phases());
        return qkv;
    }

    private static KernelPlan Plan(in VariantQuery<RotaryShape> query, int vector) => new($"rotary_embedding<{query.T}, {vector}>", Threads) { Vector = vector };
}

/// <summary>Heads whose first 2 · Half channels turn.</summary>
internal readonly record struct RotaryShape(int Heads, int HeadDim, int Half)
{
    public int QkvWidth => checked((Heads + 2) * HeadDim);

    public static RotaryShape Of(int heads, int headDim, int rotated)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(heads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfNegative(rotated);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rotated, headDim);
        if (rotated % 2 != 0) throw new ArgumentOutOfRangeException(nameof(rotated), rotated, "The number of rotated channels must be even.");
        return new(heads, headDim, rotated / 2);
    }

    // Half of a head turns in the published models; other fractions use the same kernels.
    public static RotaryShape Of(ModelDimensions model) => new(model.Heads, model.HeadDim, model.HeadDim / 4);
}

/// <summary>Mirror of RotaryEmbeddingParams in rotary_embedding.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RotaryEmbeddingParams
{
    public ulong Qkv;
    public ulong Positions;
    public ulong Phases;
    public long QkvStride;
    public int Tokens;
    public int Heads;
    public int HeadDim;
    public int Half;
    public float Direction;
}
