namespace Griffin.Kernels.Runtime;

/// <summary>Sizes of a grid (in blocks) or of a block (in threads).</summary>
/// <param name="X">Size in x.</param>
/// <param name="Y">Size in y.</param>
/// <param name="Z">Size in z.</param>
public readonly record struct Dim3(int X, int Y = 1, int Z = 1)
{
    /// <summary>A one-dimensional size.</summary>
    public static implicit operator Dim3(int x) => new(x);

    /// <summary>A one-dimensional size.</summary>
    public static Dim3 FromInt32(int x) => new(x);

    /// <summary>A two-dimensional size.</summary>
    public static implicit operator Dim3((int X, int Y) size) => new(size.X, size.Y);
}
