using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The gradient of <see cref="MatMul"/> with respect to its input, dx = dy · w, with float32 accumulation and one rounding. It goes to cuBLAS where the
/// provider has it, otherwise to our kernels.
/// </summary>
public sealed class MatMulInputGradient : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Stages = 3;
    private const int StepTerms = 32;
    private const int MaxGridColumns = 65_535;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("matmul_input_gradient.cu"),
        Tiled("mma-128x128", 128, 64, 32),
        Tiled("mma-64x64", 64, 32, 32),
        new KernelVariant<Shape>("general", q => new($"matmul_input_gradient_general<{q.T}>", 256) { TileRows = 64, TileColumns = 64 }));

    private readonly PlannedKernel<MatMulInputGradientParams>[] _kernels;   // the larger tile first; none where cuBLAS works

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="columns">N: columns of dy, rows of w.</param>
    /// <param name="inner">K: columns of w and dx.</param>
    /// <param name="useBlas">Whether the products may go to cuBLAS.</param>
    /// <param name="variant">A variant of our own to force; null to choose.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public MatMulInputGradient(GpuDevice device, ElementType type, int columns, int inner, bool useBlas = true, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        Columns = columns;
        Inner = inner;
        if (variant is null && useBlas && device.HasBlas)
        {
            _kernels = [];
            return;
        }
        PlannedKernel<MatMulInputGradientParams> first = Request<Shape, MatMulInputGradientParams>(variants, new(columns, inner), variant);
        _kernels = variant is null && first.Variant == "mma-128x128"
            ? [first, Request<Shape, MatMulInputGradientParams>(variants, new(columns, inner), "mma-64x64")]
            : [first];
    }

    /// <summary>N: columns of dy, rows of w.</summary>
    public int Columns { get; }

    /// <summary>K: columns of w and dx.</summary>
    public int Inner { get; }

    /// <summary>Whether the products go to cuBLAS.</summary>
    public bool UsesBlas => _kernels.Length == 0;

    /// <summary>Queues dx = dy · w. With cuBLAS, <see cref="GpuStream.Blas"/> must have been touched once before a capture.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="dy">[M, N], the gradient of the product.</param>
    /// <param name="w">[N, K], the weight.</param>
    /// <param name="dx">[M, K], written; shares nothing with dy and w.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView dy, in TensorView w, in TensorView dx)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(dy, Type, Columns);
        Check.Matrix(w, Type, Columns, Inner);
        Check.Matrix(dx, Type, rows, Inner);
        Check.Distinct(dx, dy);
        Check.Distinct(dx, w);
        if (rows == 0) return;
        if (UsesBlas)
        {
            stream.Blas!.MultiplyLarge(dy, false, w, false, dx);
            return;
        }
        PlannedKernel<MatMulInputGradientParams> kernel = KernelFor(rows);
        KernelPlan plan = kernel.Plan;
        Check.Aligned(dy, plan.Vector);
        Check.Aligned(w, plan.Vector);
        Check.Aligned(dx, plan.Vector);
        MatMulInputGradientParams parameters = new()
        {
            Dy = dy.Address,
            W = w.Address,
            Dx = dx.Address,
            DyStride = dy.RowStride,
            WStride = w.RowStride,
            DxStride = dx.RowStride,
            Rows = rows,
            Columns = Columns,
            K = Inner,
        };
        kernel.LaunchGrid(stream, new Dim3(Tiling.Count(rows, plan.TileRows), Tiling.Count(Inner, plan.TileColumns)), parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes; null when it goes to cuBLAS.</summary>
    public string? VariantFor(int rows) => UsesBlas ? null : KernelFor(rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return GradientShapes.Of(model).SelectMany(product => variants.Enumerate(nameof(MatMulInputGradient), new Shape(product.Columns, product.Inner), type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, n = SelfTestBench.MlpWidth, k = SelfTestBench.Width;
        TensorView dx = bench.Output(tokens, k);
        _ = bench.Stream.Blas;
        new MatMulInputGradient(bench.Device, bench.Type, n, k, variant: bench.Variant).Run(bench.Stream, bench.Input(tokens, n), bench.Input(n, k, 0.25f), dx);
        return dx;
    }

    // Large tiles read least, but a few of them would leave most of a GPU idle.
    private PlannedKernel<MatMulInputGradientParams> KernelFor(int rows) =>
        _kernels.Length == 2 && _kernels[0].Plan.BlocksFor(rows, Inner) < Device.Limits.MultiprocessorCount ? _kernels[1] : _kernels[0];

    private static KernelVariant<Shape> Tiled(string name, int tile, int warpRows, int warpColumns) =>
        new(name, q => new($"matmul_input_gradient_mma<{tile}, {tile}, {warpRows}, {warpColumns}>", 32 * (tile / warpRows) * (tile / warpColumns))
        {
            Vector = q.Vector,
            TileRows = tile,
            TileColumns = tile,
            SharedBytes = Stages * sizeof(ushort) * ((tile * GradientShapes.SharedStride(StepTerms)) + (StepTerms * GradientShapes.SharedStride(tile))),
        })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0 && q.Shape.Columns % q.Vector == 0
                && Tiling.Count(q.Shape.Inner, tile) <= MaxGridColumns,
        };

    /// <param name="Columns">N.</param>
    /// <param name="Inner">K.</param>
    private readonly record struct Shape(int Columns, int Inner);
}

/// <summary>What the gradients of matrix products share: the products of a model and the tiles of gradient_tiles.cuh.</summary>
internal static class GradientShapes
{
    /// <summary>Elements from row to row of a shared tile with so many columns: mma_stride.</summary>
    public static int SharedStride(int columns) => ((columns + 7) / 8 | 1) * 8;

    /// <summary>The weights [columns, inner] of a model's products.</summary>
    public static IEnumerable<(int Columns, int Inner)> Of(ModelDimensions model)
    {
        int attention = model.Heads * model.HeadDim;
        return
        [
            (2 * model.RnnWidth, model.Width),
            (model.Width, model.RnnWidth),
            (attention + (2 * model.HeadDim), model.Width),
            (model.Width, attention),
            (2 * model.MlpWidth, model.Width),
            (model.Width, model.MlpWidth),
            (model.Vocabulary, model.Width),
        ];
    }
}

/// <summary>Mirror of MatMulInputGradientParams in matmul_input_gradient.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MatMulInputGradientParams
{
    public ulong Dy;
    public ulong W;
    public ulong Dx;
    public long DyStride;
    public long WStride;
    public long DxStride;
    public int Rows;
    public int Columns;
    public int K;
}
