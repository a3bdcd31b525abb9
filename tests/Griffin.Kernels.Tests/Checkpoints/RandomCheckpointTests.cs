using System.Runtime.InteropServices;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Checkpoints;

/// <summary>The distributions of the specification's §14 and §7.6, and that elements are pure functions of seed, tensor and index.</summary>
internal sealed class RandomCheckpointTests
{
    private static readonly GriffinConfig config = new GriffinConfig
    {
        Vocabulary = 500,
        Width = 96,
        RnnWidth = 128,
        Layers = 4,
        Heads = 3,
        HeadDim = 40,
        GateBlocks = 4,
        MlpWidth = 200,
    }.Validate();

    [TestCase(WeightKind.Embedding, 1.0 / 96)]
    [TestCase(WeightKind.LinearX, 1.0 / 96)]
    [TestCase(WeightKind.LinearY, 1.0 / 96)]
    [TestCase(WeightKind.Query, 1.0 / 96)]
    [TestCase(WeightKind.Key, 1.0 / 96)]
    [TestCase(WeightKind.Value, 1.0 / 96)]
    [TestCase(WeightKind.MlpGate, 1.0 / 96)]
    [TestCase(WeightKind.MlpUp, 1.0 / 96)]
    [TestCase(WeightKind.LinearOut, 0.5 / 128)]
    [TestCase(WeightKind.AttentionOut, 0.5 / 120)]
    [TestCase(WeightKind.MlpDown, 0.5 / 200)]
    [TestCase(WeightKind.Conv, 0.01 / 4)]
    [TestCase(WeightKind.InputGate, 1.0 / 32)]
    [TestCase(WeightKind.RecurrenceGate, 1.0 / 32)]
    public void Weights_are_normal_with_their_variance(WeightKind kind, double variance)
    {
        int layer = kind is WeightKind.Query or WeightKind.Key or WeightKind.Value or WeightKind.AttentionOut ? 2 : 0;
        double[] values = [.. Read(new RandomCheckpoint(config, seed: 5), kind, layer: layer).Select(value => value / Math.Sqrt(variance))];
        // Moments of n standard normal draws, at five standard errors each.
        double n = values.Length;
        Assert.Multiple(() =>
        {
            Assert.That(values.Average(), Is.EqualTo(0).Within(5 / Math.Sqrt(n)));
            Assert.That(values.Average(value => value * value), Is.EqualTo(1).Within(5 * Math.Sqrt(2 / n)));
            Assert.That(values.Average(value => Math.Pow(value, 4)), Is.EqualTo(3).Within(5 * Math.Sqrt(96 / n)));
            Assert.That(values.Zip(values.Skip(1), (a, b) => a * b).Average(), Is.EqualTo(0).Within(5 / Math.Sqrt(n)));
        });
    }

    [TestCase(LambdaRule.Code, -6.906755, -2.197225)]
    [TestCase(LambdaRule.Paper, -8.9866, -4.3232)]
    public void Lambda_fills_its_ring(LambdaRule rule, double lowest, double highest)
    {
        GriffinConfig wide = config with { RnnWidth = 4096 };
        float[] values = Read(new RandomCheckpoint(wide, seed: 5, rule), WeightKind.Lambda, wide);
        double[] squares = [.. values.Select(value => Math.Pow(1 / (1 + Math.Exp(value)), rule == LambdaRule.Code ? 2 : 16))];
        Assert.Multiple(() =>
        {
            Assert.That(values.Min(), Is.GreaterThanOrEqualTo(lowest - 1e-3).And.LessThan(lowest + 0.3));
            Assert.That(values.Max(), Is.LessThanOrEqualTo(highest + 1e-3).And.GreaterThan(highest - 0.3));
            Assert.That(squares.Average(), Is.EqualTo((0.81 + 0.998001) / 2).Within(5 * 0.188 / Math.Sqrt(12 * 4096)));
        });
    }

    [TestCase(WeightKind.TemporalNorm)]
    [TestCase(WeightKind.LinearXBias)]
    [TestCase(WeightKind.ConvBias)]
    [TestCase(WeightKind.InputGateBias)]
    [TestCase(WeightKind.MlpGateBias)]
    public void Norms_and_biases_are_zero(WeightKind kind) => Assert.That(Read(new RandomCheckpoint(config, 5), kind), Is.All.Zero);

    [Test]
    public void Seeds_layers_and_kinds_give_different_numbers()
    {
        float[][] draws =
        [
            Read(new RandomCheckpoint(config, 1), WeightKind.LinearX), Read(new RandomCheckpoint(config, 2), WeightKind.LinearX),
            Read(new RandomCheckpoint(config, 1), WeightKind.LinearY), Read(new RandomCheckpoint(config, 1), WeightKind.LinearX, layer: 1),
        ];
        for (int i = 0; i < draws.Length; i++)
        {
            for (int j = 0; j < i; j++)
                Assert.That(draws[i].Zip(draws[j], (a, b) => a * b).Average() * 96, Is.EqualTo(0).Within(5 / Math.Sqrt(draws[i].Length)));
        }
    }

    [TestCase(1)]
    [TestCase(3)]
    [TestCase(1001)]
    public void Pieces_of_any_size_make_the_whole(int pieceElements)
    {
        RandomCheckpoint source = new(config, 9);
        float[] whole = Read(source, WeightKind.LinearX);
        float[] pieces = Poison.Floats(whole.Length);
        for (int first = 0; first < whole.Length; first += pieceElements)
        {
            Span<float> piece = pieces.AsSpan(first, Math.Min(pieceElements, whole.Length - first));
            source.Read(new WeightName(0, WeightKind.LinearX), ElementType.Float32, first, MemoryMarshal.AsBytes(piece));
        }
        Assert.That(pieces, Is.EqualTo(whole));
    }

    [Test]
    public void Every_type_is_the_rounding_of_the_same_numbers()
    {
        RandomCheckpoint source = new(config, 9);
        byte[] rounded = Poison.Bytes(2 * 500 * 96);
        source.Read(WeightName.Embedding, ElementType.BFloat16, rounded);
        ushort[] expected = [.. Read(source, WeightKind.Embedding).Select(value => ((BFloat16)value).Bits)];
        Assert.That(MemoryMarshal.Cast<byte, ushort>(rounded).SequenceEqual(expected), Is.True);
    }

    [TestCase(2, WeightKind.Lambda)]
    [TestCase(0, WeightKind.Query)]
    [TestCase(4, WeightKind.MlpUp)]
    [TestCase(-1, WeightKind.MlpUp)]
    [TestCase(0, WeightKind.Embedding)]
    public void A_tensor_the_model_lacks_is_refused(int layer, WeightKind kind) =>
        Assert.That(() => new RandomCheckpoint(config, 1).Read(new WeightName(layer, kind), ElementType.Float32, 0, []), Throws.ArgumentException);

    private static float[] Read(RandomCheckpoint source, WeightKind kind, GriffinConfig? shape = null, int layer = 0)
    {
        float[] values = Poison.Floats((int)WeightCatalogue.ElementsOf(shape ?? config, kind));
        source.Read(new WeightName(kind == WeightKind.Embedding ? WeightName.NoLayer : layer, kind), ElementType.Float32, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }
}
