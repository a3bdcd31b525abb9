namespace Griffin.Kernels.Tests.References;

/// <summary>The float64 reference continues the shipped model's prompts as the independent implementation did.</summary>
[TestFixture]
public sealed class AustenTinyReferenceTests
{
    [Test]
    public void Greedy_continuation_matches_token_for_token([Values(0, 1, 2)] int prompt)
    {
        var reference = new GriffinReference(ReferenceFolder.Load(TestData.AustenTiny));
        var (text, ids) = AustenTinyData.Greedy.ElementAt(prompt);
        int[] tokens = [.. AustenTinyData.Encode(text), .. ids];
        var logits = reference.Forward(tokens.AsSpan(0, tokens.Length - 1));
        var start = tokens.Length - ids.Length;
        var greedy = logits[(start - 1)..].Select(row => Array.IndexOf(row, row.Max()));
        Assert.That(greedy, Is.EqualTo(ids));
    }
}
