using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="Conv1D"/> over the tokens of one call: dx_t = Σ_k weight[:, taps-1-k] · dy_{t+k} over the tokens
/// that see token t, and the float32 sums dweight[:, taps-1-k] += Σ_t dy_t · z_{t-k} and dbias += Σ_t dy_t. The gradient of the input bias is the
/// <see cref="ColumnSum"/> of dx. Nothing flows into a state that precedes the call.
/// </summary>
public sealed class Conv1DBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 64;
    private const int LeastTokens = 64;
    private const int UnrolledTaps = 4;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("conv1d_backward.cu"),
        new KernelVariant<Shape>("vector", q => Unrolled(q, q.Vector)) { Fits = q => q.Shape.Width % q.Vector == 0 && q.Shape.Taps == UnrolledTaps },
        new KernelVariant<Shape>("scalar", q => Unrolled(q, 1)) { Fits = q => q.Shape.Taps == UnrolledTaps },
        new KernelVariant<Shape>("general", q => KernelPlan.ByColumns($"conv1d_backward_general<{q.T}>", q.Shape.Width, 1, MaxThreads)));

    private readonly PlannedKernel<Conv1DBackwardParams> _kernel;
    private readonly PartialSums _weightSums;
    private readonly PartialSums _biasSums;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the activations, their gradients, and the weights.</param>
    /// <param name="width">Channels.</param>
    /// <param name="taps">Taps of a channel.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public Conv1DBackward(GpuDevice device, ElementType type, int width, int taps, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(taps);
        Width = width;
        Taps = taps;
        _kernel = Request<Shape, Conv1DBackwardParams>(variants, new(width, taps), variant);
        _weightSums = Use(new PartialSums(device, checked(width * taps)));
        _biasSums = Use(new PartialSums(device, width));
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Taps of a channel.</summary>
    public int Taps { get; }

    /// <summary>Bytes of workspace that a call of so many tokens needs.</summary>
    public long WorkspaceBytes(int tokens) => RowParts.Count(tokens, LeastTokens) * (Taps + 1L) * Width * sizeof(float);

    /// <summary>Queues the gradients of a convolution.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="x">[N, width], the product that made the input, without its bias.</param>
    /// <param name="inputBias">[width], or empty.</param>
    /// <param name="weight">[width, taps], adjacent rows; the last tap multiplies the current token.</param>
    /// <param name="dy">[N, width], the gradient of the convolution's result; not read where a token is padding.</param>
    /// <param name="dx">[N, width], written; zeros where a token is padding.</param>
    /// <param name="dweight">Float32 [width, taps], adjacent rows, added to.</param>
    /// <param name="dbias">Float32 [width], added to: the gradient of the convolution's own bias.</param>
    /// <param name="workspace">One row of at least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(
        GpuStream stream, in PackedRows rows, in TensorView x, in TensorView inputBias, in TensorView weight, in TensorView dy, in TensorView dx, in TensorView dweight,
        in TensorView dbias, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int tokens = rows.Tokens, vector = _kernel.Plan.Vector;
        Check.Matrix(x, Type, tokens, Width);
        Check.OptionalVector(inputBias, Type, Width);
        Check.AdjacentRows(weight, Type, Width, Taps);
        Check.Matrix(dy, Type, tokens, Width);
        Check.Matrix(dx, Type, tokens, Width);
        Check.AdjacentRows(dweight, ElementType.Float32, Width, Taps);
        TensorView weightSum = dweight.AsVector();
        _weightSums.CheckSum(weightSum, nameof(dweight));
        _biasSums.CheckSum(dbias);
        Check.Aligned(x, vector);
        Check.Aligned(inputBias, vector);
        Check.Aligned(weight.RowRange(0, 1), vector, nameof(weight));
        Check.Aligned(dy, vector);
        Check.Aligned(dx, vector);
        Check.Distinct(dx, x);
        Check.Distinct(dx, dy);
        if (tokens == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(tokens));
        TensorView weightParts = RowParts.View(workspace, tokens, LeastTokens, (long)Width * Taps);
        TensorView biasParts = RowParts.View(workspace, tokens, LeastTokens, Width, after: weightParts.Length);
        Conv1DBackwardParams parameters = new()
        {
            X = x.Address,
            InputBias = inputBias.Address,
            Weight = weight.Address,
            Dy = dy.Address,
            Dx = dx.Address,
            WeightParts = weightParts.Address,
            BiasParts = biasParts.Address,
            Rows = rows.Params,
            XStride = x.RowStride,
            DyStride = dy.RowStride,
            DxStride = dx.RowStride,
            TokensPerPart = RowParts.RowsOf(tokens, LeastTokens),
            Width = Width,
            Taps = Taps,
        };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(weightParts.Rows, Width), parameters);
        _weightSums.Run(stream, weightParts, weightSum);
        _biasSums.Run(stream, biasParts, dbias);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(Conv1DBackward), new(model.RnnWidth, model.ConvTaps), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, taps = SelfTestBench.Taps;
        Conv1DBackward op = new(bench.Device, bench.Type, width, taps, bench.Variant);
        TensorView dweight = bench.Float32Input(width, taps, 1);
        op.Run(bench.Stream, bench.Rows(), bench.Input(tokens, width), TensorView.Empty, bench.Input(width, taps), bench.Input(tokens, width),
            bench.Output(tokens, width), dweight, bench.Float32Input(1, width, 1), bench.Workspace(op.WorkspaceBytes(tokens)));
        return dweight;
    }

    private static KernelPlan Unrolled(in VariantQuery<Shape> query, int vector) =>
        KernelPlan.ByColumns($"conv1d_backward<{query.T}, {vector}, {UnrolledTaps}>", query.Shape.Width, vector, MaxThreads);

    private readonly record struct Shape(int Width, int Taps);
}

/// <summary>Mirror of Conv1DBackwardParams in conv1d_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Conv1DBackwardParams
{
    public ulong X;
    public ulong InputBias;
    public ulong Weight;
    public ulong Dy;
    public ulong Dx;
    public ulong WeightParts;
    public ulong BiasParts;
    public PackedRowsParams Rows;
    public long XStride;
    public long DyStride;
    public long DxStride;
    public int TokensPerPart;
    public int Width;
    public int Taps;
}
