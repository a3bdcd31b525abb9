using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Tests.Models;

/// <summary>The model that the repository ships, which <c>griffin train</c> made: its held-out scores are those it is published with, and better than its elder's.</summary>
[TestFixture]
public sealed class ShippedModelTests
{
    [TestCase(256)]
    [TestCase(2048)]
    public void It_scores_as_published_and_better_than_the_independent_model(int context)
    {
        using var scores = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Shipped, "scores.json")));
        var published = scores.RootElement.GetProperty($"context_{context}").GetProperty("nats_per_token").GetDouble();
        using var model = GriffinModel.Load(TestDevices.Plain, TestData.Shipped, new GriffinModelOptions { Precision = ElementType.BFloat16 });
        using TextScorer scorer = new(model, context);
        var text = AustenTinyData.HeldOutText;
        var nats = scorer.Score([.. text.Select(b => b + 3)]) / text.Length;
        Assert.That(nats, Is.EqualTo(published).Within(0.01));
        Assert.That(nats, Is.LessThan(AustenTinyData.NatsPerToken(context)));
    }

    [Test]
    public void It_has_at_most_three_million_parameters()
    {
        using var reader = CheckpointReader.Open(TestData.Shipped);
        Assert.That(reader.Config.Parameters, Is.LessThanOrEqualTo(3_000_000));
        Assert.That(reader.StoredType, Is.EqualTo(ElementType.BFloat16));
    }
}
