namespace Griffin.Kernels.Ops;

/// <summary>Small sums of launch geometry.</summary>
internal static class Tiling
{
    /// <summary>Tiles that cover a positive length.</summary>
    public static int Count(int length, int tile) => (length - 1) / tile + 1;

    /// <inheritdoc cref="Count(int, int)"/>
    public static long Count(long length, int tile) => (length - 1) / tile + 1;

    /// <summary>The first of the ascending limits that is not less than the number of rows.</summary>
    public static int ClassOf(ReadOnlySpan<int> limits, int rows)
    {
        int index = 0;
        while (limits[index] < rows) index++;
        return index;
    }
}
