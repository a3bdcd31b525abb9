using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The first half of a gated MLP for many rows: gate|up product and gelu(g + bg) · (u + bu) in one kernel. It is <see cref="MatMul"/> followed by
/// <see cref="GeluMultiply"/> with their roundings, without g|u in memory.
/// </summary>
public sealed class GatedMatMul : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const string Separate = "separate";   // the candidate that is the two ops
    private const int ManyRows = 1024;            // stands for the last class where it is measured
    private const int RowsTogether = 8;           // of the gate, then of up, in a tile
    private static readonly int[] rowClasses = [64, int.MaxValue];

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("gated_matmul.cu"),
        Tiled("mma-64x64", 64, 64, 32, 32, q => q.Shape.Rows <= 64),
        Tiled("mma-128x128", 128, 128, 64, 32, _ => true),
        // Not chosen unmeasured: it has not run on a GPU yet.
        new KernelVariant<Shape>(WarpgroupTiles.Variant, Warpgroup)
        {
            Fits = q => WarpgroupTiles.Fits(q, q.Shape.Inner) && q.Shape.Width % RowsTogether == 0,
            Preferred = static _ => false,
        },
        new KernelVariant<Shape>("general", q => new($"gated_matmul_general<{q.T}{q.Shape.Argument}>", 256) { TileRows = 64, TileColumns = 32 }));

    private readonly ProductKernel<GatedMatMulParams, GatedMatMulTensorParams>[] _kernels;   // by row class; one where a variant is forced
    private readonly bool[] _pays;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="width">D: columns of the result; the weight has 2·D rows.</param>
    /// <param name="inner">K: columns of x and w.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    /// <param name="rowFactors">Whether calls give a factor for each row, which the float32 sums of its g|u are multiplied by.</param>
    /// <param name="batchInvariant">Whether a row's bits must not depend on the number of rows: no measured choices.</param>
    /// <param name="useBlas">Whether the product that this stands for may go to cuBLAS.</param>
    /// <exception cref="ArgumentException">A size is wrong, or the variant does not fit.</exception>
    public GatedMatMul(GpuDevice device, ElementType type, int width, int inner, string? variant = null, bool rowFactors = false, bool batchInvariant = false, bool useBlas = true) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, int.MaxValue / 2);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        Width = width;
        Inner = inner;
        RowFactors = rowFactors;
        Shape[] shapes = [.. rowClasses.Select(rows => new Shape(width, inner, rows) { RowFactors = rowFactors })];
        TuningRecord?[] records = [.. shapes.Select(shape => batchInvariant ? null : device.Tuning.Find(KeyOf(shape, type)))];
        _kernels = variant is not null
            ? [Kernel(shapes[0], variant)]
            : [.. shapes.Select((shape, i) => Kernel(shape, records[i]?.Fastest(variants.Fitting(Query(shape)).Contains)))];
        // Unmeasured: our tiles reach what cuBLAS does on no chip since sm_90, but save two passes over g|u where the product would be ours anyway.
        bool blas = device.HasBlas && useBlas, usually = device.Kind == GpuDeviceKind.Cuda && !blas && type == ElementType.BFloat16;
        _pays = [.. records.Zip(shapes, (record, shape) => blas == device.HasBlas && Fastest(record, shape) is { } fastest ? fastest != Separate : usually)];
    }

    /// <summary>D: columns of the result.</summary>
    public int Width { get; }

    /// <summary>K: columns of x and w.</summary>
    public int Inner { get; }

    /// <summary>Whether calls give a factor for each row.</summary>
    public bool RowFactors { get; }

    /// <summary>Whether a call of so many rows is faster than the product and <see cref="GeluMultiply"/>, as measured on the device or as usual.</summary>
    public bool PaysFor(int rows) => _pays[Tiling.ClassOf(rowClasses, rows)];

    /// <summary>Queues the half.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">[N, K].</param>
    /// <param name="w">[2·D, K]: the gate's rows, then up's.</param>
    /// <param name="bias">[2·D].</param>
    /// <param name="y">[N, D]; shares nothing with the rest.</param>
    /// <param name="factors">Float32 [N]; empty for an op without row factors.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView x, in TensorView w, in TensorView bias, in TensorView y, in TensorView factors = default)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(x, Type, Inner);
        Check.Matrix(w, Type, 2L * Width, Inner);
        Check.Vector(bias, Type, 2L * Width);
        Check.Matrix(y, Type, rows, Width);
        Check.Distinct(x, y);
        Check.Distinct(w, y);
        Check.RowFactors(factors, RowFactors, rows);
        if (rows == 0) return;
        ProductKernel<GatedMatMulParams, GatedMatMulTensorParams> kernel = KernelFor(rows);
        KernelPlan plan = kernel.Plan;
        Check.Aligned(x, plan.Vector);
        Check.Aligned(w, plan.Vector);
        GatedMatMulParams parameters = new()
        {
            X = x.Address,
            W = w.Address,
            Bias = bias.Address,
            Factors = factors.Address,
            Y = y.Address,
            XStride = x.RowStride,
            WStride = w.RowStride,
            YStride = y.RowStride,
            Rows = rows,
            Width = Width,
            K = Inner,
        };
        if (kernel.Warpgroup is not { } warpgroup)
        {
            kernel.Tiled!.LaunchGrid(stream, new Dim3(Tiling.Count(rows, plan.TileRows), Tiling.Count(Width, plan.TileColumns)), parameters);
            return;
        }
        warpgroup.Launch(stream, WarpgroupTiles.Blocks(Device, plan, rows, Width), new GatedMatMulTensorParams
        {
            X = WarpgroupTiles.MapX(Device, x),
            W = MapW(w),
            Plain = parameters,
        });
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(rows).Variant;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        Shape shape = new(model.MlpWidth, model.Width, int.MaxValue);
        return variants.Enumerate(nameof(GatedMatMul), shape, type).Concat(variants.Enumerate(nameof(GatedMatMul), shape with { RowFactors = true }, type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.MlpWidth, inner = SelfTestBench.Width;
        TensorView y = bench.Output(tokens, width);
        new GatedMatMul(bench.Device, bench.Type, width, inner, bench.Variant).Run(
            bench.Stream, bench.Input(tokens, inner), bench.Input(2 * width, inner, 0.0625f), bench.Input(1, 2 * width), y);
        return y;
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        foreach (int rows in rowClasses)
        {
            VariantQuery<Shape> query = new(new(model.MlpWidth, model.Width, rows), type, device.Limits, device.Kind);
            yield return new TuningQuestion(KeyOf(query.Shape, type), [Separate, .. variants.Fitting(query)], (bench, candidate) => Prepare(bench, candidate, query.Shape, type)) { Stage = 1 };
        }
    }

    private static string KeyOf(Shape shape, ElementType type) => TuningQuestion.KeyOf(variants.Source, type,
        $"{shape.Width} x {shape.Inner}, {(shape.Rows == int.MaxValue ? "more" : shape.Rows)} rows");

    private static TuningRun Prepare(TuningBench bench, string candidate, Shape shape, ElementType type)
    {
        int rows = Math.Min(shape.Rows, ManyRows), sets = bench.SetsFor(2L * shape.Width * shape.Inner * type.SizeOf());
        TensorView x = bench.Operand(type, rows, shape.Inner), y = bench.Output(type, rows, shape.Width), bias = bench.Operand(type, 1, 2L * shape.Width);
        TensorView[] weights = [.. Enumerable.Range(0, sets).Select(_ => bench.Operand(type, 2L * shape.Width, shape.Inner))];
        if (candidate != Separate)
        {
            GatedMatMul op = new(bench.Device, type, shape.Width, shape.Inner, candidate);
            return new(run => op.Run(bench.Stream, x, weights[run % sets], bias, y), y);
        }
        TensorView gateUp = bench.Output(type, rows, 2L * shape.Width);
        MatMul product = new(bench.Device, type, 2 * shape.Width, shape.Inner);
        GeluMultiply multiply = new(bench.Device, type, shape.Width);
        return new(Both, y);

        void Both(int run)
        {
            product.Run(bench.Stream, x, weights[run % sets], gateUp);
            multiply.Run(bench.Stream, gateUp, bias, y);
        }
    }

    // Eight rows of the gate, the same eight of up, and so on: four dimensions, of which a box holds as many rows as a tile.
    private TensorMap MapW(in TensorView w) => TensorMap.Of(Device, Type, w.Address,
        [Inner, RowsTogether, 2, Width / RowsTogether],
        [w.RowStride, Width * w.RowStride, RowsTogether * w.RowStride],
        [WarpgroupTiles.Depth, RowsTogether, 2, WarpgroupTiles.Columns / (2 * RowsTogether)],
        TensorSwizzle.Bytes128);

    // The fastest of what was measured and fits today, the separate kernels among it.
    private string? Fastest(TuningRecord? record, Shape shape)
    {
        IReadOnlyList<string> fitting = variants.Fitting(Query(shape));
        return record?.Fastest(name => name == Separate || fitting.Contains(name));
    }

    private ProductKernel<GatedMatMulParams, GatedMatMulTensorParams> Kernel(Shape shape, string? variant) =>
        variants.Choose(Query(shape), variant).Variant.Name == WarpgroupTiles.Variant
            ? new(null, Request<Shape, GatedMatMulTensorParams>(variants, shape, variant))
            : new(Request<Shape, GatedMatMulParams>(variants, shape, variant), null);

    private ProductKernel<GatedMatMulParams, GatedMatMulTensorParams> KernelFor(int rows) =>
        ProductKernel<GatedMatMulParams, GatedMatMulTensorParams>.ForRows(_kernels, rowClasses, rows, Width, Device);

    private static KernelVariant<Shape> Tiled(string name, int rows, int columns, int warpRows, int warpColumns, Func<VariantQuery<Shape>, bool> preferred)
    {
        MatMulTiles tiles = new(rows, columns, warpRows, warpColumns);
        return new(name, q => tiles.Plan($"gated_matmul_mma<{tiles.Name}{q.Shape.Argument}>", q.Vector) with { TileColumns = columns / 2 })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0,
            Preferred = preferred,
        };
    }

    private static KernelPlan Warpgroup(VariantQuery<Shape> query)
    {
        KernelPlan plan = WarpgroupTiles.Plan($"gated_matmul_warpgroup<{(query.Shape.RowFactors ? "true" : "false")}>", query.Vector);
        return plan with { TileColumns = plan.TileColumns / 2 };
    }

    /// <param name="Width">D.</param>
    /// <param name="Inner">K.</param>
    /// <param name="Rows">The most rows of a call.</param>
    private readonly record struct Shape(int Width, int Inner, int Rows)
    {
        /// <summary>Whether each row has a factor; a kernel is as fast with as without.</summary>
        public bool RowFactors { get; init; }

        /// <summary>The last template argument.</summary>
        public string Argument => RowFactors ? ", true" : "";
    }
}

/// <summary>Mirror of GatedMatMulParams in gated_matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GatedMatMulParams
{
    public ulong X;
    public ulong W;
    public ulong Bias;
    public ulong Factors;
    public ulong Y;
    public long XStride;
    public long WStride;
    public long YStride;
    public int Rows;
    public int Width;
    public int K;
}

/// <summary>Mirror of GatedMatMulTensorParams in gated_matmul.cu.</summary>
[StructLayout(LayoutKind.Sequential, Size = 384)]
internal struct GatedMatMulTensorParams
{
    public TensorMap X;
    public TensorMap W;
    public GatedMatMulParams Plain;
}
