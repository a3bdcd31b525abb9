using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>RMSNorm, y = x / sqrt(mean(x²) + eps) · (1 + scale), alone or after adding to a residual.</summary>
public sealed class RmsNorm : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 1024;
    private const int UsualThreads = 256;
    private const int MaxItems = 16;   // f32 values of a row that one thread keeps, over Vector

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("rms_norm.cu"),
        // One thread a block: no barriers, which the emulator runs as a plain loop.
        new KernelVariant<Shape>("serial", q => Wide(q, q.Vector, 1)) { Fits = q => q.Shape.Width % q.Vector == 0, Preferred = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<Shape>("vector", q => InRegisters(q, q.Vector)) { Fits = q => q.Shape.Width % q.Vector == 0 && FitsRegisters(q, q.Vector) },
        new KernelVariant<Shape>("general", q => InRegisters(q, 1)) { Fits = q => FitsRegisters(q, 1) },
        new KernelVariant<Shape>("wide", q => Wide(q, 1, UsualThreads)));

    private readonly PlannedKernel<RmsNormParams> _alone;
    private readonly PlannedKernel<RmsNormParams> _residual;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="width">Columns of a row.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RmsNorm(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _alone = Request<Shape, RmsNormParams>(variants, new(width, Residual: false), variant);
        _residual = Request<Shape, RmsNormParams>(variants, new(width, Residual: true), variant);
    }

    /// <summary>Columns of a row.</summary>
    public int Width { get; }

    /// <summary>Queues y = norm(x).</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">[N, width].</param>
    /// <param name="scale">[width], around 0.</param>
    /// <param name="y">[N, width]; may be exactly x.</param>
    /// <param name="eps">Added to the mean of squares.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap in part.</exception>
    public void Run(GpuStream stream, in TensorView x, in TensorView scale, in TensorView y, float eps)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(x, Type, Width);
        CheckCommon(x, scale, y, rows);
        Check.SameOrDistinct(y, x);
        if (rows == 0) return;
        _alone.Launch(stream, rows, Parameters(x, scale, y, eps));
    }

    /// <summary>Queues residualOut = round(residual + delta + bias), then y = norm(residualOut).</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="residual">[N, width].</param>
    /// <param name="delta">[N, width].</param>
    /// <param name="bias">[width], or empty.</param>
    /// <param name="scale">[width], around 0.</param>
    /// <param name="residualOut">[N, width]; may be exactly residual.</param>
    /// <param name="y">[N, width]; may be exactly delta.</param>
    /// <param name="eps">Added to the mean of squares.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap in part.</exception>
    public void RunResidual(
        GpuStream stream, in TensorView residual, in TensorView delta, in TensorView bias, in TensorView scale, in TensorView residualOut, in TensorView y, float eps)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(residual, Type, Width);
        Check.Matrix(delta, Type, rows, Width);
        Check.OptionalVector(bias, Type, Width);
        Check.Matrix(residualOut, Type, rows, Width);
        CheckCommon(residual, scale, y, rows);
        Check.Aligned(delta, _residual.Plan.Vector);
        Check.Aligned(bias, _residual.Plan.Vector);
        Check.Aligned(residualOut, _residual.Plan.Vector);
        Check.SameOrDistinct(residualOut, residual);
        Check.Distinct(residual, delta);
        Check.Distinct(residualOut, delta);
        Check.Distinct(residual, y);
        Check.Distinct(residualOut, y);
        Check.SameOrDistinct(y, delta);
        if (rows == 0) return;
        RmsNormParams parameters = Parameters(residual, scale, y, eps);
        parameters.Delta = delta.Address;
        parameters.Bias = bias.Address;
        parameters.Sum = residualOut.Address;
        parameters.DeltaStride = delta.RowStride;
        parameters.SumStride = residualOut.RowStride;
        _residual.Launch(stream, rows, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RmsNorm), new(model.Width, Residual: false), type)
            .Concat(variants.Enumerate(nameof(RmsNorm), new(model.Width, Residual: true), type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width;
        TensorView y = bench.Output(tokens, width);
        new RmsNorm(bench.Device, bench.Type, width, bench.Variant).Run(bench.Stream, bench.Input(tokens, width, 3), bench.Input(1, width, 0.5f), y, 1e-6f);
        return y;
    }

    private void CheckCommon(in TensorView x, in TensorView scale, in TensorView y, int rows)
    {
        Check.Vector(scale, Type, Width);
        Check.Matrix(y, Type, rows, Width);
        Check.Aligned(x, _alone.Plan.Vector);
        Check.Aligned(scale, _alone.Plan.Vector);
        Check.Aligned(y, _alone.Plan.Vector);
    }

    private RmsNormParams Parameters(in TensorView x, in TensorView scale, in TensorView y, float eps) => new()
    {
        X = x.Address,
        Scale = scale.Address,
        Y = y.Address,
        XStride = x.RowStride,
        YStride = y.RowStride,
        Width = Width,
        Eps = eps,
    };

    private static bool FitsRegisters(in VariantQuery<Shape> query, int vector) =>
        (long)query.Shape.Width <= (long)MaxThreads * MaxItems * (vector == 1 ? 1 : vector / 2);

    // As many values per thread as keep the block at its usual size; then no more threads than those values need.
    private static KernelPlan InRegisters(in VariantQuery<Shape> query, int vector)
    {
        int vectors = (query.Shape.Width + vector - 1) / vector;
        int maxItems = vector == 1 ? MaxItems : MaxItems / 2;
        int items = Math.Min(maxItems, (vectors + UsualThreads - 1) / UsualThreads);
        int threads = KernelPlan.ThreadsFor((vectors + items - 1) / items, 1, MaxThreads);
        return new($"rms_norm<{query.T}, {vector}, {threads}, {items}, {Flag(query.Shape.Residual)}>", threads) { Vector = vector };
    }

    private static KernelPlan Wide(in VariantQuery<Shape> query, int vector, int threads) =>
        new($"rms_norm_wide<{query.T}, {vector}, {threads}, {Flag(query.Shape.Residual)}>", threads) { Vector = vector };

    private static string Flag(bool value) => value ? "true" : "false";

    private readonly record struct Shape(int Width, bool Residual);
}

/// <summary>Mirror of RmsNormParams in rms_norm.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RmsNormParams
{
    public ulong X;
    public ulong Delta;
    public ulong Bias;
    public ulong Scale;
    public ulong Sum;
    public ulong Y;
    public long XStride;
    public long DeltaStride;
    public long SumStride;
    public long YStride;
    public int Width;
    public float Eps;
}
