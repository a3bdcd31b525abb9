using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>A tile of a product in shared memory: MatMulTiles of matmul_tiles.cuh.</summary>
/// <param name="Rows">Rows of x that a block covers.</param>
/// <param name="Columns">Rows of w that a block covers.</param>
/// <param name="WarpRows">Rows of x that a warp covers.</param>
/// <param name="WarpColumns">Rows of w that a warp covers.</param>
internal sealed record MatMulTiles(int Rows, int Columns, int WarpRows, int WarpColumns)
{
    private const int SharedStride = 40;   // elements of a row of a tile
    private const int Stages = 3;

    /// <summary>The type's name in kernel source.</summary>
    public string Name => $"MatMulTiles<{Rows}, {Columns}, {WarpRows}, {WarpColumns}>";

    /// <summary>The plan of a kernel over such tiles.</summary>
    public KernelPlan Plan(string nameExpression, int vector) => new(nameExpression, 32 * (Rows / WarpRows) * (Columns / WarpColumns))
    {
        Vector = vector,
        TileRows = Rows,
        TileColumns = Columns,
        SharedBytes = Stages * (Rows + Columns) * SharedStride * sizeof(ushort),
    };
}

/// <summary>A tile of a product by warpgroups: WarpgroupTiles of warpgroup_tiles.cuh.</summary>
internal static class WarpgroupTiles
{
    /// <summary>The variants' name.</summary>
    public const string Variant = "warpgroup-128x256";

    /// <summary>Rows of x that a tile covers.</summary>
    public const int Rows = 128;

    /// <summary>Rows of w that a tile covers.</summary>
    public const int Columns = 256;

    /// <summary>Columns of x and w in one box of a tensor copy: as many bytes as its swizzle has.</summary>
    public const int Depth = 64;

    private const int Stages = 4, Alignment = 1024, Threads = 384;

    /// <summary>Whether a product of such operands may use it.</summary>
    public static bool Fits<TShape>(in VariantQuery<TShape> query, int inner) =>
        query.Limits.WarpgroupProducts && query.Limits.TensorCopies && query.Type == ElementType.BFloat16 && inner % query.Vector == 0;

    /// <summary>The plan of a kernel over such tiles.</summary>
    public static KernelPlan Plan(string nameExpression, int vector) => new(nameExpression, Threads)
    {
        Vector = vector,
        TileRows = Rows,
        TileColumns = Columns,
        SharedBytes = (Stages * (Rows + Columns) * Depth * sizeof(ushort)) + Alignment,
        Architecture = "sm_90a",
    };

    /// <summary>The map of x.</summary>
    public static TensorMap MapX(GpuDevice device, in TensorView x) => TensorMap.Of(device, x, Rows, Depth, TensorSwizzle.Bytes128);

    /// <summary>Blocks of a launch: each takes tile after tile.</summary>
    public static long Blocks(GpuDevice device, KernelPlan plan, long rows, long columns) => Math.Min(plan.BlocksFor(rows, columns), device.Limits.MultiprocessorCount);
}
