using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Causal depthwise convolution over packed rows: y_t = bias + Σ_k weight[:, taps-1-k] · z_{t-k} with z = round(x + inputBias). What lies before
/// the call comes from the slot's state; what lies before the document counts for nothing. The state of a layer is the last taps-1 raw
/// inputs, oldest first, [taps-1, width] in the op's type.
/// </summary>
public sealed class Conv1D : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 64;
    private const int Steps = 64;
    private const int UnrolledTaps = 4;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("conv1d.cu"),
        new KernelVariant<Shape>("vector", q => Forward(q, q.Vector, UnrolledTaps)) { Fits = FitsVectors },
        new KernelVariant<Shape>("scalar", q => Forward(q, 1, UnrolledTaps)) { Fits = q => q.Shape.Taps == UnrolledTaps },
        new KernelVariant<Shape>("general", q => Forward(q, 1, 0)));

    private static readonly VariantTable<Shape> updateVariants = new(KernelSource.BuiltIn("conv1d.cu"),
        new KernelVariant<Shape>("vector", q => Update(q, q.Vector)) { Fits = FitsVectors },
        new KernelVariant<Shape>("scalar", q => Update(q, 1)) { Fits = q => q.Shape.Taps == UnrolledTaps },
        new KernelVariant<Shape>("general", q => Update(q, 1)));

    private readonly PlannedKernel<Conv1DParams> _forward;
    private readonly PlannedKernel<Conv1DParams> _update;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand and of the state.</param>
    /// <param name="width">Channels.</param>
    /// <param name="taps">Taps of a channel.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public Conv1D(GpuDevice device, ElementType type, int width, int taps, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(taps);
        Width = width;
        Taps = taps;
        _forward = Request<Shape, Conv1DParams>(variants, new(width, taps), variant);
        _update = Request<Shape, Conv1DParams>(updateVariants, new(width, taps), variant);
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Taps of a channel.</summary>
    public int Taps { get; }

    /// <summary>Bytes of a slot's state: the last taps-1 inputs.</summary>
    public long StateBytes => (Taps - 1L) * Width * Type.SizeOf();

    /// <summary>Queues the convolution; the state is read, not changed.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="x">[N, width], the product that makes the input, without its bias.</param>
    /// <param name="inputBias">[width], or empty.</param>
    /// <param name="weight">[width, taps], adjacent rows; the last tap multiplies the current token.</param>
    /// <param name="bias">[width].</param>
    /// <param name="y">[N, width].</param>
    /// <param name="state">The layer's states; default for none, where every slot of the call is fresh.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or y overlaps x.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView x, in TensorView inputBias, in TensorView weight, in TensorView bias, in TensorView y, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        CheckAll(rows, x, inputBias, weight, bias, y, state, _forward.Plan.Vector);
        if (rows.Tokens == 0) return;
        Conv1DParams parameters = Parameters(rows, x, inputBias, state);
        parameters.Weight = weight.Address;
        parameters.Bias = bias.Address;
        parameters.Y = y.Address;
        parameters.YStride = y.RowStride;
        _forward.Launch(stream, _forward.Plan.BlocksFor(rows.Tokens, Width), parameters);
    }

    /// <summary>Queues the state's update by the same inputs; to be run after <see cref="Run"/>. Rows without a real token leave their state alone.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="x">[N, width], as in <see cref="Run"/>.</param>
    /// <param name="inputBias">[width], or empty.</param>
    /// <param name="state">The layer's states.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong.</exception>
    public void UpdateState(GpuStream stream, in PackedRows rows, in TensorView x, in TensorView inputBias, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        CheckInput(rows, x, inputBias, _update.Plan.Vector);
        Check.State(state, StateBytes);
        if (rows.Tokens == 0) return;
        _update.Launch(stream, _update.Plan.BlocksFor(rows.Rows, Width), Parameters(rows, x, inputBias, state));
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        Shape shape = new(model.RnnWidth, model.ConvTaps);
        return variants.Enumerate(nameof(Conv1D), shape, type).Concat(updateVariants.Enumerate(nameof(Conv1D), shape, type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width, taps = SelfTestBench.Taps;
        TensorView y = bench.Output(SelfTestBench.Tokens, width);
        TensorView tail = bench.Input(SelfTestBench.Slots, (taps - 1) * width);
        new Conv1D(bench.Device, bench.Type, width, taps, bench.Variant).Run(
            bench.Stream, bench.Rows(), bench.Input(SelfTestBench.Tokens, width), bench.Input(1, width), bench.Input(width, taps), bench.Input(1, width),
            y, SelfTestBench.State(tail));
        return y;
    }

    /// <summary>What <see cref="Run"/> asks of its operands, for a kernel that moves so many elements at a time.</summary>
    internal void CheckAll(in PackedRows rows, in TensorView x, in TensorView inputBias, in TensorView weight, in TensorView bias, in TensorView y, in LayerState state, int vector)
    {
        CheckOperands(rows, x, inputBias, weight, bias, state, vector);
        Check.Matrix(y, Type, rows.Tokens, Width);
        Check.Aligned(y, vector);
        Check.Distinct(y, x);
    }

    internal void CheckOperands(in PackedRows rows, in TensorView x, in TensorView inputBias, in TensorView weight, in TensorView bias, in LayerState state, int vector)
    {
        CheckInput(rows, x, inputBias, vector);
        if (state != default) Check.State(state, StateBytes);
        Check.AdjacentRows(weight, Type, Width, Taps);
        Check.Vector(bias, Type, Width);
        Check.Aligned(weight.RowRange(0, 1), vector, nameof(weight));
        Check.Aligned(bias, vector);
    }

    private void CheckInput(in PackedRows rows, in TensorView x, in TensorView inputBias, int vector)
    {
        Check.Matrix(x, Type, rows.Tokens, Width);
        Check.OptionalVector(inputBias, Type, Width);
        Check.Aligned(x, vector);
        Check.Aligned(inputBias, vector);
    }

    private Conv1DParams Parameters(in PackedRows rows, in TensorView x, in TensorView inputBias, in LayerState state) => new()
    {
        X = x.Address,
        InputBias = inputBias.Address,
        Rows = rows.Params,
        State = state.Params,
        XStride = x.RowStride,
        Width = Width,
        Taps = Taps,
    };

    private static bool FitsVectors(VariantQuery<Shape> query) => query.Shape.Width % query.Vector == 0 && query.Shape.Taps == UnrolledTaps;

    private static KernelPlan Forward(in VariantQuery<Shape> query, int vector, int taps) =>
        KernelPlan.ByColumns($"conv1d<{query.T}, {vector}, {taps}, {Steps}>", query.Shape.Width, vector, MaxThreads, Steps);

    private static KernelPlan Update(in VariantQuery<Shape> query, int vector) =>
        KernelPlan.ByColumns($"conv1d_update<{query.T}, {vector}>", query.Shape.Width, vector, MaxThreads);

    private readonly record struct Shape(int Width, int Taps);
}

/// <summary>Mirror of Conv1DParams in conv1d.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Conv1DParams
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
