using System.Runtime.InteropServices;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Text;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>What a session does besides numbers: plans for every batch, penalties, failures on the way, cancellation.</summary>
public sealed class SessionTests
{
    private static readonly string folder = new OracleData("small").Folder;

    /// <summary>Fewer rows are split more: the plan must hold the worst of all batches.</summary>
    [TestCase(1)]
    [TestCase(9)]
    [TestCase(11)]
    public void The_attention_workspace_holds_every_smaller_batch(int most)
    {
        DecodeAttention op = new(TestDevices.Checked, ElementType.BFloat16, 10, 256);
        Assert.That(Enumerable.Range(1, most).Select(rows => op.WorkspaceBytes(rows, 2049)), Is.Ordered);
    }

    /// <summary>A penalty so strong that no token of the document is drawn again, until another document starts.</summary>
    [Test]
    public void Penalties_follow_the_document_that_was_read()
    {
        using var model = GriffinModel.Load(TestDevices.Checked, folder, new GriffinModelOptions { Precision = ElementType.Float32 });
        using var session = model.CreateSession(new SessionOptions { Slots = 2 });
        var settings = new SamplerSettings { RepetitionPenalty = 1e6f };
        int[] prompt = [2, 7, 9, 11];

        int[] Draw(DecodeState state, int count)
        {
            using var decoder = session.CreateDecoder([state], [settings]);
            decoder.Feed(0, prompt[^1]);
            return [.. Enumerable.Range(0, count).Select(_ => decoder.Step()[0])];
        }

        using var fresh = session.States.Rent();
        session.Forward(fresh, prompt.AsSpan(..^1), [], LogitsSelection.None, []);
        var expected = Draw(fresh, 12);
        Assert.That(expected.Concat(prompt), Is.Unique, "no token twice");

        // Another document first; the same document then starts by its position alone, in the same call.
        using var packed = session.States.Rent();
        session.Forward(packed, [.. expected, .. prompt[..^1]], [.. Enumerable.Range(0, 12), 0, 1, 2], LogitsSelection.None, []);
        Assert.That(packed.Prefix, Is.EqualTo(prompt[..^1]));
        Assert.That(Draw(packed, 12), Is.EqualTo(expected));
    }

    /// <summary>A drawn token that another replaces was never read: it may be drawn again.</summary>
    [Test]
    public void A_token_that_was_replaced_is_not_penalised()
    {
        using var model = GriffinModel.Load(TestDevices.Checked, folder, new GriffinModelOptions { Precision = ElementType.Float32 });
        using var session = model.CreateSession();
        using var state = session.States.Rent();
        using var decoder = session.CreateDecoder([state], [new SamplerSettings { RepetitionPenalty = 1e6f }]);

        decoder.Feed(0, 2);
        var drawn = decoder.Step()[0];
        decoder.Feed(0, 3); // in place of what was drawn
        decoder.Step();
        Assert.That(state.Prefix, Is.EqualTo(new[] { 2, 3 }));
        Assert.That(drawn, Is.Not.EqualTo(3));
        var slot = new byte[session.States.Samplers.BytesPerSlot];
        session.States.Samplers.Read(state.Slot, slot);
        var counts = MemoryMarshal.Cast<byte, int>(slot.AsSpan(SamplerSettings.ByteCount))[..model.Config.Vocabulary].ToArray();
        Assert.That(counts.Select((count, token) => (count, token)).Where(pair => pair.count != 0), Is.EqualTo(new[] { (1, 2), (1, 3) }));

        state.Reset();
        decoder.Feed(0, 2);
        Assert.That(decoder.Step()[0], Is.EqualTo(drawn), "the settings outlive a reset, the counts do not");
    }

    /// <summary>Settings lie in the state's slot: each decoder of a state puts its own there before it draws.</summary>
    [Test]
    public void Decoders_of_one_state_draw_by_their_own_settings([Values(0, 40)] int topK)
    {
        using var model = GriffinModel.Load(TestDevices.Checked, folder, new GriffinModelOptions { Precision = ElementType.Float32 });
        using var session = model.CreateSession(new SessionOptions { Slots = 1 });
        int[] Draw(bool another)
        {
            using var state = session.States.Rent();
            using var decoder = session.CreateDecoder([state], [new SamplerSettings { Temperature = 1, TopK = topK, Seed = 5 }]);
            decoder.Feed(0, 7);
            List<int> drawn = [decoder.Step()[0]];
            using var other = another ? session.CreateDecoder([state], [SamplerSettings.Greedy]) : null;
            for (var step = 0; step < 8; step++)
                drawn.Add(decoder.Step()[0]);
            return [.. drawn];
        }

        Assert.That(Draw(another: true), Is.EqualTo(Draw(another: false)));
    }

    [Test]
    [AssertNoLeaks]
    public void A_session_that_does_not_fit_leaves_nothing_behind()
    {
        TestDevices.RequireEmulator("needs a device with little memory");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { MemoryBytes = 64L << 20 });
        using var model = GriffinModel.Load(device, folder);
        var free = device.MemoryInfo.Free;
        Assert.That(() => model.CreateSession(new SessionOptions { Slots = 100_000 }), Throws.InstanceOf<GpuException>());
        Assert.That(() => model.CreateSession(new SessionOptions { ChunkTokens = 1_000_000 }), Throws.InstanceOf<GpuException>());
        Assert.That(device.MemoryInfo.Free, Is.EqualTo(free));
        using var session = model.CreateSession();
    }

    [Test]
    public void A_broken_kernel_of_the_users_does_not_stop_a_model_from_loading()
    {
        using var device = TestDevices.OpenPlain();
        var broken = new KernelSpec(KernelSource.FromText("broken.cu", "this is no kernel"), "nothing", []);
        Assert.That(async () => await device.Compiler.Request(broken), Throws.InstanceOf<KernelCompilationException>());
        using var model = GriffinModel.Load(device, folder);
        Assert.That(model.WeightBytes, Is.Positive);
    }

    [Test]
    public void A_long_prompt_can_be_cancelled()
    {
        using var model = GriffinModel.Load(TestDevices.Plain, folder);
        using var session = model.CreateSession(new SessionOptions { ChunkTokens = 8 });
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        var generation = new Generator(session).Start(Enumerable.Repeat(5, 1000).ToArray(), new GenerationOptions { MaxTokens = 3 });
        Assert.That(
            async () =>
            {
                await foreach (var _ in generation.WithCancellation(cancelled.Token)) { }
            },
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(generation.FinishReason, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(generation.PrefillTime, Is.EqualTo(TimeSpan.Zero), "not even the prompt ended");
        Assert.That(session.States.FreeSlots, Is.EqualTo(1));
    }

    /// <summary>Seventeen tokens in pieces of 8: sixteen are read in two pieces, the last one with the first step.</summary>
    [TestCase(17, new[] { 8, 17 })]
    [TestCase(18, new[] { 8, 16, 18 })]
    [TestCase(3, new[] { 3 })]
    [TestCase(1, new[] { 1 })]
    public void The_prompt_tells_how_much_of_it_has_been_read(int length, int[] expected)
    {
        using var model = GriffinModel.Load(TestDevices.Plain, folder);
        using var session = model.CreateSession(new SessionOptions { ChunkTokens = 8 });
        var reports = new Reports();
        var generation = new Generator(session).Start(Enumerable.Repeat(5, length).ToArray(), new GenerationOptions { MaxTokens = 2 }, reports);
        Assert.That(reports.Seen, Is.Empty, "nothing runs before it is enumerated");
        Assert.That(generation.ToBlockingEnumerable().Count(), Is.EqualTo(2));
        Assert.That(reports.Seen, Is.EqualTo(expected));
    }

    [Test]
    public void A_generation_can_be_enumerated_again()
    {
        using var model = GriffinModel.Load(TestDevices.Plain, folder);
        using var session = model.CreateSession();
        var generation = new Generator(session).Start(new[] { 2, 5, 6 }, new GenerationOptions { MaxTokens = 6 });
        var first = generation.ToBlockingEnumerable().ToArray();
        Assert.That(first, Has.Length.EqualTo(6));
        Assert.That(generation.ToBlockingEnumerable(), Is.EqualTo(first));
        Assert.That(generation.FinishReason, Is.EqualTo(FinishReason.Length));
    }

    /// <summary>A saved state is refused by a model of another shape whose slots happen to be as large.</summary>
    [Test]
    public void A_saved_state_of_another_shape_is_refused()
    {
        var config = ConfigFile.Read(Path.Combine(folder, "config.json"));
        using var model = GriffinModel.Load(TestDevices.Plain, new RandomCheckpoint(config, 1));
        using var other = GriffinModel.Load(TestDevices.Plain, new RandomCheckpoint(config with { Vocabulary = config.Vocabulary + 4 }, 1));
        using var session = model.CreateSession();
        using var foreign = other.CreateSession();
        using var state = session.States.Rent();
        using var target = foreign.States.Rent();
        var saved = state.Save();
        Assert.That(() => target.Restore(saved), Throws.ArgumentException.With.Message.Contains("another shape"));
        Assert.That(() => state.Restore(saved.AsSpan(..^1)), Throws.ArgumentException.With.Message.Contains("truncated"));
    }

    private sealed class Reports : IProgress<int>
    {
        public List<int> Seen { get; } = [];

        public void Report(int value) => Seen.Add(value);
    }
}
