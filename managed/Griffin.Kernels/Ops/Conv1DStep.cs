using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The convolution of <see cref="Conv1D"/> for one token per row, updating the state in the same kernel. It gives the bits that Conv1D and its
/// update give.
/// </summary>
public sealed class Conv1DStep : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 128;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("conv1d_step.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<Conv1DStepParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand and of the state.</param>
    /// <param name="width">Channels.</param>
    /// <param name="taps">Taps of a channel.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public Conv1DStep(GpuDevice device, ElementType type, int width, int taps, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(taps);
        Width = width;
        Taps = taps;
        _kernel = Request<int, Conv1DStepParams>(variants, width, variant);
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Taps of a channel.</summary>
    public int Taps { get; }

    /// <summary>Queues one step.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">B rows of one token each.</param>
    /// <param name="x">[B, width], the product that makes the input, without its bias.</param>
    /// <param name="inputBias">[width], or empty.</param>
    /// <param name="weight">[width, taps], adjacent rows; the last tap multiplies the current token.</param>
    /// <param name="bias">[width].</param>
    /// <param name="y">[B, width]; may be exactly x.</param>
    /// <param name="state">The layer's states, [taps-1, width] each; updated.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap in part.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView x, in TensorView inputBias, in TensorView weight, in TensorView bias, in TensorView y, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.OneTokenPerRow(rows);
        int vector = _kernel.Plan.Vector;
        Check.Matrix(x, Type, rows.Tokens, Width);
        Check.OptionalVector(inputBias, Type, Width);
        Check.AdjacentRows(weight, Type, Width, Taps);
        Check.Vector(bias, Type, Width);
        Check.Matrix(y, Type, rows.Tokens, Width);
        Check.State(state, (Taps - 1L) * Width * Type.SizeOf());
        Check.Aligned(x, vector);
        Check.Aligned(inputBias, vector);
        Check.Aligned(bias, vector);
        Check.Aligned(y, vector);
        Check.SameOrDistinct(y, x);
        if (rows.Rows == 0) return;
        Conv1DStepParams parameters = new()
        {
            X = x.Address,
            InputBias = inputBias.Address,
            Weight = weight.Address,
            Bias = bias.Address,
            Y = y.Address,
            Rows = rows.Params,
            State = state.Params,
            XStride = x.RowStride,
            YStride = y.RowStride,
            Width = Width,
            Taps = Taps,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows.Rows, Width), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(Conv1DStep), model.RnnWidth, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width, taps = SelfTestBench.Taps;
        TensorView y = bench.Output(SelfTestBench.Slots, width);
        TensorView tail = bench.Input(SelfTestBench.Slots, (taps - 1) * width);
        new Conv1DStep(bench.Device, bench.Type, width, taps, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(SelfTestBench.Slots, width), bench.Input(1, width), bench.Input(width, taps), bench.Input(1, width),
            y, SelfTestBench.State(tail));
        return y;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) =>
        KernelPlan.ByColumns($"conv1d_step<{query.T}, {vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of Conv1DStepParams in conv1d_step.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Conv1DStepParams
{
    public ulong X;
    public ulong InputBias;
    public ulong Weight;
    public ulong Bias;
    public ulong Y;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long XStride;
    public long YStride;
    public int Width;
    public int Taps;
}
