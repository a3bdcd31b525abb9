using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The start of a recurrent block in a decode step: norm, x|y product and the convolution step of the x half in one kernel. It is
/// <see cref="RmsNorm"/>, <see cref="MatMul"/> and <see cref="Conv1DStep"/> with their roundings.
/// </summary>
public sealed class RecurrentInput : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private static readonly VariantTable<SkinnyShape> variants = Variants("recurrent_input");

    private readonly PlannedKernel<RecurrentInputParams>[] _kernels;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the squares, and of the state.</param>
    /// <param name="width">l: channels of the recurrence; the weight has 2·l rows.</param>
    /// <param name="inner">K: columns of the input and of the weight.</param>
    /// <param name="taps">Taps of a channel of the convolution.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RecurrentInput(GpuDevice device, ElementType type, int width, int inner, int taps, string? variant = null) : base(device, type, inner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, int.MaxValue / 2);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(taps);
        Width = width;
        Taps = taps;
        _kernels = Request<RecurrentInputParams>(variants, variant);
    }

    /// <summary>l: channels.</summary>
    public int Width { get; }

    /// <summary>Taps of a channel.</summary>
    public int Taps { get; }

    /// <summary>Queues the step.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">B rows of one token each. Rows of padding get zeros as z and leave the state alone.</param>
    /// <param name="input">Rows [B, K] to norm.</param>
    /// <param name="w">[2·l, K]: the rows of x, then of y.</param>
    /// <param name="inputBias">[l], or empty: added to the x half before the convolution.</param>
    /// <param name="convolution">[l, taps], adjacent rows; the last tap multiplies the current token.</param>
    /// <param name="bias">[l], of the convolution.</param>
    /// <param name="z">[B, l], written: the convolution's result.</param>
    /// <param name="y">[B, l], written: the product that makes the GELU branch, without its bias.</param>
    /// <param name="state">The layer's convolution inputs, [taps-1, l] each; updated.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, a row has not one token, or views overlap.</exception>
    public void Run(
        GpuStream stream, in PackedRows rows, in NormedInput input, in TensorView w, in TensorView inputBias, in TensorView convolution, in TensorView bias,
        in TensorView z, in TensorView y, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        PlannedKernel<RecurrentInputParams> kernel = KernelFor(_kernels, input.X.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input.X, w, 2L * Width);
        NormInputParams norm = Norm(kernel.Plan, input);
        Check.OneTokenPerRow(rows);
        Check.Matrix(input.X, Type, rows.Rows, Inner);
        Check.OptionalVector(inputBias, Type, Width);
        Check.AdjacentRows(convolution, Type, Width, Taps);
        Check.Vector(bias, Type, Width);
        Check.Matrix(z, Type, rows.Rows, Width);
        Check.Matrix(y, Type, rows.Rows, Width);
        Check.Distinct(z, y);
        Check.Distinct(z, input.X);
        Check.Distinct(y, input.X);
        Check.State(state, (Taps - 1L) * Width * Type.SizeOf());
        RecurrentInputParams parameters = new()
        {
            Product = product,
            Norm = norm,
            InputBias = inputBias.Address,
            ConvWeight = convolution.Address,
            ConvBias = bias.Address,
            Z = z.Address,
            Y = y.Address,
            Rows = rows.Params,
            State = state.Params,
            ZStride = z.RowStride,
            YStride = y.RowStride,
            Width = Width,
            Taps = Taps,
        };
        Launch(stream, kernel, rows.Rows, 2 * Width, kernel.Plan.TileColumns, parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RecurrentInput), new(model.Width, int.MaxValue), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.Width, taps = SelfTestBench.Taps;
        TensorView zy = bench.Output(rows, 2 * width);
        new RecurrentInput(bench.Device, bench.Type, width, width, taps, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Normed(rows, width), bench.Input(2 * width, width, 0.0625f), bench.Input(1, width), bench.Input(width, taps),
            bench.Input(1, width), zy.ColumnRange(0, width), zy.ColumnRange(width, width), SelfTestBench.State(bench.Input(rows, (taps - 1) * width)));
        return zy;
    }
}

/// <summary>Mirror of RecurrentInputParams in recurrent_input.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RecurrentInputParams
{
    public SkinnyProductParams Product;
    public NormInputParams Norm;
    public ulong InputBias;
    public ulong ConvWeight;
    public ulong ConvBias;
    public ulong Z;
    public ulong Y;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long ZStride;
    public long YStride;
    public int Width;
    public int Taps;
}
