using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>The laws of states that are exact to the bit: a state is a value, and no sequence feels its neighbours.</summary>
[TestFixtureSource(nameof(Cases))]
public sealed class StateLawTests(ElementType precision, DecodePath path) : IDisposable
{
    private ModelRun _run = null!;

    public static IEnumerable<object[]> Cases() =>
        from precision in new[] { ElementType.Float32, ElementType.BFloat16 }
        from path in Enum.GetValues<DecodePath>()
        select new object[] { precision, path };

    [OneTimeSetUp]
    public void Load() => _run = new ModelRun(TestDevices.Checked, new OracleData("small").Folder, precision, path);

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Test]
    public void A_fork_goes_on_as_its_origin_does([Values(1, 20)] int prefill)
    {
        using var origin = _run.Session.States.Rent();
        _run.Forward(origin, Tokens(prefill, 1));
        using var fork = origin.Fork();
        Assert.That(fork.Prefix, Is.EqualTo(origin.Prefix));

        var other = _run.Forward(fork, Tokens(7, 2)); // what the fork does leaves the origin alone
        var expected = _run.Forward(origin, Tokens(7, 3));
        using var again = _run.Session.States.Rent();
        _run.Forward(again, Tokens(prefill, 1));
        using var second = again.Fork();
        Close.Exact(_run.Forward(second, Tokens(7, 3)), expected, "fork");
        Close.Exact(_run.Forward(again, Tokens(7, 2)), other, "origin of the fork");
    }

    [Test]
    public void A_copy_replaces_whatever_was_there()
    {
        using var origin = _run.Session.States.Rent();
        using var copy = _run.Session.States.Rent();
        _run.Forward(origin, Tokens(19, 1));
        _run.Forward(copy, Tokens(33, 2));
        copy.CopyFrom(origin);
        Assert.That(copy.NextPosition, Is.EqualTo(19));
        var expected = _run.Steps(origin, Tokens(4, 3));
        Close.Exact(_run.Steps(copy, Tokens(4, 3)), expected);
    }

    [Test]
    public void A_saved_state_is_restored_into_another_session_and_after_more_tokens()
    {
        using var origin = _run.Session.States.Rent();
        _run.Forward(origin, Tokens(23, 1));
        var saved = origin.Save();
        var expected = _run.Forward(origin, Tokens(6, 2));

        origin.Restore(saved);
        Assert.That(origin.NextPosition, Is.EqualTo(23));
        Assert.That(origin.Prefix, Is.EqualTo(Tokens(23, 1)));
        Close.Exact(_run.Forward(origin, Tokens(6, 2)), expected, "rolled back");

        using var elsewhere = new ModelRun(TestDevices.Checked, new OracleData("small").Folder, precision, path);
        using var restored = elsewhere.Session.States.Rent();
        restored.Restore(saved);
        Close.Exact(elsewhere.Forward(restored, Tokens(6, 2)), expected, "another session");
    }

    [Test]
    public void A_slot_used_before_equals_a_new_one([Values] bool poisoned)
    {
        float[] expected;
        using (var state = _run.Session.States.Rent())
            expected = [.. _run.Forward(state, Tokens(9, 1)), .. _run.Steps(state, Tokens(3, 2))];
        using (var used = _run.Session.States.Rent())
        {
            _run.Forward(used, Tokens(40, 3));
            if (poisoned)
                _run.PoisonSlot(used);
        }

        using var reused = _run.Session.States.Rent();
        float[] logits = [.. _run.Forward(reused, Tokens(9, 1)), .. _run.Steps(reused, Tokens(3, 2))];
        Close.Exact(logits, expected);
    }

    [Test]
    public void Neighbours_have_no_effect([Values(1, 6)] int length)
    {
        float[] Run(int seed, bool poisonedNeighbour)
        {
            using var mine = _run.Session.States.Rent();
            using var neighbour = _run.Session.States.Rent();
            _run.ForwardRows([neighbour, mine], [Tokens(12, seed), Tokens(12, 1)]);
            if (poisonedNeighbour)
                _run.PoisonSlot(neighbour);
            var logits = _run.ForwardRows([neighbour, mine], [Tokens(length, seed + 1), Tokens(length, 2)]);
            return logits[(length * _run.Vocabulary)..];
        }

        var expected = Run(100, poisonedNeighbour: false);
        Close.Finite(expected);
        Close.Exact(Run(200, poisonedNeighbour: false), expected, "other tokens beside");
        Close.Exact(Run(200, poisonedNeighbour: true), expected, "NaN beside");
    }

    [Test]
    public void Two_runs_give_the_same_bits()
    {
        var expected = _run.Forward(Tokens(40, 1));
        Close.Exact(_run.Forward(Tokens(40, 1)), expected);
    }

    [Test]
    public void A_state_of_another_shape_is_refused()
    {
        using var golden = ModelRun.FromFolder(TestDevices.Checked, folder => GoldenModel.Write(folder), precision, path);
        using var foreign = golden.Session.States.Rent();
        golden.Forward(foreign, [1, 2, 3]);
        using var state = _run.Session.States.Rent();
        Assert.That(() => state.Restore(foreign.Save()), Throws.ArgumentException);
        Assert.That(() => state.Restore(state.Save()[..^1]), Throws.ArgumentException);
        Assert.That(() => state.CopyFrom(foreign), Throws.ArgumentException);
        Assert.That(() => _run.Forward(foreign, [1]), Throws.ArgumentException);
    }

    [Test]
    public void Drawn_tokens_fork_with_the_state()
    {
        var settings = new SamplerSettings { Temperature = 1.3f, TopK = 40, RepetitionPenalty = 1.2f, Seed = 99 };
        using var origin = _run.Session.States.Rent();
        _run.Forward(origin, Tokens(10, 1));
        using var fork = origin.Fork();
        var saved = origin.Save();
        var expected = Draw(origin, settings);
        Assert.That(Draw(fork, settings), Is.EqualTo(expected), "fork");
        origin.Restore(saved);
        Assert.That(Draw(origin, settings), Is.EqualTo(expected), "restored");
        origin.Restore(saved);
        Assert.That(Draw(origin, settings with { Seed = 100 }), Is.Not.EqualTo(expected), "another seed");
    }

    private int[] Draw(DecodeState state, SamplerSettings settings)
    {
        using var decoder = _run.Session.CreateDecoder([state], [settings]);
        decoder.Feed(0, 7);
        return [.. Enumerable.Range(0, 12).Select(_ => decoder.Step()[0])];
    }

    private static int[] Tokens(int count, int seed) => new CounterRandom((ulong)seed).Integers(count, 0, 256);
}
