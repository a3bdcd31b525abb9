using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The plain matrix product y = x · wᵀ with float32 accumulation and one rounding. For each class of row counts it goes to what was measured to
/// be the fastest on the device; where nothing was measured, to cuBLAS if the provider has it (to cuBLASLt beyond 64 rows), else to one of our kernels. With batch
/// invariance on, or a variant forced, our kernels are always used: then a row's bits depend on that row and w only, whatever the number of rows.
/// </summary>
public sealed class MatMul : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int MaxGridColumns = 65_535;
    private const string CuBlas = "cublas", CuBlasLt = "cublaslt";   // the candidates that are no variants of ours
    private const int FewRows = 64;           // up to which a product is one for cuBLAS, unmeasured
    private const int ManyRows = 1024;        // stands for the last class where it is measured
    private const int MostTiles = 16;         // tiles over the rows, beyond which a variant is not worth measuring
    private static readonly int[] rowClasses = [1, 2, 4, 8, 16, 64, int.MaxValue];

    // All tiles of matmul_mma give the same bits, so batch invariance leaves the choice among them free.
    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("matmul.cu"),
        Skinny(1),
        Skinny(2),
        Skinny(4),
        Skinny(8),
        Tiled("mma-16x64", 16, 64, 16, 16, q => q.Shape.Rows <= 16),
        Tiled("mma-64x64", 64, 64, 32, 32, q => q.Shape.Rows <= 64),
        Tiled("mma-128x128", 128, 128, 64, 32, _ => true),
        // Not chosen unmeasured: it has not run on a GPU yet.
        new KernelVariant<Shape>(WarpgroupTiles.Variant, q => WarpgroupTiles.Plan($"matmul_warpgroup<{q.Shape.Arguments}>", q.Vector))
        {
            Fits = q => WarpgroupTiles.Fits(q, q.Shape.Inner),
            Preferred = static _ => false,
        },
        new KernelVariant<Shape>("general", q => new($"matmul_general<{q.T}, {q.Shape.Arguments}>", 256) { TileRows = 64, TileColumns = 64 }));

    private readonly Way[] _ways;   // by row class; one where a variant is forced

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of x and w.</param>
    /// <param name="columns">N: columns of y, rows of w.</param>
    /// <param name="inner">K: columns of x and w.</param>
    /// <param name="outputType">Type of y: <paramref name="type"/> (also when null) or float32.</param>
    /// <param name="batchInvariant">Whether a row's bits must not depend on the other rows.</param>
    /// <param name="useBlas">Whether the products may go to cuBLAS.</param>
    /// <param name="variant">A variant of our own to force; null to choose.</param>
    /// <param name="rowFactors">Whether calls give a factor for each row, which its float32 sums are multiplied by; such products never go to cuBLAS.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public MatMul(GpuDevice device, ElementType type, int columns, int inner, ElementType? outputType = null, bool batchInvariant = false, bool useBlas = true, string? variant = null,
        bool rowFactors = false)
        : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        OutputType = outputType ?? type;
        if (OutputType != type && OutputType != ElementType.Float32)
            throw new ArgumentException($"Products of {type} are stored as {type} or Float32, not {OutputType}.", nameof(outputType));
        Columns = columns;
        Inner = inner;
        RowFactors = rowFactors;
        Shape shape = new(columns, inner, OutputType, batchInvariant, int.MaxValue) { RowFactors = rowFactors };
        if (variant is not null) _ways = [new(Kernel(shape, variant))];
        else _ways = [.. rowClasses.Select(rows => ForClass(shape with { Rows = rows }, useBlas && device.HasBlas && !batchInvariant && !rowFactors))];
    }

    /// <summary>N: columns of y, rows of w.</summary>
    public int Columns { get; }

    /// <summary>K: columns of x and w.</summary>
    public int Inner { get; }

    /// <summary>Type of y.</summary>
    public ElementType OutputType { get; }

    /// <summary>Whether calls give a factor for each row.</summary>
    public bool RowFactors { get; }

    /// <summary>Whether any products go to cuBLAS.</summary>
    public bool UsesBlas => _ways.Any(way => way.Kernel is null);

    /// <summary>Queues y = x · wᵀ, with row factors y = factors ⊙ (x · wᵀ), rounded once. With cuBLAS, <see cref="GpuStream.Blas"/> must have been touched once before a capture.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">[M, K].</param>
    /// <param name="w">[N, K].</param>
    /// <param name="y">[M, N]; shares nothing with x and w.</param>
    /// <param name="factors">Float32 [M]; empty for an op without row factors.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView x, in TensorView w, in TensorView y, in TensorView factors = default)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(x, Type, Inner);
        Check.Matrix(w, Type, Columns, Inner);
        Check.Matrix(y, OutputType, rows, Columns);
        Check.Distinct(x, y);
        Check.Distinct(w, y);
        Check.RowFactors(factors, RowFactors, rows);
        if (rows == 0) return;
        Way way = WayFor(rows);
        if (way.Kernel is not { } kernel)
        {
            if (way.Large) stream.Blas!.MultiplyLarge(x, false, w, true, y);
            else stream.Blas!.Multiply(x, false, w, true, y);
            return;
        }
        KernelPlan plan = kernel.Plan;
        Check.Aligned(x, plan.Vector);
        Check.Aligned(w, plan.Vector);
        MatMulParams parameters = new()
        {
            X = x.Address,
            W = w.Address,
            Factors = factors.Address,
            Y = y.Address,
            XStride = x.RowStride,
            WStride = w.RowStride,
            YStride = y.RowStride,
            Rows = rows,
            Columns = Columns,
            K = Inner,
        };
        if (kernel.Warpgroup is not { } warpgroup)
        {
            kernel.Tiled!.LaunchGrid(stream, new Dim3(Tiling.Count(rows, plan.TileRows), Tiling.Count(Columns, plan.TileColumns)), parameters);
            return;
        }
        warpgroup.Launch(stream, WarpgroupTiles.Blocks(Device, plan, rows, Columns), new MatMulTensorParams
        {
            X = WarpgroupTiles.MapX(Device, x),
            W = TensorMap.Of(Device, w, WarpgroupTiles.Columns, WarpgroupTiles.Depth, TensorSwizzle.Bytes128),
            Plain = parameters,
        });
    }

    /// <summary>Name of the variant that a call of so many rows takes; null when it goes to cuBLAS or cuBLASLt.</summary>
    public string? VariantFor(int rows) => WayFor(rows).Kernel?.Variant;

    /// <summary>Name of the library that a call of so many rows goes to, "cublas" or "cublaslt"; null when it is one of ours.</summary>
    public string? LibraryFor(int rows) => WayFor(rows) is { Kernel: null } way ? way.Large ? CuBlasLt : CuBlas : null;

    /// <summary>Names of our variants that fit a product on a device.</summary>
    internal static IReadOnlyList<string> Variants(GpuDevice device, ElementType type, int columns, int inner) =>
        variants.Fitting(new(new(columns, inner, type, false, int.MaxValue), type, device.Limits, device.Kind));

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        IReadOnlyList<Shape> products = Products(model, type);
        IEnumerable<Shape> normed = products.Where(product => product.Inner == model.Width && product.Output == type).Select(product => product with { RowFactors = true });
        return products.Concat(normed).SelectMany(product => variants.Enumerate(nameof(MatMul), product, type));
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        foreach (Shape product in Products(model, type))
        {
            foreach (int rows in rowClasses)
            {
                VariantQuery<Shape> query = new(product with { Rows = rows }, type, device.Limits, device.Kind);
                IEnumerable<string> own = variants.Fitting(query).Where(name => MostTiles * variants.Choose(query, name).Plan.TileRows >= Math.Min(rows, ManyRows));
                yield return new TuningQuestion(
                    KeyOf(query.Shape, type), [.. Libraries(device), .. own], (bench, candidate) => Prepare(bench, candidate, query.Shape, type));
            }
        }
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, n = SelfTestBench.MlpWidth, k = SelfTestBench.Width;
        TensorView y = bench.Output(tokens, n);
        _ = bench.Stream.Blas;
        new MatMul(bench.Device, bench.Type, n, k, variant: bench.Variant).Run(bench.Stream, bench.Input(tokens, k), bench.Input(n, k, 0.25f), y);
        return y;
    }

    private static IReadOnlyList<Shape> Products(ModelDimensions model, ElementType type)
    {
        int attention = model.Heads * model.HeadDim;
        return
        [
            Product(2 * model.RnnWidth, model.Width),
            Product(model.Width, model.RnnWidth),
            Product(attention + (2 * model.HeadDim), model.Width),
            Product(model.Width, attention),
            Product(2 * model.MlpWidth, model.Width),
            Product(model.Width, model.MlpWidth),
            Product(model.Vocabulary, model.Width) with { Output = ElementType.Float32 },
        ];

        Shape Product(int columns, int inner) => new(columns, inner, type, false, int.MaxValue);
    }

    private static string KeyOf(Shape shape, ElementType type) => TuningQuestion.KeyOf(variants.Source, type,
        $"{shape.Columns} x {shape.Inner}, stored as {shape.Output.CudaName()}, {(shape.Rows == int.MaxValue ? "more" : shape.Rows)} rows");

    private static TuningRun Prepare(TuningBench bench, string candidate, Shape shape, ElementType type)
    {
        int rows = Math.Min(shape.Rows, ManyRows), sets = bench.SetsFor((long)shape.Columns * shape.Inner * type.SizeOf());
        TensorView x = bench.Operand(type, rows, shape.Inner), y = bench.Output(shape.Output, rows, shape.Columns);
        TensorView[] weights = [.. Enumerable.Range(0, sets).Select(_ => bench.Operand(type, shape.Columns, shape.Inner))];
        if (candidate == CuBlas) return new(run => bench.Stream.Blas!.Multiply(x, false, weights[run % sets], true, y), y);
        if (candidate == CuBlasLt) return new(run => bench.Stream.Blas!.MultiplyLarge(x, false, weights[run % sets], true, y), y);
        MatMul op = new(bench.Device, type, shape.Columns, shape.Inner, shape.Output, variant: candidate);
        return new(run => op.Run(bench.Stream, x, weights[run % sets], y), y);
    }

    private static string[] Libraries(GpuDevice device) => device.HasBlasLt ? [CuBlas, CuBlasLt] : device.HasBlas ? [CuBlas] : [];

    /// <summary>What a class of row counts goes to: what was measured to be the fastest, else what is usual.</summary>
    private Way ForClass(Shape shape, bool blas)
    {
        if (shape.BatchInvariant) return new(Kernel(shape, null));
        string[] libraries = blas ? Libraries(Device) : [];
        IReadOnlyList<string> fitting = variants.Fitting(Query(shape));
        string? chosen = Device.Tuning.Find(KeyOf(shape, Type))?.Fastest(candidate => libraries.Contains(candidate) || fitting.Contains(candidate));
        if (chosen is null && libraries.Length > 0) chosen = shape.Rows > FewRows ? libraries[^1] : CuBlas;
        return chosen is CuBlas or CuBlasLt ? new(null, chosen == CuBlasLt) : new(Kernel(shape, chosen));
    }

    private ProductKernel<MatMulParams, MatMulTensorParams> Kernel(Shape shape, string? variant) =>
        variants.Choose(Query(shape), variant).Variant.Name == WarpgroupTiles.Variant
            ? new(null, Request<Shape, MatMulTensorParams>(variants, shape, variant))
            : new(Request<Shape, MatMulParams>(variants, shape, variant), null);

    private Way WayFor(int rows)
    {
        if (_ways.Length == 1) return _ways[0];
        int chosen = Tiling.ClassOf(rowClasses, rows);
        // A few large tiles would leave most of a GPU idle; the next smaller ones give the same bits.
        if (chosen == rowClasses.Length - 1 && _ways[chosen].Kernel is { } last && last.Plan.BlocksFor(rows, Columns) < Device.Limits.MultiprocessorCount) chosen--;
        return _ways[chosen];
    }

    private static KernelVariant<Shape> Skinny(int batch) =>
        new($"skinny-{batch}", q => new($"matmul_skinny<{q.T}, {q.Shape.Output.CudaName()}, {batch}>", 128) { Vector = q.Vector, TileRows = batch, TileColumns = 16 })
        {
            Fits = q => q.Shape.Inner % q.Vector == 0 && !q.Shape.RowFactors && Tiling.Count(q.Shape.Columns, 16) <= MaxGridColumns,
            Preferred = q => q.Shape.Rows <= batch && !q.Shape.BatchInvariant,
        };

    private static KernelVariant<Shape> Tiled(string name, int rows, int columns, int warpRows, int warpColumns, Func<VariantQuery<Shape>, bool> preferred)
    {
        MatMulTiles tiles = new(rows, columns, warpRows, warpColumns);
        return new(name, q => tiles.Plan($"matmul_mma<{tiles.Name}, {q.Shape.Arguments}>", q.Vector))
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0 && Tiling.Count(q.Shape.Columns, columns) <= MaxGridColumns,
            Preferred = preferred,
        };
    }

    /// <param name="Kernel">A kernel of ours; null: cuBLAS.</param>
    /// <param name="Large">Whether the products are large ones to <see cref="GpuBlas"/>: cuBLASLt.</param>
    private readonly record struct Way(ProductKernel<MatMulParams, MatMulTensorParams>? Kernel, bool Large = false);

    /// <param name="Columns">N.</param>
    /// <param name="Inner">K.</param>
    /// <param name="Output">Type of y.</param>
    /// <param name="BatchInvariant">Whether kernels with another order of summation are out.</param>
    /// <param name="Rows">The most rows of a call.</param>
    private readonly record struct Shape(int Columns, int Inner, ElementType Output, bool BatchInvariant, int Rows)
    {
        /// <summary>Whether each row has a factor. Where the kernel can take one, it is as fast with as without: one measurement serves both.</summary>
        public bool RowFactors { get; init; }

        /// <summary>Template arguments behind the tile or the storage type.</summary>
        public string Arguments => Output.CudaName() + (RowFactors ? ", true" : "");
    }
}

/// <summary>Mirror of MatMulParams in matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MatMulParams
{
    public ulong X;
    public ulong W;
    public ulong Factors;
    public ulong Y;
    public long XStride;
    public long WStride;
    public long YStride;
    public int Rows;
    public int Columns;
    public int K;
}

/// <summary>Mirror of MatMulTensorParams in matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential, Size = 384)]
internal struct MatMulTensorParams
{
    public TensorMap X;
    public TensorMap W;
    public MatMulParams Plain;
}
