using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class EmbeddingBackwardTests
{
    private const float Scale = 4.90625f;
    private const int Vocabulary = 11;

    private static readonly object[] shapes = [new[] { 1, 1 }, new[] { 2, 3 }, new[] { 13, 24 }, new[] { 64, 257 }, new[] { 97, 1032 }];

    [Test]
    public void FormulaIsTheDerivative()
    {
        const int width = 2;
        int[] tokens = [3, 0, 3, -1, 10, 3, 11];
        var random = new CounterRandom(1);
        var table = Array.ConvertAll(random.Normals(Vocabulary * width), value => (double)value);
        var dx = Array.ConvertAll(random.Normals(tokens.Length * width), value => (double)value);
        double Loss()
        {
            double loss = 0;
            for (var i = 0; i < dx.Length; i++)
            {
                if (tokens[i / width] is >= 0 and < Vocabulary)
                    loss += Scale * table[(tokens[i / width] * width) + (i % width)] * dx[i];
            }

            return loss;
        }

        FiniteDifferences.AssertSame(Expected(tokens, dx, width, new double[table.Length]).Sums, FiniteDifferences.Gradient(table, Loss), "dtable");
    }

    [TestCaseSource(nameof(shapes))]
    public void AddsToWhatIsThere(int rows, int width)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var type in OpTest.Types)
        {
            var operands = new Operands(type, rows, width);
            foreach (var variant in OpTest.VariantsOf<EmbeddingBackward>(OpTest.Dimensions(width), type))
            {
                var actual = test.Read(operands.Run(test, variant));
                var (sums, sizes) = Expected(operands.Tokens, Array.ConvertAll(operands.Dx, value => (double)value), width, Array.ConvertAll(operands.Before, value => (double)value));
                Close.Within(actual, sums, i => OpTest.Units(rows + 2) * sizes[i], $"{variant}, {type}");
                for (var id = 0; id < Vocabulary; id++)
                {
                    if (!operands.Tokens.Contains(id))
                        Close.Exact(actual.AsSpan(id * width, width), operands.Before.AsSpan(id * width, width), $"{variant}: row {id}, which no token names");
                }
            }
        }
    }

    [Test]
    public void OneTokenAlone([Values(-1, 0, Vocabulary - 1, Vocabulary)] int token)
    {
        const ElementType type = ElementType.Float32;
        const int rows = 9, width = 8;
        using var test = new OpTest(TestDevices.Checked);
        var dtable = test.Matrix(new float[Vocabulary * width], Vocabulary, width, type);
        int[] tokens = [.. Enumerable.Repeat(token, rows)];
        var dx = new float[rows * width];
        Array.Fill(dx, 1);
        new EmbeddingBackward(test.Device, type, width).Run(test.Stream, test.Integers(tokens), test.Integers(SequenceCase.From(0, rows)), test.Matrix(dx, rows, width, type), 2, dtable);
        float[] expected = [.. Enumerable.Range(0, Vocabulary * width).Select(i => i / width == token ? 2f * rows : 0)];
        Close.Exact(test.Read(dtable), expected);
    }

    [Test]
    public void SortIsStable()
    {
        var order = new int[7];
        EmbeddingBackward.Sort([5, -1, 5, 0, int.MaxValue, -1, 5], order);
        Assert.That(order, Is.EqualTo(new[] { 1, 5, 3, 0, 2, 6, 4 }));
        Assert.That(() => EmbeddingBackward.Sort([1, 2], new int[3]), Throws.ArgumentException);
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in OpTest.VariantsOf<EmbeddingBackward>(OpTest.Dimensions(264), type))
            Schedules.DoNotShow(variant, test => test.Read(new Operands(type, 50, 264).Run(test, variant)));
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new EmbeddingBackward(test.Device, type, 8);
        var (tokens, dx, dtable) = (test.Integers(1, 2, 3), test.Output(3, 8, type), test.Output(Vocabulary, 8, type));
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, tokens, test.Integers(0, 1), dx, 1, dtable), Throws.ArgumentException.With.Message.Contains("order has 2"));
            Assert.That(() => op.Run(test.Stream, tokens, tokens, dx.RowRange(0, 2), 1, dtable), Throws.ArgumentException.With.Message.Contains("dx has 2 rows"));
            Assert.That(() => op.Run(test.Stream, tokens, tokens, dx, 1, test.Output(Vocabulary, 8, ElementType.BFloat16)), Throws.ArgumentException.With.Message.Contains("dtable"));
            Assert.That(() => op.Run(test.Stream, tokens, tokens, dtable.RowRange(2, 3), 1, dtable), Throws.ArgumentException.With.Message.Contains("overlap"));
        });
    }

    private static (double[] Sums, double[] Sizes) Expected(int[] tokens, double[] dx, int width, double[] before)
    {
        var (sums, sizes) = ((double[])before.Clone(), Array.ConvertAll(before, Math.Abs));
        for (var i = 0; i < dx.Length; i++)
        {
            if (tokens[i / width] is not (>= 0 and < Vocabulary))
                continue;
            var to = (tokens[i / width] * width) + (i % width);
            sums[to] += Scale * dx[i];
            sizes[to] += Math.Abs(Scale * dx[i]);
        }

        return (sums, sizes);
    }

    /// <summary>Tokens in and outside the vocabulary; some of it unused, and some of it common. Rows of tokens that count for nothing are NaN.</summary>
    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _width;

        public Operands(ElementType type, int rows, int width)
        {
            (_type, _width) = (type, width);
            var random = new CounterRandom((ulong)((rows * 31) + width));
            Tokens = [.. random.Integers(rows, -2, Vocabulary + 2).Select((token, n) => n % 3 == 0 ? 4 : token == 7 ? 8 : token)];
            Dx = OpTest.Normals(random, type, rows * width);
            for (var n = 0; n < rows; n++)
            {
                if (Tokens[n] is not (>= 0 and < Vocabulary))
                    Array.Fill(Dx, Poison.Float, n * width, width);
            }

            Before = random.Normals(Vocabulary * width);
        }

        public int[] Tokens { get; }

        public float[] Dx { get; }

        public float[] Before { get; }

        public TensorView Run(OpTest test, string variant)
        {
            var order = new int[Tokens.Length];
            EmbeddingBackward.Sort(Tokens, order);
            var dtable = test.Matrix(Before, Vocabulary, _width, ElementType.Float32, 4);
            new EmbeddingBackward(test.Device, _type, _width, variant)
                .Run(test.Stream, test.Integers(Tokens), test.Integers(order), test.Matrix(Dx, Tokens.Length, _width, _type, 8), Scale, dtable);
            return dtable;
        }
    }
}
