using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Rows that are normed on their way into a product: round(x / rms(x) · (1 + scale)), with the squares already summed in parts.</summary>
/// <param name="X">[B, K], the residual stream.</param>
/// <param name="Scale">[K], around 0.</param>
/// <param name="Squares">Float32 [B, parts]: a row's parts add up to the sum of its squares. The op that made x leaves them.</param>
/// <param name="Epsilon">Added to the mean of squares.</param>
public readonly record struct NormedInput(TensorView X, TensorView Scale, TensorView Squares, float Epsilon);

/// <summary>
/// What the fused products of a decode step share: few rows of activations, a weight that is streamed once, and one of several kernels by the
/// number of rows (skinny.cuh). Beyond 64 rows the weight is read once per 64.
/// </summary>
public abstract class SkinnyProduct : KernelOp
{
    private static readonly int[] rowClasses = [1, 8, 16, 32, int.MaxValue];

    private protected SkinnyProduct(GpuDevice device, ElementType type, int inner) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inner);
        Inner = inner;
    }

    /// <summary>K: columns of the input and of the weight.</summary>
    public int Inner { get; }

    /// <summary>The kernels by class of rows; one where a variant is forced.</summary>
    private protected PlannedKernel<TParams>[] Request<TParams>(VariantTable<SkinnyShape> variants, string? variant) where TParams : unmanaged
    {
        SkinnyShape shape = new(Inner, int.MaxValue);
        return variant is not null
            ? [Request<SkinnyShape, TParams>(variants, shape, variant)]
            : [.. rowClasses.Select(rows => Request<SkinnyShape, TParams>(variants, shape with { Rows = rows }))];
    }

    private protected static PlannedKernel<TParams> KernelFor<TParams>(PlannedKernel<TParams>[] kernels, long rows) where TParams : unmanaged =>
        kernels[kernels.Length == 1 ? 0 : Tiling.ClassOf(rowClasses, (int)Math.Min(rows, int.MaxValue))];

    /// <summary>Checks the product's operands; zero rows are fine.</summary>
    private protected SkinnyProductParams Product(KernelPlan plan, in TensorView x, in TensorView w, long columns)
    {
        int rows = Check.Matrix(x, Type, Inner);
        Check.Matrix(w, Type, columns, Inner);
        Check.Aligned(x, plan.Vector);
        Check.Aligned(w, plan.Vector);
        return new() { X = x.Address, W = w.Address, XStride = x.RowStride, WStride = w.RowStride, Rows = rows, K = Inner };
    }

    private protected NormInputParams Norm(KernelPlan plan, in NormedInput input)
    {
        TensorView squares = input.Squares;
        Check.Vector(input.Scale, Type, Inner);
        Check.Aligned(input.Scale, plan.Vector);
        Check.AdjacentRows(squares, ElementType.Float32, input.X.Rows, squares.Columns);
        return new() { Scale = input.Scale.Address, Squares = squares.Address, Parts = (int)squares.Columns, Eps = input.Epsilon };
    }

    /// <summary>Launches a block for every <paramref name="tileColumns"/> columns of every tile of rows; nothing for no rows.</summary>
    private protected static void Launch<TParams>(GpuStream stream, PlannedKernel<TParams> kernel, int rows, int columns, int tileColumns, in TParams parameters)
        where TParams : unmanaged
    {
        if (rows > 0) kernel.LaunchGrid(stream, new Dim3(Tiling.Count(columns, tileColumns), Tiling.Count(rows, kernel.Plan.TileRows)), parameters);
    }

    /// <summary>The variants of a kernel that is a template over the cores of skinny.cuh, in the file of its name.</summary>
    private protected static VariantTable<SkinnyShape> Variants(string kernel) => new(KernelSource.BuiltIn($"{kernel}.cu"),
        Mma(kernel, 1, 1, 2),
        Mma(kernel, 2, 2, 1),
        Mma(kernel, 2, 4, 1),
        Mma(kernel, 2, 8, 1),
        Fma(kernel, 1),
        Fma(kernel, 8),
        new KernelVariant<SkinnyShape>("general", q => Plan($"{kernel}<SkinnyFma<{q.T}, 1, 4>>", 1, 4, 16, 2)));

    private static KernelVariant<SkinnyShape> Mma(string kernel, int rowTiles, int batchTiles, int steps) =>
        new($"mma-{8 * batchTiles}", q => Plan($"{kernel}<SkinnyMma<{rowTiles}, {batchTiles}, {steps}>>", q.Vector, 8 * batchTiles, 16 * rowTiles, 8))
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Inner % q.Vector == 0,
            Preferred = q => q.Shape.Rows <= 8 * batchTiles || batchTiles == 8,
        };

    private static KernelVariant<SkinnyShape> Fma(string kernel, int batch) =>
        new($"fma-{batch}", q => Plan($"{kernel}<SkinnyFma<{q.T}, {q.Vector}, {batch}>>", q.Vector, batch, 16, 2))
        {
            Fits = q => q.Shape.Inner % q.Vector == 0,
            Preferred = q => q.Shape.Rows <= batch || batch == 8,
        };

    // Partial sums in rows of four floats more than the tile has, then one factor of the norm per row of the batch.
    private static KernelPlan Plan(string nameExpression, int vector, int batch, int weightRows, int parts) => new(nameExpression, 256)
    {
        Waits = true,
        Vector = vector,
        TileRows = batch,
        TileColumns = weightRows,
        SharedBytes = ((parts * batch * (weightRows + 4)) + batch) * sizeof(float),
    };
}

/// <param name="Inner">K.</param>
/// <param name="Rows">The most rows of a call.</param>
internal readonly record struct SkinnyShape(int Inner, int Rows);

/// <summary>Mirror of SkinnyProductParams in skinny.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SkinnyProductParams
{
    public ulong X;
    public ulong W;
    public long XStride;
    public long WStride;
    public int Rows;
    public int K;
}

/// <summary>Mirror of NormInputParams in skinny.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NormInputParams
{
    public ulong Scale;
    public ulong Squares;
    public int Parts;
    public float Eps;
}
