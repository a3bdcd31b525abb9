using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;
using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

/// <summary>The golden model's gradients: the published norms and first elements, and every tensor against finite differences of the float64 reference.</summary>
[TestFixture]
public sealed class GoldenGradientTests
{
    private const double Tolerance = 1e-4;
    private const int Length = 10;

    [Test]
    public void All_seventy_gradients_match_the_published_ones([Values] bool recompute, [Values(1 << 20, 7 * GoldenModel.Vocabulary * sizeof(float))] long logitsBytes)
    {
        using var run = Open(ElementType.Float32, recompute, logitsBytes);
        var losses = run.Accumulate(Batch(), 1.0 / (2 * Length));
        Assert.That(losses.Average(loss => (double)loss), Is.EqualTo(GoldenNumbers.Totals.Loss).Within(1e-5), "loss");
        var gradients = run.Gradients();
        Assert.That(GoldenGradients.All, Has.Length.EqualTo(70));
        Assert.Multiple(() =>
        {
            foreach (var (name, norm, first) in GoldenGradients.All)
            {
                var parts = Parts(name).Select(part => gradients[part]).ToArray();
                Assert.That(Norm(parts), Is.EqualTo(norm).Within(norm * Tolerance), $"{name}: norm");
                Assert.That(parts[0][0], Is.EqualTo(first).Within(Math.Max(Math.Abs(first), norm / Math.Sqrt(parts.Sum(part => part.Length))) * Tolerance), $"{name}: first element");
            }
        });
    }

    /// <summary>Norms and first elements leave the rest free; a random direction through each tensor does not.</summary>
    [Test]
    public void Every_gradient_matches_finite_differences_of_the_reference()
    {
        using var run = Open(ElementType.Float32);
        run.Accumulate(Batch(), 1.0 / (2 * Length));
        var gradients = run.Gradients();
        var random = new Random(5);
        Assert.Multiple(() =>
        {
            foreach (var (name, tensor) in GoldenModel.HuggingFaceTensors)
            {
                var direction = tensor.Values.Select(_ => random.NextDouble() - 0.5).ToArray();
                var expected = (Loss(name, direction, 1e-5) - Loss(name, direction, -1e-5)) / 2e-5;
                var actual = gradients[name].Zip(direction, (gradient, along) => gradient * along).Sum();
                var size = Norm(gradients[name]) * Math.Sqrt(direction.Sum(x => x * x) / direction.Length);
                Assert.That(actual, Is.EqualTo(expected).Within(1e-4 * size), name);
            }
        });
    }

    [Test]
    public void Bfloat16_gradients_point_the_same_way([Values] bool recompute)
    {
        using var run = Open(ElementType.BFloat16, recompute);
        using var exact = Open(ElementType.Float32);
        run.Accumulate(Batch(), 1.0 / (2 * Length));
        exact.Accumulate(Batch(), 1.0 / (2 * Length));
        var expected = exact.Gradients();
        Assert.Multiple(() =>
        {
            foreach (var (name, gradient) in run.Gradients())
            {
                var cosine = gradient.Zip(expected[name], (a, b) => (double)a * b).Sum() / (Norm(gradient) * Norm(expected[name]));
                Assert.That(cosine, Is.GreaterThan(0.99), name);
                Assert.That(Norm(gradient), Is.EqualTo(Norm(expected[name])).Within(0.1 * Norm(expected[name])), name);
            }
        });
    }

    [Test]
    public void Recomputed_activations_give_the_same_bits([Values] bool bf16)
    {
        using var kept = Open(bf16 ? ElementType.BFloat16 : ElementType.Float32);
        using var recomputed = Open(bf16 ? ElementType.BFloat16 : ElementType.Float32, recompute: true);
        Close.Exact(recomputed.Accumulate(Batch(), 0.05), kept.Accumulate(Batch(), 0.05), "losses");
        var expected = kept.Gradients();
        foreach (var (name, gradient) in recomputed.Gradients())
            Close.Exact(gradient, expected[name], name);
    }

    [Test]
    public void Shuffled_schedules_give_the_same_bits()
    {
        using var first = Open(ElementType.BFloat16);
        first.Accumulate(Batch(), 0.05);
        var expected = first.Gradients();
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var shuffled = TrainingRun.FromFolder(device, folder => GoldenModel.Write(folder), ElementType.BFloat16, 2, Length);
            shuffled.Accumulate(Batch(), 0.05);
            foreach (var (name, gradient) in shuffled.Gradients())
                Close.Exact(gradient, expected[name], $"{name}, seed {seed}");
        }
    }

    private static TrainingRun Open(ElementType precision, bool recompute = false, long logitsBytes = 1 << 20) =>
        TrainingRun.FromFolder(TestDevices.Checked, folder => GoldenModel.Write(folder), precision, 2, Length, recompute, logitsBytes);

    private static MicroBatch Batch()
    {
        var batch = new MicroBatch(2, Length);
        for (var row = 0; row < 2; row++)
        {
            for (var token = 0; token < Length; token++)
            {
                batch.Row(row).Tokens[token] = GoldenModel.Tokens[row][token];
                batch.Row(row).Positions[token] = GoldenModel.Positions[row][token];
                batch.Row(row).Targets[token] = GoldenModel.Target(row, token);
            }
        }

        return batch;
    }

    private static double Loss(string name, double[] direction, double step)
    {
        var tensors = new Dictionary<string, TestTensor>(GoldenModel.HuggingFaceTensors);
        var tensor = tensors[name];
        tensors[name] = new TestTensor(tensor.Shape, [.. tensor.Values.Zip(direction, (value, along) => value + (step * along))]);
        var reference = new GriffinReference(new ReferenceModel(GoldenModel.Reference().Config, tensors));
        return Enumerable.Range(0, 2).SelectMany(row => reference.Forward(GoldenModel.Tokens[row], GoldenModel.Positions[row], reference.NewState())
            .Select((logits, token) => ReferenceMath.NegativeLogLikelihood(logits, GoldenModel.Target(row, token)))).Average();
    }

    // The Hugging Face tensors that one native tensor becomes.
    private static string[] Parts(string native) =>
        [.. NativeNames.ToHuggingFace([new(native, GoldenModel.NativeTensors[native])]).Keys];

    private static double Norm(params float[][] parts) => Math.Sqrt(parts.SelectMany(part => part).Sum(x => (double)x * x));
}
