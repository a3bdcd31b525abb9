using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>A model that others trained, against their implementation: scores of held-out text at three context lengths, greedy continuations.</summary>
[TestFixture(ElementType.Float32)]
[TestFixture(ElementType.BFloat16)]
public sealed class AustenTinyTests(ElementType precision) : IDisposable
{
    private const int Rows = 8;
    private ModelRun _run = null!;

    [OneTimeSetUp]
    public void Load() => _run = new ModelRun(
        TestDevices.Plain, TestData.AustenTiny, precision, session: new SessionOptions { Slots = Rows, MaxBatch = Rows, ChunkTokens = 2048 });

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [TestCase(256)]
    [TestCase(2048)]
    [TestCase(8192)]
    public void Scores_match(int context)
    {
        var tolerance = precision == ElementType.Float32 ? 0.002 : 0.01;
        var pieces = AustenTinyData.HeldOutText.Chunk(context).ToArray();
        Assert.That(pieces.Sum(piece => piece.Length), Is.EqualTo(AustenTinyData.ScoredBytes));
        double nats = 0;
        foreach (var rows in pieces.Chunk(Math.Max(1, Rows * 256 / context)))
            nats += Score(rows);
        Assert.That(nats / AustenTinyData.ScoredBytes, Is.EqualTo(AustenTinyData.NatsPerToken(context)).Within(tolerance));
    }

    [Test]
    public void Greedy_continuations_match_token_for_token([Values] bool together)
    {
        // The two best logits of some steps are closer than bfloat16 resolves: only the first tokens are sure there.
        var count = precision == ElementType.Float32 ? AustenTinyData.Greedy.First().Ids.Length : 5;
        var cases = AustenTinyData.Greedy.ToArray();
        foreach (var batch in together ? [cases] : cases.Select(single => new[] { single }).ToArray())
        {
            var drawn = _run.Draw([.. batch.Select(item => AustenTinyData.Encode(item.Prompt))], SamplerSettings.Greedy, count);
            for (var i = 0; i < batch.Length; i++)
                Assert.That(drawn[i], Is.EqualTo(batch[i].Ids[..count]), batch[i].Prompt);
        }
    }

    private double Score(byte[][] pieces)
    {
        var states = pieces.Select(_ => _run.Session.States.Rent()).ToArray();
        try
        {
            var targets = pieces.SelectMany(piece => piece.Select(b => b + 3)).ToArray();
            var logits = _run.ForwardRows(states, [.. pieces.Select(piece => (int[])[AustenTinyData.Bos, .. piece[..^1].Select(b => b + 3)])]);
            double nats = 0;
            for (var t = 0; t < targets.Length; t++)
                nats += NegativeLogLikelihood(logits.AsSpan(t * _run.Vocabulary, _run.Vocabulary), targets[t]);
            return nats;
        }
        finally
        {
            foreach (var state in states)
                state.Dispose();
        }
    }

    private static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int target)
    {
        var wide = new double[logits.Length];
        for (var i = 0; i < wide.Length; i++)
            wide[i] = logits[i];
        return ReferenceMath.NegativeLogLikelihood(wide, target);
    }
}
