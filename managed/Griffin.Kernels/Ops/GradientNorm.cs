using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The Euclidean norm of a flat float32 vector, √Σ g², left in device memory for <see cref="AdamW"/>. A NaN or an infinity among the elements comes
/// through, and a sum of squares past float32 gives infinity.
/// </summary>
public sealed class GradientNorm : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int PartThreads = 128;   // also in gradient_norm.cu
    private const int LastThreads = 1024;
    private const int Vector = 4;
    private const int LeastElements = 8192;
    private const int MaxBlocks = 1024;

    private static readonly VariantTable<Any> variants = new(KernelSource.BuiltIn("gradient_norm.cu"),
        new KernelVariant<Any>("vector", q => new($"gradient_norm_parts<{Vector}>", PartThreads) { Vector = Vector }),
        new KernelVariant<Any>("general", q => new("gradient_norm_parts<1>", PartThreads)));

    private static readonly VariantTable<Any> lastVariants = new(KernelSource.BuiltIn("gradient_norm.cu"),
        new KernelVariant<Any>("vector", q => new("gradient_norm", LastThreads)),
        new KernelVariant<Any>("general", q => new("gradient_norm", LastThreads)));

    private readonly PlannedKernel<GradientNormParams> _parts;
    private readonly PlannedKernel<GradientNormParams> _last;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public GradientNorm(GpuDevice device, string? variant = null) : base(device, ElementType.Float32)
    {
        _parts = Request<Any, GradientNormParams>(variants, default, variant);
        _last = Request<Any, GradientNormParams>(lastVariants, default, variant);
    }

    /// <summary>Bytes of workspace that so many elements need: 512 KiB at most.</summary>
    public static long WorkspaceBytes(long count) => Blocks(count) * PartThreads * sizeof(float);

    /// <summary>Queues the norm. No elements launch nothing and leave the result as it is.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="gradients">Float32 [n], one row.</param>
    /// <param name="result">Float32 [1], written.</param>
    /// <param name="workspace">One row of at least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, the views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in TensorView gradients, in TensorView result, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        long count = Check.FlatLength(gradients, Type);
        Check.Vector(result, Type, 1);
        Check.Aligned(gradients, _parts.Plan.Vector);
        Check.Distinct(result, gradients);
        if (count == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(count));
        long blocks = Blocks(count);
        GradientNormParams parameters = new()
        {
            Gradients = gradients.Address,
            Parts = workspace.Address,
            Result = result.Address,
            Count = count,
            ElementsPerBlock = ElementsPerBlock(count),
            PartCount = (int)blocks * PartThreads,
        };
        _parts.Launch(stream, blocks, parameters);
        _last.Launch(stream, 1, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type) =>
        variants.Enumerate(nameof(GradientNorm), default, ElementType.Float32).Concat(lastVariants.Enumerate(nameof(GradientNorm), default, ElementType.Float32));

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int count = 301;
        TensorView result = bench.Output(ElementType.Float32, 1, 1);
        new GradientNorm(bench.Device, bench.Variant).Run(bench.Stream, bench.Float32Input(1, count, 1), result, bench.Workspace(WorkspaceBytes(count)));
        return result;
    }

    private static long Blocks(long count) => (count + ElementsPerBlock(count) - 1) / ElementsPerBlock(count);

    // Whole steps of a block, so many that there are not too many blocks.
    private static long ElementsPerBlock(long count)
    {
        long step = PartThreads * Vector, most = (count + MaxBlocks - 1) / MaxBlocks;
        return Math.Max(LeastElements, (most + step - 1) / step * step);
    }

    // The kernels know no static shape.
    private readonly record struct Any;
}

/// <summary>Mirror of GradientNormParams in gradient_norm.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GradientNormParams
{
    public ulong Gradients;
    public ulong Parts;
    public ulong Result;
    public long Count;
    public long ElementsPerBlock;
    public int PartCount;
}
