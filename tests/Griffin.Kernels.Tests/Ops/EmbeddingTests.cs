using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class EmbeddingTests
{
    private const int Vocabulary = 11;

    [Test]
    public void GathersScaledRows([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 20, 24, 256, 257, 2056)] int width, [Values(0, 8)] int gap)
    {
        const float scale = 4.90625f;
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom((ulong)width);
        var table = OpTest.Normals(random, type, Vocabulary * width);
        int[] tokens = [0, 10, 3, 3, -1, 7, 11, -5];
        var deviceTable = test.Matrix(table, Vocabulary, width, type, gap);
        foreach (var variant in OpTest.VariantsOf<Embedding>(OpTest.Dimensions(width), type))
        {
            var y = test.Output(tokens.Length, width, type, gap);
            new Embedding(test.Device, type, width, variant).Run(test.Stream, test.Integers(tokens), deviceTable, scale, y);
            var actual = test.Read(y);
            for (var n = 0; n < tokens.Length; n++)
            {
                var row = actual.AsSpan(n * width, width);
                if (tokens[n] >= Vocabulary)
                {
                    Assert.That(row.ToArray(), Is.All.NaN, "a token past the table must be seen");
                    continue;
                }

                var expected = new double[width];
                for (var c = 0; c < width && tokens[n] >= 0; c++)
                    expected[c] = (double)scale * table[(tokens[n] * width) + c];
                OpTest.Compare(type, row, expected, _ => 0, $"{variant}, row {n}");
            }
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 264;
        foreach (var variant in OpTest.VariantsOf<Embedding>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                int[] tokens = [0, 10, 3, 3, -1, 7];
                var y = test.Output(tokens.Length, width, type);
                var table = test.Matrix(OpTest.Normals(new CounterRandom(6), type, Vocabulary * width), Vocabulary, width, type);
                new Embedding(test.Device, type, width, variant).Run(test.Stream, test.Integers(tokens), table, 4.90625f, y);
                return test.Read(y);
            });
        }
    }

    [Test]
    public void WithoutScaleItCopiesBits([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 48;
        using var test = new OpTest(TestDevices.Checked);
        var table = OpTest.Normals(new CounterRandom(5), type, Vocabulary * width);
        var y = test.Output(2, width, type);
        new Embedding(test.Device, type, width).Run(test.Stream, test.Integers(9, 2), test.Matrix(table, Vocabulary, width, type), 1, y);
        Close.Exact(test.Read(y), [.. table[(9 * width)..(10 * width)], .. table[(2 * width)..(3 * width)]]);
    }

    [Test]
    public void NoTokensLaunchNothing()
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new Embedding(test.Device, ElementType.Float32, 8);
        Assert.That(() => op.Run(test.Stream, test.Integers(), TensorView.Empty, 1, TensorView.Empty), Throws.Nothing);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new Embedding(test.Device, ElementType.Float32, 8);
        var table = test.Output(4, 8, ElementType.Float32);
        var tokens = test.Integers(1, 2);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, tokens, table, 1, test.Output(3, 8, ElementType.Float32)), Throws.ArgumentException.With.Message.Contains("rows"));
            Assert.That(() => op.Run(test.Stream, tokens, table, 1, test.Output(2, 7, ElementType.Float32)), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => op.Run(test.Stream, tokens, table, 1, test.Output(2, 8, ElementType.BFloat16)), Throws.ArgumentException.With.Message.Contains("BFloat16"));
            Assert.That(() => op.Run(test.Stream, tokens, table, 1, table.RowRange(1, 2)), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.Run(test.Stream, table.RowRange(0, 1), table, 1, test.Output(2, 8, ElementType.Float32)), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, tokens, test.Output(4, 9, ElementType.Float32).ColumnRange(1, 8), 1, test.Output(2, 8, ElementType.Float32)),
                Throws.ArgumentException.With.Message.Contains("16 bytes"));
        });
    }
}
