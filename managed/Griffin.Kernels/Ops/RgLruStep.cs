using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>The scan of <see cref="RgLru"/> for one token per row, updating h in the same kernel. It gives the bits of RgLru's sequential variants.</summary>
public sealed class RgLruStep : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 64;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("rg_lru_step.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<RgLruStepParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand; h is float32.</param>
    /// <param name="width">Channels.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RgLruStep(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, RgLruStepParams>(variants, width, variant);
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Queues one step.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">B rows of one token each.</param>
    /// <param name="z">[B, width], the convolution's result.</param>
    /// <param name="gates">[B, 2·width]: input gate logits, then recurrence gate logits.</param>
    /// <param name="y">[B, width], the product that makes the GELU branch, without its bias.</param>
    /// <param name="yBias">[width], or empty.</param>
    /// <param name="lambda">[width].</param>
    /// <param name="output">[B, width]; may be exactly z or y.</param>
    /// <param name="state">The layer's h, float32 [width] per slot; updated.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap in part.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView z, in TensorView gates, in TensorView y, in TensorView yBias, in TensorView lambda,
        in TensorView output, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.OneTokenPerRow(rows);
        RgLruOperands operands = new(z, gates, y, yBias, lambda, output, state);
        operands.CheckAll(Type, rows.Tokens, Width, _kernel.Plan.Vector);
        operands.CheckState(Width);
        if (rows.Rows == 0) return;
        RgLruStepParams parameters = new()
        {
            Z = operands.Z.Address,
            Gates = operands.Gates.Address,
            Y = operands.Y.Address,
            YBias = operands.YBias.Address,
            Lambda = operands.Lambda.Address,
            Output = operands.Output.Address,
            Rows = rows.Params,
            State = operands.State.Params,
            ZStride = operands.Z.RowStride,
            GatesStride = operands.Gates.RowStride,
            YStride = operands.Y.RowStride,
            OutputStride = operands.Output.RowStride,
            Width = Width,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows.Rows, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RgLruStep), model.RnnWidth, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.Width;
        TensorView output = bench.Output(rows, width);
        new RgLruStep(bench.Device, bench.Type, width, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(rows, width), bench.Input(rows, 2 * width, 2), bench.Input(rows, width), bench.Input(1, width),
            bench.Input(1, width, 2, -4), output, SelfTestBench.State(bench.Float32Input(rows, width, 1)));
        return output;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        KernelPlan.ByColumns($"rg_lru_step<{query.T}, {vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of RgLruStepParams in rg_lru_step.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RgLruStepParams
{
    public ulong Z;
    public ulong Gates;
    public ulong Y;
    public ulong YBias;
    public ulong Lambda;
    public ulong Output;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long ZStride;
    public long GatesStride;
    public long YStride;
    public long OutputStride;
    public int Width;
}
