using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The gradient of <see cref="MatMul"/> with respect to its weight, added to a float32 gradient: dw += dyᵀ · x, with float32 accumulation. It goes to cuBLAS
/// where the provider has it, otherwise to our kernels, which cut long sums into slices that run side by side and are added in a fixed order.
/// </summary>
public sealed class MatMulWeightGradient : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Stages = 3;
    private const int StepTerms = 32;
    private const int LeastSliceRows = 256;
    private const int MaxGrid = 65_535;
    private const int ReduceThreads = 256;

    private static readonly KernelSource source = KernelSource.BuiltIn("matmul_weight_gradient.cu");

    private static readonly VariantTable<Shape> variants = new(source,
        Tiled("mma-128x128", 128, 64, 32, 4),
        Tiled("mma-64x64", 64, 32, 32, 0),
        new KernelVariant<Shape>("general", q => new($"matmul_weight_gradient_general<{q.T}>", 256) { TileRows = 64, TileColumns = 64 }));

    private static readonly VariantTable<Shape> reduceVariants = new(source,
        new KernelVariant<Shape>("reduce", _ => new("matmul_weight_gradient_reduce", ReduceThreads) { TileColumns = ReduceThreads }));

    private readonly PlannedKernel<MatMulWeightGradientParams>? _kernel;   // null where cuBLAS works
    private readonly PlannedKernel<MatMulWeightGradientParams>? _reduce;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of dy and x; dw is float32.</param>
    /// <param name="columns">N: columns of dy, rows of dw.</param>
    /// <param name="inner">K: columns of x and dw.</param>
    /// <param name="useBlas">Whether the products may go to cuBLAS.</param>
    /// <param name="variant">A variant of our own to force; null to choose.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public MatMulWeightGradient(GpuDevice device, ElementType type, int columns, int inner, bool useBlas = true, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        Columns = columns;
        Inner = inner;
        if (variant is null && useBlas && device.HasBlas) return;
        _kernel = Request<Shape, MatMulWeightGradientParams>(variants, new(columns, inner), variant);
        _reduce = Request<Shape, MatMulWeightGradientParams>(reduceVariants, new(columns, inner));
    }

    /// <summary>N: columns of dy, rows of dw.</summary>
    public int Columns { get; }

    /// <summary>K: columns of x and dw.</summary>
    public int Inner { get; }

    /// <summary>Whether the products go to cuBLAS.</summary>
    public bool UsesBlas => _kernel is null;

    /// <summary>Name of the variant; null when the products go to cuBLAS.</summary>
    public string? Variant => _kernel?.Variant;

    /// <summary>Bytes of workspace that a call of so many rows needs.</summary>
    public long WorkspaceBytes(int rows)
    {
        (_, int slices) = Slices(rows);
        return slices > 1 ? (long)slices * Columns * Inner * sizeof(float) : 0;
    }

    /// <summary>Queues dw += dyᵀ · x. With cuBLAS, <see cref="GpuStream.Blas"/> must have been touched once before a capture.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="dy">[M, N], the gradient of the product.</param>
    /// <param name="x">[M, K], its input.</param>
    /// <param name="dw">Float32 [N, K], added to; shares nothing with the rest.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes; may be empty when that is 0.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in TensorView dy, in TensorView x, in TensorView dw, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(dy, Type, Columns);
        Check.Matrix(x, Type, rows, Inner);
        Check.Matrix(dw, ElementType.Float32, Columns, Inner);
        Check.Distinct(dw, dy);
        Check.Distinct(dw, x);
        if (rows == 0) return;
        if (_kernel is null)
        {
            stream.Blas!.MultiplyLarge(dy, true, x, false, dw, accumulate: true);
            return;
        }
        KernelPlan plan = _kernel.Plan;
        Check.Aligned(dy, plan.Vector);
        Check.Aligned(x, plan.Vector);
        (int sliceRows, int slices) = Slices(rows);
        if (slices > 1) Check.Workspace(workspace, WorkspaceBytes(rows));
        MatMulWeightGradientParams parameters = new()
        {
            Dy = dy.Address,
            X = x.Address,
            Dw = dw.Address,
            Workspace = workspace.Address,
            DyStride = dy.RowStride,
            XStride = x.RowStride,
            DwStride = dw.RowStride,
            Rows = rows,
            Columns = Columns,
            K = Inner,
            SliceRows = sliceRows,
            Slices = slices,
        };
        _kernel.LaunchGrid(stream, new Dim3(Tiling.Count(Columns, plan.TileRows), Tiling.Count(Inner, plan.TileColumns), slices), parameters);
        if (slices > 1) _reduce!.Launch(stream, _reduce.Plan.BlocksFor(1, (long)Columns * Inner), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return GradientShapes.Of(model).Select(product => new Shape(product.Columns, product.Inner)).SelectMany(shape =>
            variants.Enumerate(nameof(MatMulWeightGradient), shape, type).Concat(reduceVariants.Enumerate(nameof(MatMulWeightGradient), shape, type)));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, n = SelfTestBench.MlpWidth, k = SelfTestBench.Width;
        MatMulWeightGradient op = new(bench.Device, bench.Type, n, k, variant: bench.Variant);
        _ = bench.Stream.Blas;
        TensorView dy = bench.Input(tokens, n), x = bench.Input(tokens, k), dw = bench.Float32Input(n, k, 1);
        op.Run(bench.Stream, dy, x, dw, bench.Workspace(op.WorkspaceBytes(tokens)));
        return dw;
    }

    // Enough slices to keep every multiprocessor busy, none of them short.
    private (int Rows, int Count) Slices(int rows)
    {
        if (_kernel is null || rows == 0) return (0, 0);
        long tiles = _kernel.Plan.BlocksFor(Columns, Inner);
        long wanted = Math.Clamp(2L * Device.Limits.MultiprocessorCount / tiles, 1, Tiling.Count(rows, LeastSliceRows));
        int sliceRows = Tiling.Count(Tiling.Count(rows, (int)wanted), StepTerms) * StepTerms;
        return (sliceRows, Tiling.Count(rows, sliceRows));
    }

    private static KernelVariant<Shape> Tiled(string name, int tile, int warpRows, int warpColumns, int leastTiles) =>
        new(name, q => new($"matmul_weight_gradient_mma<{tile}, {tile}, {warpRows}, {warpColumns}>", 32 * (tile / warpRows) * (tile / warpColumns))
        {
            Vector = q.Vector,
            TileRows = tile,
            TileColumns = tile,
            SharedBytes = Stages * sizeof(ushort) * StepTerms * 2 * GradientShapes.SharedStride(tile),
        })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0 && q.Shape.Columns % q.Vector == 0
                && Tiling.Count(q.Shape.Inner, tile) <= MaxGrid,
            Preferred = q => Tiling.Count(q.Shape.Columns, tile) * Tiling.Count(q.Shape.Inner, tile) >= leastTiles,
        };

    /// <param name="Columns">N.</param>
    /// <param name="Inner">K.</param>
    private readonly record struct Shape(int Columns, int Inner);
}

/// <summary>Mirror of MatMulWeightGradientParams in matmul_weight_gradient.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MatMulWeightGradientParams
{
    public ulong Dy;
    public ulong X;
    public ulong Dw;
    public ulong Workspace;
    public long DyStride;
    public long XStride;
    public long DwStride;
    public int Rows;
    public int Columns;
    public int K;
    public int SliceRows;
    public int Slices;
}
