using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Operands of a product's gradients on the host, and in float64 what they must give.</summary>
internal sealed class MatMulGradientCase
{
    private readonly float[] _dy, _x, _w, _before;

    public MatMulGradientCase(ElementType type, int rows, int columns, int inner)
    {
        (Type, Rows, Columns, Inner) = (type, rows, columns, inner);
        var random = new CounterRandom((ulong)((rows * 1000) + (columns * 10) + inner));
        (_dy, _x) = (OpTest.Normals(random, type, rows * columns), OpTest.Normals(random, type, rows * inner));
        (_w, _before) = (OpTest.Normals(random, type, columns * inner), random.Normals(columns * inner));
    }

    public ElementType Type { get; }

    public int Rows { get; }

    public int Columns { get; }

    public int Inner { get; }

    public TensorView Dy(OpTest test, int gap = 0) => test.Matrix(_dy, Rows, Columns, Type, gap);

    public TensorView X(OpTest test, int gap = 0) => test.Matrix(_x, Rows, Inner, Type, gap);

    public TensorView W(OpTest test, int gap = 0) => test.Matrix(_w, Columns, Inner, Type, gap);

    /// <summary>A weight gradient that already holds something.</summary>
    public TensorView Dw(OpTest test, int gap = 0) => test.Matrix(_before, Columns, Inner, ElementType.Float32, gap);

    public void ExpectDx(float[] actual, string what)
    {
        var (expected, bound) = Sums(Rows, Inner, Columns, (r, c, n) => (_dy[(r * Columns) + n], _w[(n * Inner) + c]));
        OpTest.Compare(Type, actual, expected, i => bound[i], what);
    }

    public void ExpectDw(float[] actual, string what, int slices = 1)
    {
        var (expected, bound) = Sums(Columns, Inner, Rows, (n, k, m) => (_dy[(m * Columns) + n], _x[(m * Inner) + k]), slices);
        for (var i = 0; i < expected.Length; i++)
        {
            expected[i] += _before[i];
            bound[i] += OpTest.Units(1) * Math.Abs(expected[i]);
        }

        OpTest.Compare(ElementType.Float32, actual, expected, i => bound[i], what);
    }

    private static (double[] Sums, double[] Bounds) Sums(int rows, int columns, int terms, Func<int, int, int, (double Left, double Right)> term, int more = 0)
    {
        var (sums, bounds) = (new double[rows * columns], new double[rows * columns]);
        for (var i = 0; i < sums.Length; i++)
        {
            var magnitude = 0.0;
            for (var t = 0; t < terms; t++)
            {
                var (left, right) = term(i / columns, i % columns, t);
                sums[i] += left * right;
                magnitude += Math.Abs(left * right);
            }

            bounds[i] = Math.ScaleB((terms + more) * magnitude, -23);
        }

        return (sums, bounds);
    }
}
