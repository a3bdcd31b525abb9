using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// Operands of the fused products of a decode step. Rows to norm hold small integers, so that their squares add up exactly in any order; a one-hot
/// weight makes every product a single term. With both, the fused ops must give the bits of the ops that they replace.
/// </summary>
internal sealed class SkinnyCase
{
    public const float Epsilon = 1e-6f;

    private readonly OpTest _test;
    private readonly ElementType _type;
    private readonly CounterRandom _random;

    public SkinnyCase(OpTest test, ElementType type, int rows, int inner, ulong seed = 1)
    {
        (_test, _type, Rows, Inner) = (test, type, rows, inner);
        _random = new CounterRandom((seed * 7919) + (ulong)((rows * 65_537) + inner));
        X = Array.ConvertAll(_random.Integers(rows * inner, -3, 4), value => (float)value);
        for (var row = 0; row < rows; row++)
            X[row * inner] = 1 + (row % 3); // no row of zeros
        Scale = OpTest.Normals(_random, type, inner, 0.3);
        Parts = 1 + (inner % 40);
        Squares = new float[rows * Parts];
        for (var i = 0; i < X.Length; i++)
            Squares[(i / inner * Parts) + (i % inner % Parts)] += X[i] * X[i];
        Input = new(Matrix(X, rows, inner), test.Vector(Scale, type), test.Matrix(Squares, rows, Parts, ElementType.Float32), Epsilon);
    }

    public int Rows { get; }

    public int Inner { get; }

    public int Parts { get; }

    public float[] X { get; }

    public float[] Scale { get; }

    public float[] Squares { get; }

    public NormedInput Input { get; }

    /// <summary>Sizes of (rows, inner) that cross the tiles of a variant.</summary>
    public static IEnumerable<(int Rows, int Inner)> SizesOf(string variant, ElementType type)
    {
        var vector = variant == "general" ? 1 : 16 / type.SizeOf();
        var tile = variant == "general" ? 4 : int.Parse(variant[(variant.IndexOf('-', StringComparison.Ordinal) + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        return [(1, vector), (tile, 5 * vector), (Math.Max(1, tile - 1), 67 * vector), (tile + 1, 9 * vector)];
    }

    /// <summary>
    /// One token for each of so many rows, on slots in descending order: documents that start, go on with a little or a long past, begin in the
    /// middle on a fresh slot, and padding. One slot more belongs to nobody.
    /// </summary>
    public static SequenceCase Steps(int rows)
    {
        (int Position, int Seen)[] kinds = [(0, 5), (9, 9), (2, 2), (7, 0), (-1, 4), (1, 1)];
        var seen = new int[rows + 1];
        SequenceRow[] steps = [.. Enumerable.Range(0, rows).Select(row => new SequenceRow(rows - row, kinds[row % kinds.Length].Position))];
        for (var row = 0; row < rows; row++)
            seen[rows - row] = kinds[row % kinds.Length].Seen;
        return new SequenceCase(steps, seen);
    }

    /// <summary>A matrix with gaps of NaN between its rows, which stay aligned.</summary>
    public TensorView Matrix(float[] values, int rows, int columns) => _test.Matrix(values, rows, columns, _type, 8);

    /// <summary>Random numbers.</summary>
    public TensorView Normals(int rows, int columns, double spread = 1) => Matrix(OpTest.Normals(_random, _type, rows * columns, spread), rows, columns);

    /// <summary>Random numbers without gaps.</summary>
    public TensorView Vector(int length, double spread = 1) => _test.Vector(OpTest.Normals(_random, _type, length, spread), _type);

    /// <summary>A weight [n, inner] with one number in each row, at columns that cover all.</summary>
    public TensorView OneHot(int n)
    {
        var values = OpTest.Normals(_random, _type, n);
        var w = new float[n * Inner];
        for (var row = 0; row < n; row++)
            w[(row * Inner) + (row * 7 % Inner)] = values[row];
        return Matrix(w, n, Inner);
    }

    /// <summary>What RmsNorm makes of the input.</summary>
    public TensorView Normed()
    {
        var normed = _test.Output(Rows, Inner, _type, 8);
        new RmsNorm(_test.Device, _type, Inner).Run(_test.Stream, Input.X, Input.Scale, normed, Epsilon);
        return normed;
    }

    /// <summary>x · wᵀ by MatMul.</summary>
    public TensorView Product(TensorView x, TensorView w, ElementType? output = null)
    {
        var y = _test.Output(Rows, (int)w.Rows, output ?? _type, 8);
        new MatMul(_test.Device, _type, (int)w.Rows, Inner, output, variant: "general").Run(_test.Stream, x, w, y);
        return y;
    }

    /// <summary>
    /// norm(x) · wᵀ in float64 from the rounded norm, and the contract's bound: where the float32 norm may round to the other side, the whole
    /// step between the two is allowed.
    /// </summary>
    public (double[] Expected, double[] Bound) Reference(float[] w, int n)
    {
        var (expected, bound) = (new double[Rows * n], new double[Rows * n]);
        for (var row = 0; row < Rows; row++)
        {
            var sum = Squares.AsSpan(row * Parts, Parts).ToArray().Sum(part => (double)part);
            var inverse = 1 / Math.Sqrt((sum / Inner) + Epsilon);
            for (var k = 0; k < Inner; k++)
            {
                var exact = X[(row * Inner) + k] * inverse * (1.0 + Scale[k]);
                var slack = Math.Abs(exact) * OpTest.Units(Parts + 24);
                var (low, value, high) = (exact, exact, exact);
                if (_type == ElementType.BFloat16)
                    (low, value, high) = (Bf16.Round((float)(exact - slack)), Bf16.Round((float)exact), Bf16.Round((float)(exact + slack)));
                else
                    (low, high) = (exact - slack, exact + slack);
                for (var c = 0; c < n; c++)
                {
                    double weight = w[(c * Inner) + k];
                    expected[(row * n) + c] += value * weight;
                    bound[(row * n) + c] += (Math.Abs(weight) * (high - low)) + Math.ScaleB(Inner * Math.Abs(value * weight), -23);
                }
            }
        }

        return (expected, bound);
    }
}
