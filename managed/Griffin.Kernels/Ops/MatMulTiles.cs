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
