using Griffin.Kernels;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>Loops in float64 that the tests' references leave to each test: products by rows, their gradients, sums by columns.</summary>
internal static class HostMath
{
    /// <summary>A number as the type stores it.</summary>
    public static double Round(double value, ElementType type) => type == ElementType.BFloat16 ? (float)BFloat16.FromSingle((float)value) : (float)value;

    /// <summary>x [M, K] times the transpose of w [N, K].</summary>
    public static double[] Product(double[] x, double[] w, int inner)
    {
        int rows = x.Length / inner, columns = w.Length / inner;
        double[] y = new double[rows * columns];
        Parallel.For(0, rows, r => ReferenceMath.Linear(x.AsSpan(r * inner, inner), w, []).CopyTo(y, r * columns));
        return y;
    }

    /// <summary>a [M, N] with columns and rows exchanged.</summary>
    public static double[] Transposed(double[] a, int columns)
    {
        int rows = a.Length / columns;
        double[] b = new double[a.Length];
        for (int i = 0; i < a.Length; i++) b[i % columns * rows + i / columns] = a[i];
        return b;
    }

    /// <summary>dx = dy · w and dw = dyᵀ · x for y = x · wᵀ.</summary>
    public static (double[] Dx, double[] Dw) ProductGradients(double[] dy, double[] x, double[] w, int columns, int inner)
    {
        double[] dyT = Transposed(dy, columns);
        return (Product(dy, Transposed(w, inner), columns), Product(dyT, Transposed(x, inner), dy.Length / columns));
    }

    /// <summary>Columns first … first + count - 1 of a matrix.</summary>
    public static double[] Columns(double[] a, int columns, int first, int count) =>
        [.. Enumerable.Range(0, a.Length / columns).SelectMany(r => a.AsSpan(r * columns + first, count).ToArray())];

    /// <summary>The sum of each column.</summary>
    public static double[] ColumnSums(double[] a, int columns)
    {
        double[] sums = new double[columns];
        for (int i = 0; i < a.Length; i++) sums[i % columns] += a[i];
        return sums;
    }
}
