using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>
/// Steps through the fused kernels against steps through the single ops. What holds for either path (float64 references, state laws, the oracle's
/// logits) is in the tests that take a <see cref="DecodePath"/>.
/// </summary>
[TestFixture]
public sealed class FusedDecodeTests
{
    private const int MostRows = 65; // one more than the fused kernels take
    private static readonly int[] tilesAndPrimes = [1, 2, 7, 8, 9, 13, 16, 17, 31, 32, 33, 61, 64, 65];

    /// <summary>Batch sizes (in bfloat16 every one), each step on the states that the one before left.</summary>
    [TestCase(ElementType.Float32, 1e-4)]
    [TestCase(ElementType.BFloat16, 0.1)]
    public void Every_batch_size_agrees_with_the_single_ops(ElementType precision, double tolerance)
    {
        var counts = precision == ElementType.BFloat16 ? Enumerable.Range(1, MostRows) : tilesAndPrimes;
        SessionOptions sizes = new() { Slots = MostRows, MaxBatch = MostRows, ChunkTokens = 512 };
        var folder = new OracleData("small").Folder;
        using var fused = new ModelRun(TestDevices.Plain, folder, precision, DecodePath.Fused, sizes);
        using var plain = new ModelRun(TestDevices.Plain, folder, precision, DecodePath.Plain, sizes);
        var (mine, theirs) = (Prefilled(fused), Prefilled(plain));
        foreach (var rows in counts)
        {
            int[][] tokens = [.. new CounterRandom((ulong)rows).Integers(rows, 0, 256).Select(token => new[] { token })];
            var actual = fused.ForwardRows(mine[..rows], tokens);
            var expected = plain.ForwardRows(theirs[..rows], tokens);
            Close.Absolute(actual, Array.ConvertAll(expected, value => (double)value), tolerance, $"{rows} rows");
        }

        foreach (var state in mine.Concat(theirs))
            state.Dispose();
    }

    /// <summary>A decoder's graph draws the same tokens, with logits in memory and without, on the shipped model.</summary>
    [Test]
    public void Decoders_draw_the_same_tokens([Values(0f, 0.8f)] float temperature, [Values(1f, 1.3f)] float penalty, [Values(0, 40)] int topK)
    {
        SessionOptions sizes = new() { Slots = 3, MaxBatch = 3 };
        using var fused = new ModelRun(TestDevices.Plain, TestData.AustenTiny, ElementType.Float32, DecodePath.Fused, sizes);
        using var plain = new ModelRun(TestDevices.Plain, TestData.AustenTiny, ElementType.Float32, DecodePath.Plain, sizes);
        SamplerSettings settings = new() { Temperature = temperature, RepetitionPenalty = penalty, TopK = topK, Seed = 5 };
        int[][] prompts = [[1, 72, 101], [1, 84, 104, 101, 32], [1, 65]];
        Assert.That(fused.Draw(prompts, settings, 40), Is.EqualTo(plain.Draw(prompts, settings, 40)));
    }

    /// <summary>
    /// A row draws the same whether its step keeps the logits, which a neighbour's top-k asks for, or not, turn by turn on one set of states: the
    /// two heads follow one rule. Its draws do not depend on the neighbour either, nor on how the row got to its state.
    /// </summary>
    [Test]
    public void Steps_with_logits_and_without_take_turns([Values(0f, 0.9f)] float temperature)
    {
        using var run = new ModelRun(TestDevices.Plain, TestData.AustenTiny, ElementType.Float32, DecodePath.Fused, new SessionOptions { Slots = 2, MaxBatch = 2 });
        int[] Tokens(Func<int, SamplerSettings> settingsOfSecond)
        {
            using var first = run.Session.States.Rent();
            using var second = run.Session.States.Rent();
            List<int> drawn = [];
            for (var round = 0; round < 4; round++)
            {
                using var decoder = run.Session.CreateDecoder([first, second], [new() { Temperature = temperature, Seed = 11 }, settingsOfSecond(round)]);
                decoder.Feed(0, drawn.Count == 0 ? 72 : drawn[^1]);
                decoder.Feed(1, 65);
                for (var step = 0; step < 5; step++)
                    drawn.Add(decoder.Step()[0]);
            }

            return [.. drawn];
        }

        var alone = Tokens(_ => SamplerSettings.Greedy);
        Assert.That(alone.Distinct().Count(), Is.GreaterThan(3));
        Assert.That(Tokens(round => new SamplerSettings { Temperature = 1, TopK = round % 2 }), Is.EqualTo(alone));
        Assert.That(Tokens(_ => new SamplerSettings { Temperature = 1, TopP = 0.9f }), Is.EqualTo(alone));
    }

    /// <summary>Five kernels a layer; beyond them only the step's frame.</summary>
    [Test]
    public void Layers_are_a_few_launches()
    {
        TestDevices.RequireEmulator("counts launches");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var run = new ModelRun(device, new OracleData("small").Folder, ElementType.BFloat16, DecodePath.Fused);
        using var state = run.Session.States.Rent();
        run.Forward(state, [1, 2, 3]);
        device.TakeCounters();
        run.Session.Forward(state, [4], [], LogitsSelection.None, []);
        string[] frame = ["embedding_step", "rms_norm", "sampler_count", "advance"];
        var layers = device.TakeCounters().Select(launch => launch.Kernel).Where(kernel => !frame.Any(name => kernel.StartsWith(name, StringComparison.Ordinal))).ToArray();
        var config = run.Model.Config;
        Assert.That(config.AttentionLayers, Is.Positive);
        Assert.That(layers, Has.Length.EqualTo(5 * (config.RecurrentLayers + config.AttentionLayers)), string.Join(", ", layers));
    }

    /// <summary>
    /// Kernels that begin before the ones ahead of them have ended leave the same bits, on a checked device, which faults where one of them reads
    /// or writes too early; in graphs with logits and without, and in calls outside of a graph.
    /// </summary>
    [TestCase(DecodePath.Fused, ElementType.BFloat16, 1)]
    [TestCase(DecodePath.Fused, ElementType.BFloat16, 9)]
    [TestCase(DecodePath.Fused, ElementType.Float32, 3)]
    [TestCase(DecodePath.Plain, ElementType.BFloat16, 2)]
    public void Dependent_launches_change_nothing(DecodePath path, ElementType precision, int rows)
    {
        (float[] Logits, int[] Tokens) Run(DependentLaunch dependent)
        {
            SessionOptions sizes = new() { Slots = rows, MaxBatch = rows, ChunkTokens = 64, DependentLaunch = dependent };
            using var run = new ModelRun(TestDevices.Checked, new OracleData("small").Folder, precision, path, sizes);
            Assert.That(run.Session.Stream.DependentLaunches, Is.EqualTo(dependent == DependentLaunch.On));
            DecodeState[] states = [.. Enumerable.Range(0, rows).Select(_ => run.Session.States.Rent())];
            run.ForwardRows(states, [.. states.Select((_, row) => new[] { row + 1, row + 2 })]);
            var logits = run.ForwardRows(states, [.. states.Select((_, row) => new[] { row + 3 })]);
            List<int> tokens = [];
            foreach (var topK in new[] { 0, 7 })
            {
                using var decoder = run.Session.CreateDecoder(states, [.. states.Select((_, row) => new SamplerSettings { Temperature = row % 2, TopK = topK })]);
                for (var row = 0; row < rows; row++)
                    decoder.Feed(row, 5 + row);
                for (var step = 0; step < 2; step++)
                    tokens.AddRange(decoder.Step());
            }

            foreach (var state in states)
                state.Dispose();
            return (logits, [.. tokens]);
        }

        var (expected, drawn) = Run(DependentLaunch.Off);
        var (actual, same) = Run(DependentLaunch.On);
        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(same, Is.EqualTo(drawn));
    }

    [Test]
    [AssertNoLeaks]
    public void Steps_take_no_device_memory()
    {
        using var device = TestDevices.OpenPlain();
        using var run = new ModelRun(device, new OracleData("small").Folder, ElementType.BFloat16, DecodePath.Fused);
        using var state = run.Session.States.Rent();
        using var decoder = run.Session.CreateDecoder([state], [SamplerSettings.Greedy]);
        decoder.Feed(0, 1);
        decoder.Step();
        var (free, _) = device.MemoryInfo;
        var handles = LiveHandles.Count;
        for (var i = 0; i < 8; i++)
            decoder.Step();
        run.Steps(state, [6, 7]);
        TestDevices.AssertFree(device, free);
        Assert.That(LiveHandles.Count, Is.EqualTo(handles));
    }

    [Test]
    public void The_device_and_the_options_choose_the_path()
    {
        using var golden = new TempFolder();
        GoldenModel.Write(golden.Path);
        bool Fused(GriffinModelOptions options)
        {
            using var model = GriffinModel.Load(TestDevices.Plain, golden.Path, options);
            return model.Kernels.Fused is not null;
        }

        Assert.Multiple(() =>
        {
            Assert.That(Fused(new GriffinModelOptions()), Is.EqualTo(!TestDevices.IsEmulator), "by itself");
            Assert.That(Fused(new GriffinModelOptions { FusedDecode = FusedDecode.On }), Is.True);
            Assert.That(Fused(new GriffinModelOptions { FusedDecode = FusedDecode.Off }), Is.False);
            Assert.That(Fused(new GriffinModelOptions { BatchInvariant = true }), Is.False);
            Assert.Throws<ArgumentException>(() => Fused(new GriffinModelOptions { BatchInvariant = true, FusedDecode = FusedDecode.On }));
        });
    }

    /// <summary>Options, or a shape, that the fused kernels do not take are refused when half of the model's ops exist.</summary>
    [Test]
    [AssertNoLeaks]
    public void A_refused_path_leaves_nothing_behind([Values] bool batchInvariant)
    {
        using var device = TestDevices.OpenPlain();
        var config = new GriffinConfig { Vocabulary = 8, Width = 6, Layers = 1, Heads = 2, HeadDim = batchInvariant ? 4 : 3, MlpWidth = 4, PartialRotaryFactor = 0, Pattern = GriffinConfig.TransformerPattern };
        GriffinModelOptions options = new() { Precision = ElementType.Float32, FusedDecode = FusedDecode.On, BatchInvariant = batchInvariant };
        Assert.That(() => new ModelKernels(device, config.Validate(), options), Throws.InstanceOf<ArgumentException>().With.Message.Contains(batchInvariant ? "BatchInvariant" : "even"));
    }

    private static DecodeState[] Prefilled(ModelRun run)
    {
        DecodeState[] states = [.. Enumerable.Range(0, MostRows).Select(_ => run.Session.States.Rent())];
        run.ForwardRows(states, [.. states.Select((_, row) => new CounterRandom((ulong)(1000 + row)).Integers(1 + (row % 7), 0, 256))]);
        return states;
    }
}
