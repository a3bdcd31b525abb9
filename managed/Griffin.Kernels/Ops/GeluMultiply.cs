using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>The middle of the gated MLP: y = gelu(g + bg) · (u + bu), gelu in its tanh form.</summary>
public sealed class GeluMultiply : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 128;
    private const int Rows = 4;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("gelu_multiply.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<GeluMultiplyParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="width">Columns of one half, and of the result.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public GeluMultiply(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, int.MaxValue / 2);
        Width = width;
        _kernel = Request<int, GeluMultiplyParams>(variants, width, variant);
    }

    /// <summary>Columns of one half, and of the result.</summary>
    public int Width { get; }

    /// <summary>Queues the product.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="gateUp">[N, 2·width]: the gate half, then the linear half, without their biases.</param>
    /// <param name="bias">[2·width], the biases of both halves.</param>
    /// <param name="y">[N, width]; may be exactly one half of gateUp.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap in part.</exception>
    public void Run(GpuStream stream, in TensorView gateUp, in TensorView bias, in TensorView y)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(gateUp, Type, 2L * Width);
        Check.Vector(bias, Type, 2L * Width);
        Check.Matrix(y, Type, rows, Width);
        Check.Aligned(gateUp, _kernel.Plan.Vector);
        Check.Aligned(bias, _kernel.Plan.Vector);
        Check.Aligned(y, _kernel.Plan.Vector);
        if (rows == 0) return;
        TensorView gate = gateUp.ColumnRange(0, Width), up = gateUp.ColumnRange(Width, Width);
        Check.SameOrDistinct(y, gate);
        Check.SameOrDistinct(y, up);
        GeluMultiplyParams parameters = new()
        {
            GateUp = gateUp.Address,
            Bias = bias.Address,
            Y = y.Address,
            GateUpStride = gateUp.RowStride,
            YStride = y.RowStride,
            Rows = rows,
            Width = Width,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(GeluMultiply), model.MlpWidth, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.MlpWidth;
        TensorView y = bench.Output(tokens, width);
        new GeluMultiply(bench.Device, bench.Type, width, bench.Variant).Run(bench.Stream, bench.Input(tokens, 2 * width, 2), bench.Input(1, 2 * width), y);
        return y;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        KernelPlan.ByColumns($"gelu_multiply<{query.T}, {vector}, {Rows}>", query.Shape, vector, MaxThreads, Rows);
}

/// <summary>Mirror of GeluMultiplyParams in gelu_multiply.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GeluMultiplyParams
{
    public ulong GateUp;
    public ulong Bias;
    public ulong Y;
    public long GateUpStride;
    public long YStride;
    public int Rows;
    public int Width;
}
