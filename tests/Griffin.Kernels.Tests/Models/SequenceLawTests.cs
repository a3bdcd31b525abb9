using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>
/// What must not matter: how a sequence is cut into calls and documents into rows, padding, and anything before a document's start.
/// Every case is held against the float64 reference, for the whole family.
/// </summary>
[TestFixtureSource(nameof(Families))]
public sealed class SequenceLawTests(object family, DecodePath path) : IDisposable
{
    private const double Tolerance = 1e-4;
    private readonly FamilyModel _family = (FamilyModel)family;
    private ModelRun _run = null!;

    public static IEnumerable<object[]> Families() =>
        from family in new[] { FamilyModel.Griffin, FamilyModel.Hawk, FamilyModel.Transformer }
        from path in Enum.GetValues<DecodePath>()
        select new object[] { family, path };

    [OneTimeSetUp]
    public void Load() => _run = ModelRun.FromFolder(
        TestDevices.Checked, folder => _family.Write(folder), ElementType.Float32, path,
        new SessionOptions { Slots = 4, MaxBatch = 4, ChunkTokens = 64, GlobalCapacity = 64 });

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Test]
    public void Prefill_then_steps_equals_one_call([Values(1, 2, 3, 4, 6, 7, 14)] int prefill)
    {
        var tokens = Tokens(prefill + 5, seed: 1);
        using var state = _run.Session.States.Rent();
        float[] logits = [.. _run.Forward(state, tokens[..prefill]), .. _run.Steps(state, tokens[prefill..])];
        Close.Absolute(logits, Expected(tokens), Tolerance);
    }

    [Test]
    public void Any_chunking_equals_one_call([Values(1, 2, 3, 4, 5, 7, 16, 63)] int chunk)
    {
        var tokens = Tokens(64, seed: 2);
        Close.Absolute(_run.Forward(tokens, chunk: chunk), Expected(tokens), Tolerance);
    }

    [Test]
    public void Packed_documents_equal_separate_ones([Values(0, 1, 3, 5)] int chunk)
    {
        int[] lengths = [1, 5, 2, 9, 3, 4];
        var documents = lengths.Select((length, i) => Tokens(length, seed: 10 + i)).ToArray();
        using var state = _run.Session.States.Rent();
        var logits = _run.Forward(state, [.. documents.SelectMany(d => d)], [.. documents.SelectMany(d => Enumerable.Range(0, d.Length))], chunk);
        Close.Absolute(logits, [.. documents.SelectMany(Expected)], Tolerance);
        Assert.That(state.Prefix, Is.EqualTo(documents[^1]));
    }

    [Test]
    public void Rows_of_different_length_equal_separate_calls()
    {
        var rows = new[] { Tokens(7, 20), Tokens(1, 21), Tokens(13, 22), Tokens(4, 23) };
        var states = rows.Select(_ => _run.Session.States.Rent()).ToArray();
        try
        {
            Close.Absolute(_run.ForwardRows(states, rows), [.. rows.SelectMany(Expected)], Tolerance, "first call");

            // and they go on together, one token each and then several
            int[][] more = [Tokens(1, 30), Tokens(1, 31), Tokens(1, 32), Tokens(1, 33)];
            int[][] last = [Tokens(5, 40), Tokens(2, 41), Tokens(1, 42), Tokens(6, 43)];
            Close.Absolute(_run.ForwardRows(states, more), Continuation(rows, more), Tolerance, "step");
            Close.Absolute(_run.ForwardRows(states, last), Continuation([.. rows.Zip(more, (a, b) => (int[])[.. a, .. b])], last), Tolerance, "last call");
        }
        finally
        {
            foreach (var state in states)
                state.Dispose();
        }
    }

    [Test]
    public void Padding_has_no_effect([Values(0, 1, 3, 6)] int left, [Values(0, 2)] int right)
    {
        var tokens = Tokens(9, seed: 3);
        using var state = _run.Session.States.Rent();
        int[] padded = [.. new int[left], .. tokens, .. new int[right]];
        int[] positions = [.. Enumerable.Repeat(-1, left), .. Enumerable.Range(0, tokens.Length), .. Enumerable.Repeat(-1, right)];
        var logits = _run.Forward(state, padded, positions);
        var vocabulary = _run.Vocabulary;
        Close.Absolute(logits[(left * vocabulary)..((left + tokens.Length) * vocabulary)], Expected(tokens), Tolerance);

        var next = Tokens(3, seed: 4);
        Close.Absolute(_run.Forward(state, next), Continuation([tokens], [next]), Tolerance, "what follows");
    }

    [Test]
    public void A_dirty_slot_has_no_effect_on_a_new_document([Values] bool stepByStep)
    {
        var tokens = Tokens(11, seed: 5);
        using var state = _run.Session.States.Rent();
        _run.Forward(state, Tokens(20, seed: 6));
        _run.PoisonSlot(state);
        state.Reset();
        var logits = stepByStep ? _run.Steps(state, tokens) : _run.Forward(state, tokens, chunk: 4);
        Close.Absolute(logits, Expected(tokens), Tolerance);
    }

    [Test]
    public void A_document_that_starts_by_position_needs_no_reset([Values] bool stepByStep)
    {
        var tokens = Tokens(8, seed: 7);
        using var state = _run.Session.States.Rent();
        _run.Forward(state, Tokens(20, seed: 8));
        _run.PoisonSlot(state);
        float[] logits = stepByStep
            ? [.. Enumerable.Range(0, 8).SelectMany(i => _run.Forward(state, [tokens[i]], [i]))]
            : _run.Forward(state, tokens, [.. Enumerable.Range(0, 8)]);
        Close.Absolute(logits, Expected(tokens), Tolerance);
    }

    [Test]
    public void A_fresh_state_may_start_at_any_position([Values(1, 2, 50, 30_000_000)] int start)
    {
        if (_family.Window is null && start > 50)
        {
            using var full = _run.Session.States.Rent();
            Assert.That(() => _run.Forward(full, [1], [start]), Throws.ArgumentException, "beyond the capacity");
            return;
        }

        var tokens = Tokens(6, seed: 9);
        int[] positions = [.. Enumerable.Range(start, tokens.Length)];
        var reference = _family.Reference();
        var expected = reference.Forward(tokens, positions, reference.NewState()).SelectMany(l => l).ToArray();
        using var state = _run.Session.States.Rent();
        Close.Absolute(_run.Forward(state, tokens, positions), expected, Tolerance);
    }

    [Test]
    public void Nothing_happens_on_empty_calls()
    {
        using var state = _run.Session.States.Rent();
        Assert.That(_run.Forward(state, []), Is.Empty);
        Assert.That(state.NextPosition, Is.Zero);
        Assert.That(_run.ForwardRows([], []), Is.Empty);
        var tokens = Tokens(3, seed: 11);
        Close.Absolute(_run.ForwardRows([state], [tokens]), Expected(tokens), Tolerance);
    }

    private static int[] Tokens(int count, int seed) => new CounterRandom((ulong)seed).Integers(count, 0, GoldenModel.Vocabulary);

    private double[] Expected(int[] tokens) => [.. _family.Reference().Forward(tokens).SelectMany(l => l)];

    private double[] Continuation(int[][] before, int[][] rows)
    {
        var reference = _family.Reference();
        return
        [
            .. before.Zip(rows).SelectMany(pair =>
                reference.Forward((int[])[.. pair.First, .. pair.Second])[pair.First.Length..].SelectMany(l => l)),
        ];
    }
}
