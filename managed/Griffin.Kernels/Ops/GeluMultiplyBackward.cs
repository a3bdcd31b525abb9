using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="GeluMultiply"/>: with a = g + bg, b = u + bu, dg = dy·b·gelu'(a) and du = dy·gelu(a). The
/// biases' gradients are the <see cref="ColumnSum"/> of the result.
/// </summary>
public sealed class GeluMultiplyBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 128;
    private const int Rows = 4;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("gelu_multiply_backward.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<GeluMultiplyBackwardParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="width">Columns of one half, and of the result.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public GeluMultiplyBackward(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, int.MaxValue / 2);
        Width = width;
        _kernel = Request<int, GeluMultiplyBackwardParams>(variants, width, variant);
    }

    /// <summary>Columns of one half, and of the result.</summary>
    public int Width { get; }

    /// <summary>Queues the gradient.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="gateUp">[N, 2·width]: the gate half, then the linear half, without their biases.</param>
    /// <param name="bias">[2·width], the biases of both halves.</param>
    /// <param name="dy">[N, width], the gradient of the result.</param>
    /// <param name="dGateUp">[N, 2·width]; may be exactly gateUp.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView gateUp, in TensorView bias, in TensorView dy, in TensorView dGateUp)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(gateUp, Type, 2L * Width);
        Check.Vector(bias, Type, 2L * Width);
        Check.Matrix(dy, Type, rows, Width);
        Check.Matrix(dGateUp, Type, rows, 2L * Width);
        Check.Aligned(gateUp, _kernel.Plan.Vector);
        Check.Aligned(bias, _kernel.Plan.Vector);
        Check.Aligned(dy, _kernel.Plan.Vector);
        Check.Aligned(dGateUp, _kernel.Plan.Vector);
        Check.SameOrDistinct(dGateUp, gateUp);
        Check.Distinct(dGateUp, dy);
        if (rows == 0) return;
        GeluMultiplyBackwardParams parameters = new()
        {
            GateUp = gateUp.Address,
            Bias = bias.Address,
            Dy = dy.Address,
            DGateUp = dGateUp.Address,
            GateUpStride = gateUp.RowStride,
            DyStride = dy.RowStride,
            DGateUpStride = dGateUp.RowStride,
            Rows = rows,
            Width = Width,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(GeluMultiplyBackward), model.MlpWidth, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.MlpWidth;
        TensorView gradient = bench.Output(tokens, 2 * width);
        new GeluMultiplyBackward(bench.Device, bench.Type, width, bench.Variant).Run(
            bench.Stream, bench.Input(tokens, 2 * width, 2), bench.Input(1, 2 * width), bench.Input(tokens, width), gradient);
        return gradient;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        KernelPlan.ByColumns($"gelu_multiply_backward<{query.T}, {vector}, {Rows}>", query.Shape, vector, MaxThreads, Rows);
}

/// <summary>Mirror of GeluMultiplyBackwardParams in gelu_multiply_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GeluMultiplyBackwardParams
{
    public ulong GateUp;
    public ulong Bias;
    public ulong Dy;
    public ulong DGateUp;
    public long GateUpStride;
    public long DyStride;
    public long DGateUpStride;
    public int Rows;
    public int Width;
}
