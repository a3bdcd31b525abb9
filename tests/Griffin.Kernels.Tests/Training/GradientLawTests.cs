using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;
using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

/// <summary>What gradients of whole models owe each other, for the three families: packing, padding, accumulation, and finite differences.</summary>
[TestFixture]
public sealed class GradientLawTests
{
    private const int Vocabulary = GoldenModel.Vocabulary;

    private static readonly FamilyModel[] families = [FamilyModel.Griffin, FamilyModel.Hawk, FamilyModel.Transformer];

    private static IEnumerable<string> Families => families.Select(family => family.Name);

    [TestCaseSource(nameof(Families))]
    public void Packed_documents_have_the_gradients_of_separate_ones(string family)
    {
        int[][] documents = [BatchKit.Document(1, 7, Vocabulary), BatchKit.Document(2, 1, Vocabulary), BatchKit.Document(3, 5, Vocabulary)];
        const int Length = 17;   // a prime, and more than the documents: the rest is padding
        using var packed = Open(family, 1, Length);
        using var separate = Open(family, 3, Length);
        var packedLosses = packed.Accumulate(BatchKit.Pack(Length, [documents]), 0.1);
        var separateLosses = separate.Accumulate(BatchKit.Pack(Length, [documents[0]], [documents[1]], [documents[2]]), 0.1);
        float[] expectedLosses = [.. separateLosses[..7], separateLosses[Length], .. separateLosses[(2 * Length)..((2 * Length) + 5)], .. new float[4]];
        Close.Float32(packedLosses, Array.ConvertAll(expectedLosses, x => (double)x), 1e-5, what: "losses");
        AssertClose(packed.Gradients(), separate.Gradients(), 1e-5);
    }

    [TestCaseSource(nameof(Families))]
    public void Four_micro_batches_of_one_row_are_one_of_four(string family)
    {
        const int Length = 9;
        var rows = Enumerable.Range(0, 4).Select(i => new[] { BatchKit.Document(i, Length - i, Vocabulary) }).ToArray();
        using var one = Open(family, 1, Length);
        using var four = Open(family, 4, Length);
        foreach (var row in rows)
            one.Accumulate(BatchKit.Pack(Length, [row]), 0.1);
        four.Accumulate(BatchKit.Pack(Length, rows), 0.1);
        AssertClose(one.Gradients(), four.Gradients(), 1e-5);
    }

    [TestCaseSource(nameof(Families))]
    public void Rows_of_padding_alone_change_nothing(string family)
    {
        const int Length = 8;
        int[][] row = [BatchKit.Document(4, Length, Vocabulary)];
        using var alone = Open(family, 1, Length);
        using var padded = Open(family, 2, Length);
        alone.Accumulate(BatchKit.Pack(Length, row), 0.1);
        padded.Accumulate(BatchKit.Pack(Length, [], row), 0.1);
        AssertClose(padded.Gradients(), alone.Gradients(), 1e-5);
    }

    [TestCaseSource(nameof(Families))]
    public void Gradients_match_finite_differences_of_the_reference(string family)
    {
        const int Length = 12;
        int[][][] rows = [[BatchKit.Document(5, 8, Vocabulary), BatchKit.Document(6, 4, Vocabulary)], [BatchKit.Document(7, 11, Vocabulary)]];
        using var run = Open(family, 2, Length);
        run.Accumulate(BatchKit.Pack(Length, rows), 1.0 / 20);
        var random = new Random(11);
        Assert.Multiple(() =>
        {
            foreach (var (name, gradient) in run.Gradients())
            {
                var direction = gradient.Select(_ => random.NextDouble() - 0.5).ToArray();
                var expected = (Loss(family, rows, name, direction, 1e-5) - Loss(family, rows, name, direction, -1e-5)) / 2e-5 / 20;
                var size = Norm(gradient) * Math.Sqrt(direction.Sum(x => x * x) / direction.Length);
                Assert.That(gradient.Zip(direction, (g, along) => g * along).Sum(), Is.EqualTo(expected).Within(1e-4 * size), name);
            }
        });
    }

    [Test]
    public void Scoring_gives_the_losses_of_training_and_leaves_gradients_alone()
    {
        const int Length = 9;
        var batch = BatchKit.Pack(Length, [BatchKit.Document(1, Length, Vocabulary)]);
        using var run = Open(FamilyModel.Griffin.Name, 1, Length);
        var losses = run.Accumulate(batch, 0.1);
        var before = run.Gradients();
        Close.Exact(run.Score(batch), losses, "losses");
        foreach (var (name, gradient) in run.Gradients())
            Close.Exact(gradient, before[name], name);
    }

    private static FamilyModel Find(string name) => families.Single(family => family.Name == name);

    private static TrainingRun Open(string family, int rows, int length) =>
        TrainingRun.FromFolder(TestDevices.Checked, folder => Find(family).Write(folder), ElementType.Float32, rows, length);

    private static double Loss(string family, int[][][] rows, string name, double[] direction, double step)
    {
        var reference = new GriffinReference(Find(family).Reference(tensors => tensors[name] = new TestTensor(
            tensors[name].Shape, [.. tensors[name].Values.Zip(direction, (value, along) => value + (step * along))])));
        return rows.SelectMany(documents => documents).Sum(document => reference.Forward(document)
            .SkipLast(1).Select((logits, token) => ReferenceMath.NegativeLogLikelihood(logits, document[token + 1])).Sum());
    }

    private static void AssertClose(Dictionary<string, float[]> actual, Dictionary<string, float[]> expected, double relative) => Assert.Multiple(() =>
    {
        foreach (var (name, gradient) in expected)
        {
            Assert.That(Norm(gradient), Is.GreaterThan(0), name);
            var difference = Norm([.. actual[name].Zip(gradient, (a, b) => a - b)]);
            Assert.That(difference, Is.LessThanOrEqualTo(relative * Norm(gradient)), name);
        }
    });

    private static double Norm(float[] values) => Math.Sqrt(values.Sum(x => (double)x * x));
}
