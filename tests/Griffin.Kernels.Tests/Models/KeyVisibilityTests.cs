using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Which later outputs of one attention layer a token reaches: exactly those that the rule says, and the capacity of a layer without a window.</summary>
[TestFixture]
public sealed class KeyVisibilityTests
{
    [Test]
    public void A_token_reaches_exactly_the_queries_that_may_see_it([Values] bool windowRule, [Values(0, 1, 3)] int chunk, [Values] DecodePath path)
    {
        using var run = ModelRun.FromFolder(
            TestDevices.Checked, folder => FamilyModel.OneAttention.Write(folder, windowRule), ElementType.Float32, path);
        var tokens = new CounterRandom(1).Integers(GoldenModel.Window + 5, 0, GoldenModel.Vocabulary);
        int[] changed = [(tokens[0] + 1) % GoldenModel.Vocabulary, .. tokens[1..]];
        var (before, after) = (run.Forward(tokens, chunk: chunk), run.Forward(changed, chunk: chunk));

        var reached = Enumerable.Range(0, tokens.Length).Where(t => !Row(before, t).SequenceEqual(Row(after, t)));
        Assert.That(reached, Is.EqualTo(Enumerable.Range(0, GoldenModel.Window + (windowRule ? 0 : 1))));
    }

    [Test]
    public void A_layer_without_a_window_refuses_more_tokens_than_it_holds()
    {
        using var run = ModelRun.FromFolder(
            TestDevices.Checked, folder => FamilyModel.Transformer.Write(folder), ElementType.Float32, session: new SessionOptions { GlobalCapacity = 8 });
        using var state = run.Session.States.Rent();
        run.Forward(state, [1, 2, 3, 4, 5, 6, 7]);
        Assert.That(() => run.Forward(state, [8, 9]), Throws.ArgumentException);
        var logits = run.Forward(state, [8]);
        var expected = FamilyModel.Transformer.Reference().Forward([1, 2, 3, 4, 5, 6, 7, 8])[7];
        Close.Absolute(logits, expected, 1e-4, "the last token that fits");
    }

    private static float[] Row(float[] logits, int row) => logits[(row * GoldenModel.Vocabulary)..((row + 1) * GoldenModel.Vocabulary)];
}
