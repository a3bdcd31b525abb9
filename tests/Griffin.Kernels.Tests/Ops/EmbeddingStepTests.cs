using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The embedding with its sums of squares, against the embedding.</summary>
[TestFixture]
internal sealed class EmbeddingStepTests
{
    private static readonly int[] tokens = [4, 0, 10, -1, 4, 7];

    [Test]
    public void Gives_the_bits_of_the_embedding_and_its_squares([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 8, 24, 257, 4104)] int width)
    {
        using var test = new OpTest(TestDevices.Checked);
        var table = test.Matrix(OpTest.Normals(new CounterRandom(2), type, 11 * width), 11, width, type, 8);
        foreach (var variant in OpTest.VariantsOf<EmbeddingStep>(OpTest.Dimensions(width), type))
        {
            var (y, expected) = (test.Output(tokens.Length, width, type, 8), test.Output(tokens.Length, width, type));
            var squares = test.Output(tokens.Length, 1, ElementType.Float32);
            new EmbeddingStep(test.Device, type, width, variant).Run(test.Stream, test.Integers(tokens), table, 2.7f, y, squares);
            new Embedding(test.Device, type, width, "general").Run(test.Stream, test.Integers(tokens), table, 2.7f, expected);
            var values = test.Read(y);
            Close.Exact(values, test.Read(expected), variant);
            double[] sums = [.. values.Chunk(width).Select(row => row.Sum(value => (double)value * value))];
            Close.Float32(test.Read(squares), sums, relative: OpTest.Units((width / 256.0) + 16), scale: 0, what: variant);
        }
    }

    [Test]
    public void A_token_past_the_table_cannot_pass_unseen()
    {
        using var test = new OpTest(TestDevices.Checked);
        var squares = test.Matrix([1, 1], 2, 1, ElementType.Float32);
        new EmbeddingStep(test.Device, ElementType.Float32, 8).Run(
            test.Stream, test.Integers(11, 1), test.Matrix(new float[88], 11, 8, ElementType.Float32), 1, test.Output(2, 8, ElementType.Float32), squares);
        Assert.That(test.Read(squares), Is.EqualTo(new[] { float.NaN, 0 }));
    }

    [Test]
    public void Schedule_does_not_show()
    {
        Schedules.DoNotShow(nameof(EmbeddingStep), test =>
        {
            var squares = test.Output(tokens.Length, 1, ElementType.Float32);
            new EmbeddingStep(test.Device, ElementType.BFloat16, 264).Run(
                test.Stream, test.Integers(tokens), test.Matrix(new CounterRandom(2).Bf16Normals(11 * 264), 11, 264, ElementType.BFloat16), 1.5f,
                test.Output(tokens.Length, 264, ElementType.BFloat16), squares);
            return test.Read(squares);
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        var (table, y, squares) = (test.Output(11, 8, ElementType.Float32), test.Output(2, 8, ElementType.Float32), test.Output(2, 1, ElementType.Float32));
        var op = new EmbeddingStep(test.Device, ElementType.Float32, 8);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, test.Integers(1, 2, 3), table, 1, y, squares), "rows");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, test.Integers(1, 2), table, 1, y, y), "squares");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, test.Integers(1, 2), table, 1, table.RowRange(0, 2), squares), "overlap");
            Assert.DoesNotThrow(() => op.Run(test.Stream, test.Integers(), table, 1, y.RowRange(0, 0), squares.RowRange(0, 0)), "no tokens");
        });
    }
}
