using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The end of a block for many rows: x ← round(x + (round(input · wᵀ) + bias)), and the norm after it in the form that the next product takes: x · (1 + scale),
/// and a factor for each row. It is <see cref="MatMul"/> with <see cref="RmsNorm.RunResidual"/>, without the product in memory and without a pass of the
/// norm's own: x has their bits, the norm is equally far from the exact one.
/// </summary>
public sealed class ResidualMatMul : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int PartColumns = 32;    // of one sum of squares
    private const int FactorThreads = 256;
    private const int ManyRows = 1024;     // stands for the last class where it is measured
    private static readonly int[] rowClasses = [64, int.MaxValue];

    // All tiles give the same bits.
    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("residual_matmul.cu"),
        Tiled("mma-64x64", 64, 64, 32, 32, q => q.Shape.Rows <= 64),
        Tiled("mma-128x128", 128, 128, 64, 32, _ => true),
        // Not chosen unmeasured: it has not run on a GPU yet.
        new KernelVariant<Shape>(WarpgroupTiles.Variant, q => WarpgroupTiles.Plan("residual_matmul_warpgroup<WarpgroupTiles>", q.Vector))
        {
            Fits = q => WarpgroupTiles.Fits(q, q.Shape.Inner) && q.Shape.Width % q.Vector == 0,
            Preferred = static _ => false,
        },
        new KernelVariant<Shape>("general", q => new($"residual_matmul_general<{q.T}>", 256) { TileRows = 64, TileColumns = 64 }));

    private static readonly VariantTable<Shape> factors = new(KernelSource.BuiltIn("residual_matmul.cu"),
        new KernelVariant<Shape>("factors", _ => new($"residual_factors<{FactorThreads}>", FactorThreads) { TileRows = FactorThreads / 32 }));

    private readonly ProductKernel<ResidualMatMulParams, ResidualMatMulTensorParams>[] _kernels;   // by row class; one where a variant is forced
    private readonly PlannedKernel<ResidualFactorsParams> _factors;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the squares and factors.</param>
    /// <param name="width">Columns of the residual stream, rows of w.</param>
    /// <param name="inner">K: columns of the input and of w.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    /// <param name="batchInvariant">Whether a row's bits must not depend on the number of rows: no measured choices.</param>
    /// <exception cref="ArgumentException">A size is wrong, or the variant does not fit.</exception>
    public ResidualMatMul(GpuDevice device, ElementType type, int width, int inner, string? variant = null, bool batchInvariant = false) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        Width = width;
        Inner = inner;
        Shape[] shapes = [.. rowClasses.Select(rows => new Shape(width, inner, rows))];
        _kernels = variant is not null
            ? [Kernel(shapes[0], variant)]
            : [.. shapes.Select(shape => Kernel(shape, batchInvariant ? null : Measured(shape)))];
        _factors = Request<Shape, ResidualFactorsParams>(factors, shapes[0]);
    }

    /// <summary>Columns of the residual stream.</summary>
    public int Width { get; }

    /// <summary>K: columns of the input and of w.</summary>
    public int Inner { get; }

    /// <summary>Bytes of workspace that a call of so many rows needs, for sums of squares.</summary>
    public long WorkspaceBytes(int rows) => (long)rows * Tiling.Count(Width, PartColumns) * sizeof(float);

    /// <summary>Queues the product, the add and the norm.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="input">[N, K].</param>
    /// <param name="w">[width, K].</param>
    /// <param name="bias">[width], or empty.</param>
    /// <param name="residual">[N, width]; changed in place.</param>
    /// <param name="norm">The norm that follows.</param>
    /// <param name="normed">Receives it.</param>
    /// <param name="workspace">One row of at least <see cref="WorkspaceBytes"/> bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(
        GpuStream stream, in TensorView input, in TensorView w, in TensorView bias, in TensorView residual, in FollowingNorm norm, in FactoredRows normed, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(input, Type, Inner);
        Check.Matrix(w, Type, Width, Inner);
        Check.OptionalVector(bias, Type, Width);
        Check.Matrix(residual, Type, rows, Width);
        Check.Vector(norm.Scale, Type, Width);
        Check.Matrix(normed.Rows, Type, rows, Width);
        Check.Vector(normed.Factors, ElementType.Float32, rows);
        Check.Distinct(input, residual);
        Check.Distinct(input, normed.Rows);
        Check.Distinct(residual, normed.Rows);
        if (rows == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(rows));
        ProductKernel<ResidualMatMulParams, ResidualMatMulTensorParams> kernel = KernelFor(rows);
        KernelPlan plan = kernel.Plan;
        Check.Aligned(input, plan.Vector);
        Check.Aligned(w, plan.Vector);
        Check.Aligned(bias, plan.Vector);
        Check.Aligned(residual, plan.Vector);
        Check.Aligned(norm.Scale, plan.Vector);
        Check.Aligned(normed.Rows, plan.Vector);
        ResidualMatMulParams parameters = new()
        {
            In = input.Address,
            W = w.Address,
            Bias = bias.Address,
            Scale = norm.Scale.Address,
            X = residual.Address,
            Scaled = normed.Rows.Address,
            Squares = workspace.Address,
            InStride = input.RowStride,
            WStride = w.RowStride,
            XStride = residual.RowStride,
            ScaledStride = normed.Rows.RowStride,
            Rows = rows,
            Width = Width,
            K = Inner,
        };
        if (kernel.Warpgroup is { } warpgroup)
        {
            warpgroup.Launch(stream, WarpgroupTiles.Blocks(Device, plan, rows, Width), new ResidualMatMulTensorParams
            {
                In = WarpgroupTiles.MapX(Device, input),
                W = TensorMap.Of(Device, w, WarpgroupTiles.Columns, WarpgroupTiles.Depth, TensorSwizzle.Bytes128),
                Plain = parameters,
            });
        }
        else
        {
            kernel.Tiled!.LaunchGrid(stream, new Dim3(Tiling.Count(rows, plan.TileRows), Tiling.Count(Width, plan.TileColumns)), parameters);
        }
        ResidualFactorsParams sums = new() { Squares = workspace.Address, Factors = normed.Factors.Address, Rows = rows, Width = Width, Eps = norm.Epsilon };
        _factors.Launch(stream, Tiling.Count(rows, _factors.Plan.TileRows), sums);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return Shapes(model, int.MaxValue).SelectMany(shape => variants.Enumerate(nameof(ResidualMatMul), shape, type).Concat(factors.Enumerate(nameof(ResidualMatMul), shape, type)));
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type) =>
        from rows in rowClasses
        from shape in Shapes(model, rows)
        select new TuningQuestion(KeyOf(shape, type), variants.Fitting(new(shape, type, device.Limits, device.Kind)), (bench, candidate) => Prepare(bench, candidate, shape, type));

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, inner = SelfTestBench.MlpWidth;
        ResidualMatMul op = new(bench.Device, bench.Type, width, inner, bench.Variant);
        TensorView residual = bench.Input(tokens, width), y = bench.Output(tokens, inner);
        FactoredRows normed = new(bench.Output(tokens, width), bench.Output(ElementType.Float32, 1, tokens));
        op.Run(bench.Stream, bench.Input(tokens, inner), bench.Input(width, inner, 0.0625f), bench.Input(1, width), residual, new(bench.Input(1, width, 0.5f), 1e-6f), normed,
            bench.Workspace(op.WorkspaceBytes(tokens)));
        new MatMul(bench.Device, bench.Type, inner, width, rowFactors: true).Run(bench.Stream, normed.Rows, bench.Input(inner, width, 0.0625f), y, normed.Factors);
        return y;
    }

    private static IEnumerable<Shape> Shapes(ModelDimensions model, int rows) =>
        new[] { model.RnnWidth, model.Heads * model.HeadDim, model.MlpWidth }.Distinct().Select(inner => new Shape(model.Width, inner, rows));

    private static string KeyOf(Shape shape, ElementType type) => TuningQuestion.KeyOf(variants.Source, type,
        $"{shape.Width} x {shape.Inner}, {(shape.Rows == int.MaxValue ? "more" : shape.Rows)} rows");

    private static TuningRun Prepare(TuningBench bench, string candidate, Shape shape, ElementType type)
    {
        int rows = Math.Min(shape.Rows, ManyRows), sets = bench.SetsFor((long)shape.Width * shape.Inner * type.SizeOf());
        ResidualMatMul op = new(bench.Device, type, shape.Width, shape.Inner, candidate);
        TensorView input = bench.Operand(type, rows, shape.Inner), residual = bench.Operand(type, rows, shape.Width);
        FollowingNorm norm = new(bench.Operand(type, 1, shape.Width), 1e-6f);
        FactoredRows normed = new(bench.Output(type, rows, shape.Width), bench.Output(ElementType.Float32, 1, rows));
        TensorView workspace = bench.Output(ElementType.Float32, 1, op.WorkspaceBytes(rows) / sizeof(float));
        TensorView[] weights = [.. Enumerable.Range(0, sets).Select(_ => bench.Operand(type, shape.Width, shape.Inner))];
        return new(run => op.Run(bench.Stream, input, weights[run % sets], TensorView.Empty, residual, norm, normed, workspace), normed.Rows);
    }

    private string? Measured(Shape shape) => Device.Tuning.Find(KeyOf(shape, Type))?.Fastest(variants.Fitting(Query(shape)).Contains);

    private ProductKernel<ResidualMatMulParams, ResidualMatMulTensorParams> Kernel(Shape shape, string? variant) =>
        variants.Choose(Query(shape), variant).Variant.Name == WarpgroupTiles.Variant
            ? new(null, Request<Shape, ResidualMatMulTensorParams>(variants, shape, variant))
            : new(Request<Shape, ResidualMatMulParams>(variants, shape, variant), null);

    private ProductKernel<ResidualMatMulParams, ResidualMatMulTensorParams> KernelFor(int rows) =>
        ProductKernel<ResidualMatMulParams, ResidualMatMulTensorParams>.ForRows(_kernels, rowClasses, rows, Width, Device);

    private static KernelVariant<Shape> Tiled(string name, int rows, int columns, int warpRows, int warpColumns, Func<VariantQuery<Shape>, bool> preferred)
    {
        MatMulTiles tiles = new(rows, columns, warpRows, warpColumns);
        return new(name, q => tiles.Plan($"residual_matmul_mma<{tiles.Name}>", q.Vector))
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0 && q.Shape.Width % q.Vector == 0,
            Preferred = preferred,
        };
    }

    /// <param name="Width">Columns of the residual stream.</param>
    /// <param name="Inner">K.</param>
    /// <param name="Rows">The most rows of a call.</param>
    private readonly record struct Shape(int Width, int Inner, int Rows);
}

/// <summary>The norm of a residual stream: round(x / rms(x) · (1 + scale)).</summary>
/// <param name="Scale">[width], around 0.</param>
/// <param name="Epsilon">Added to the mean of squares.</param>
public readonly record struct FollowingNorm(TensorView Scale, float Epsilon);

/// <summary>Normed rows, but for a factor that the next product multiplies its float32 sums by.</summary>
/// <param name="Rows">x · (1 + scale), [N, width].</param>
/// <param name="Factors">1 / rms(x), float32 [N].</param>
public readonly record struct FactoredRows(TensorView Rows, TensorView Factors);

/// <summary>Mirror of ResidualMatMulParams in residual_matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ResidualMatMulParams
{
    public ulong In;
    public ulong W;
    public ulong Bias;
    public ulong Scale;
    public ulong X;
    public ulong Scaled;
    public ulong Squares;
    public long InStride;
    public long WStride;
    public long XStride;
    public long ScaledStride;
    public int Rows;
    public int Width;
    public int K;
}

/// <summary>Mirror of ResidualMatMulTensorParams in residual_matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential, Size = 384)]
internal struct ResidualMatMulTensorParams
{
    public TensorMap In;
    public TensorMap W;
    public ResidualMatMulParams Plain;
}

/// <summary>Mirror of ResidualFactorsParams in residual_matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ResidualFactorsParams
{
    public ulong Squares;
    public ulong Factors;
    public int Rows;
    public int Width;
    public float Eps;
}
