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

    /// <summary>The type's name in kernel source.</summary>
    public const string Name = "WarpgroupTiles";

    private const int Rows = 128, Columns = 256, Depth = 64, Stages = 4, Alignment = 1024;

    /// <summary>Whether a product of such operands may use it.</summary>
    public static bool Fits<TShape>(in VariantQuery<TShape> query, int inner) =>
        query.Limits.WarpgroupProducts && query.Type == ElementType.BFloat16 && inner % query.Vector == 0;

    /// <summary>The plan of a kernel over such tiles.</summary>
    public static KernelPlan Plan(string nameExpression, int vector) => new(nameExpression, 256)
    {
        Vector = vector,
        TileRows = Rows,
        TileColumns = Columns,
        SharedBytes = (Stages * (Rows + Columns) * Depth * sizeof(ushort)) + Alignment,
        Architecture = "sm_90a",
    };
}
