using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// One step of AdamW over a flat arena: g = gradient · min(1, maxNorm / norm), first ← β₁·first + (1-β₁)·g, second ← β₂·second + (1-β₂)·g²,
/// master ← master·(1 - rate·decay) - rate · (first·c₁) / (√(second·c₂) + ε), weights = round(master). What changes from step to step is read from
/// device memory. Where the norm is not finite nothing changes.
/// </summary>
public sealed class AdamW : KernelOp, IKernelCatalogue, ISelfTested
{
    /// <summary>Elements that one flag of the decay speaks for; an arena is whole groups.</summary>
    public const int Group = 64;

    /// <summary>Float32 settings: rate, β₁, β₂, ε, decay, maxNorm (0: no clipping), c₁ = 1/(1-β₁ᵗ), c₂ = 1/(1-β₂ᵗ).</summary>
    public const int Settings = 8;

    private const int Items = 4;

    private static readonly VariantTable<Any> variants = new(KernelSource.BuiltIn("adam_w.cu"),
        // Long stretches of one thread, which the emulator's compiler turns into wide vectors.
        new KernelVariant<Any>("long", q => Plan(q, 16, 32)) { Preferred = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<Any>("vector", q => Plan(q, 4, 256)),
        new KernelVariant<Any>("general", q => Plan(q, 1, 256)));

    private readonly PlannedKernel<AdamWParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the weights.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public AdamW(GpuDevice device, ElementType type, string? variant = null) : base(device, type) => _kernel = Request<Any, AdamWParams>(variants, default, variant);

    /// <summary>Queues the step.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="weights">[n], written; may be exactly master where the op's type is float32. n is a multiple of <see cref="Group"/>.</param>
    /// <param name="master">Float32 [n], updated.</param>
    /// <param name="gradient">Float32 [n].</param>
    /// <param name="first">Float32 [n], updated: the first moment.</param>
    /// <param name="second">Float32 [n], updated: the second moment.</param>
    /// <param name="decayed">UInt8 [n / <see cref="Group"/>]: 1 where the group's elements decay, 0 where not.</param>
    /// <param name="norm">Float32 [1], of <see cref="GradientNorm"/>.</param>
    /// <param name="settings">Float32 [<see cref="Settings"/>].</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(
        GpuStream stream, in TensorView weights, in TensorView master, in TensorView gradient, in TensorView first, in TensorView second, in TensorView decayed,
        in TensorView norm, in TensorView settings)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int vector = _kernel.Plan.Vector;
        long count = Check.FlatLength(weights, Type);
        if (count % Group != 0) throw new ArgumentException($"weights has {count} elements; a multiple of {Group} is needed.", nameof(weights));
        Check.Flat(master, ElementType.Float32, count);
        Check.Flat(gradient, ElementType.Float32, count);
        Check.Flat(first, ElementType.Float32, count);
        Check.Flat(second, ElementType.Float32, count);
        Check.Flat(decayed, ElementType.UInt8, count / Group);
        Check.Vector(norm, ElementType.Float32, 1);
        Check.Vector(settings, ElementType.Float32, Settings);
        Check.Aligned(weights, Math.Min(vector, 16 / Type.SizeOf()));
        int floats = Math.Min(vector, 4);
        Check.Aligned(master, floats);
        Check.Aligned(gradient, floats);
        Check.Aligned(first, floats);
        Check.Aligned(second, floats);
        Check.SameOrDistinct(weights, master);
        Check.Distinct(weights, gradient);
        Check.Distinct(weights, first);
        Check.Distinct(weights, second);
        Check.Distinct(master, gradient);
        Check.Distinct(master, first);
        Check.Distinct(master, second);
        Check.Distinct(first, gradient);
        Check.Distinct(second, gradient);
        Check.Distinct(first, second);
        if (count == 0) return;
        AdamWParams parameters = new()
        {
            Weights = weights.Address,
            Master = master.Address,
            Gradient = gradient.Address,
            First = first.Address,
            Second = second.Address,
            Decayed = decayed.Address,
            Norm = norm.Address,
            Settings = settings.Address,
            Count = count,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(1, count), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type) => variants.Enumerate(nameof(AdamW), default, type);

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int count = 5 * Group;
        TensorView master = bench.Float32Input(1, count, 1), weights = bench.Output(1, count);
        TensorView decayed = bench.Integers(0x00010001, 1);   // five bytes of it: groups 0, 2 and 4 decay
        TensorView settings = bench.Float32Values(0.25f, 0.875f, 0.984375f, 1e-6f, 0.5f, 2, 4, 16);
        new AdamW(bench.Device, bench.Type, bench.Variant).Run(
            bench.Stream, weights, master, bench.Float32Input(1, count, 1), bench.Float32Input(1, count, 0.1f), bench.Float32Input(1, count, 0.25f, 0.5f),
            TensorView.Of(decayed.Owner, 0, ElementType.UInt8, 1, count / Group), bench.Float32Values(8), settings);
        return weights;
    }

    private static KernelPlan Plan(in VariantQuery<Any> query, int vector, int threads) =>
        new($"adam_w<{query.T}, {vector}, {Items}>", threads) { Vector = vector, TileColumns = threads * vector * Items };

    // The kernel knows no static shape.
    private readonly record struct Any;
}

/// <summary>Mirror of AdamWParams in adam_w.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AdamWParams
{
    public ulong Weights;
    public ulong Master;
    public ulong Gradient;
    public ulong First;
    public ulong Second;
    public ulong Decayed;
    public ulong Norm;
    public ulong Settings;
    public long Count;
}
