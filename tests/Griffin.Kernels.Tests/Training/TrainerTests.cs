using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

/// <summary>Whole runs of small models: they learn, repeat themselves bit for bit, survive interruptions, and stop when numbers end.</summary>
[TestFixture]
public sealed class TrainerTests
{
    private const int Vocabulary = 32;
    private const int Length = 24;

    [Test]
    public void Two_layers_overfit_one_batch([Values] bool bf16)
    {
        using var folder = new TempFolder();
        var recipe = Recipe(bf16) with { Steps = 300, PeakLearningRate = 1e-2, WeightDecay = 0, Schedule = ScheduleKind.Cosine, FinalFraction = 0.05 };
        using var trainer = Trainer.Create(TestDevices.Plain, recipe, Source(1), null, folder.Path);
        var loss = double.PositiveInfinity;
        while (!trainer.IsFinished)
            loss = trainer.RunStep().Loss;
        Assert.That(loss, Is.LessThan(0.01));
    }

    [Test]
    public void Equal_runs_give_equal_bits()
    {
        var first = Train(Recipe() with { Steps = 5 }, out var losses);
        var second = Train(Recipe() with { Steps = 5 }, out var again);
        Assert.That(again, Is.EqualTo(losses));
        Assert.That(second, Is.EqualTo(first));
    }

    [Test]
    public void A_resumed_run_gives_the_bits_of_one_that_was_never_interrupted([Values] bool bf16, [Values(1, 3)] int accumulation)
    {
        var recipe = Recipe(bf16) with { Steps = 7, AccumulationSteps = accumulation };
        var expected = Train(recipe, out var losses);
        using var folder = new TempFolder();
        List<double> resumed = [];
        foreach (var stop in new[] { 2, 5, 7 })
        {
            using var trainer = Trainer.Create(TestDevices.Plain, recipe, Source(4), null, folder.Path, resume: true);
            Assert.That(trainer.Step, Is.EqualTo(resumed.Count));
            while (trainer.Step < stop)
                resumed.Add(trainer.RunStep().Loss);
            trainer.SaveCheckpoint();
        }

        Assert.That(resumed, Is.EqualTo(losses));
        Assert.That(Weights(Directory.GetDirectories(Path.Combine(folder.Path, "checkpoints")).Max()!), Is.EqualTo(expected));
    }

    [Test]
    public void Checkpoints_keep_the_newest_and_are_models_themselves()
    {
        using var folder = new TempFolder();
        using (var trainer = Trainer.Create(TestDevices.Plain, Recipe() with { KeepLast = 2 }, Source(2), null, folder.Path))
        {
            for (var i = 0; i < 4; i++)
            {
                trainer.RunStep();
                trainer.SaveCheckpoint();
                trainer.SaveCheckpoint();
            }

            trainer.Export(Path.Combine(folder.Path, "model"));
        }

        var checkpoints = Directory.GetDirectories(Path.Combine(folder.Path, "checkpoints")).Select(Path.GetFileName).Order();
        Assert.That(checkpoints, Is.EqualTo(new[] { "step-00000003", "step-00000004" }));
        using var exported = GriffinModel.Load(TestDevices.Plain, Path.Combine(folder.Path, "model"));
        using var checkpoint = GriffinModel.Load(TestDevices.Plain, Path.Combine(folder.Path, "checkpoints", "step-00000004"));
        Assert.That(exported.Config, Is.EqualTo(checkpoint.Config));
    }

    [Test]
    public void What_is_in_the_way_of_a_run_is_named()
    {
        using var folder = new TempFolder();
        using (var trainer = Trainer.Create(TestDevices.Plain, Recipe(), Source(2), null, folder.Path))
        {
            trainer.RunStep();
            trainer.SaveCheckpoint();
        }

        Assert.That(() => Trainer.Create(TestDevices.Plain, Recipe(), Source(2), null, folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("--resume"));
        Assert.That(
            () => Trainer.Create(TestDevices.Plain, Recipe(), Source(2, "other"), null, folder.Path, resume: true), Throws.TypeOf<CheckpointException>().With.Message.Contains("other data"));
        Assert.That(() => Trainer.Create(TestDevices.Plain, Recipe() with { Rows = 3 }, Source(2), null, folder.Path, resume: true), Throws.ArgumentException);
    }

    [Test]
    public void A_broken_weight_stops_the_run_by_name()
    {
        using var folder = new TempFolder();
        var broken = Path.Combine(folder.Path, "broken");
        CheckpointWriter.Save(new Broken(new RandomCheckpoint(Recipe().Model!, 1), new WeightName(1, WeightKind.MlpUp)), broken, new CheckpointWriteOptions { Storage = ElementType.Float32 });
        var recipe = Recipe() with { Model = null, InitFrom = broken };
        using var trainer = Trainer.Create(TestDevices.Plain, recipe, Source(1), null, folder.Path);
        Assert.That(trainer.RunStep, Throws.TypeOf<TrainingStoppedException>().With.Message.Contains("step 1").And.Message.Contains("model.layers.1.mlp_block.up_proj.weight"));
        Assert.That(trainer.Step, Is.Zero);
    }

    [Test]
    public void An_overflowing_gradient_leaves_the_weights_as_they_were()
    {
        using var folder = new TempFolder();
        var start = Path.Combine(folder.Path, "start");
        // A final norm so large that the logits, and the gradients behind them, overflow; the soft cap is off.
        CheckpointWriter.Save(
            new Broken(new RandomCheckpoint(Recipe().Model! with { LogitsSoftCap = 0 }, 1), WeightName.FinalNorm) { Value = 3e38f }, start, new CheckpointWriteOptions { Storage = ElementType.Float32 });
        using var trainer = Trainer.Create(TestDevices.Plain, Recipe() with { Model = null, InitFrom = start }, Source(1), null, folder.Path);
        Assert.That(trainer.RunStep, Throws.TypeOf<TrainingStoppedException>());
        trainer.SaveCheckpoint();
        Assert.That(Weights(Directory.GetDirectories(Path.Combine(folder.Path, "checkpoints")).Single()), Is.EqualTo(Weights(start)));
    }

    [Test]
    public void Held_out_loss_is_the_mean_over_its_tokens()
    {
        using var folder = new TempFolder();
        using var trainer = Trainer.Create(TestDevices.Plain, Recipe(), Source(1), Source(1), folder.Path);
        for (var i = 0; i < 3; i++)
        {
            var before = trainer.Evaluate();
            Assert.That(trainer.RunStep().Loss, Is.EqualTo(before), "one and the same micro-batch, before the update");
            Assert.That(trainer.Evaluate(), Is.Not.EqualTo(before));
        }
    }

    /// <summary>Training in bfloat16 ends where float32 does.</summary>
    [Test]
    public void Both_precisions_end_at_one_loss()
    {
        // Periodic text with noise: learnable, but not to zero, so that two per cent of the loss mean something.
        var batches = Enumerable.Range(0, 64).Select(i => BatchKit.Pack(Length, [Noisy(2 * i)], [Noisy((2 * i) + 1)])).ToArray();
        var ends = new[] { false, true }.Select(bf16 =>
        {
            using var folder = new TempFolder();
            var recipe = Recipe(bf16) with { Steps = 192, PeakLearningRate = 3e-3, WarmUpSteps = 10, Schedule = ScheduleKind.Cosine };
            using var trainer = Trainer.Create(TestDevices.Plain, recipe, new FixedSource(Vocabulary, batches), new FixedSource(Vocabulary, batches), folder.Path);
            var before = trainer.Evaluate();
            while (!trainer.IsFinished)
                trainer.RunStep();
            var after = trainer.Evaluate();
            Assert.That(after, Is.LessThan(0.6 * before));
            return after;
        }).ToArray();
        Assert.That(ends[1], Is.EqualTo(ends[0]).Within(0.02 * ends[0]));
    }

    [Test]
    public void The_budget_is_what_the_device_lacks([Values] bool bf16, [Values] bool recompute)
    {
        TestDevices.RequireEmulator("a GPU accounts for memory in large blocks, modules and cuBLAS among them");
        using var folder = new TempFolder();
        using var device = TestDevices.OpenPlain();
        var recipe = Recipe(bf16) with { Recompute = recompute };
        var budget = Trainer.BudgetOf(device, recipe.Model!, recipe);
        var (before, _) = device.MemoryInfo;
        using var trainer = Trainer.Create(device, recipe, Source(1), null, folder.Path);
        trainer.RunStep();
        var taken = before - device.MemoryInfo.Free;
        Assert.That(taken, Is.EqualTo(budget.Total).Within(budget.Total / 10));
    }

    [Test]
    public void Recomputation_saves_memory()
    {
        var recipe = Recipe() with { Model = Recipe().Model! with { Layers = 8 } };
        var kept = Trainer.BudgetOf(TestDevices.Plain, recipe.Model!, recipe);
        var recomputed = Trainer.BudgetOf(TestDevices.Plain, recipe.Model!, recipe with { Recompute = true });
        Assert.That(recomputed.Activations, Is.LessThan(0.6 * kept.Activations));
    }

    private static int[] Noisy(int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, Length).Select(i => random.NextDouble() < 0.3 ? random.Next(Vocabulary) : (i * 7) % Vocabulary)];
    }

    private static TrainingRecipe Recipe(bool bf16 = false) => new()
    {
        Model = new GriffinConfig
        {
            Vocabulary = Vocabulary,
            Width = 32,
            Layers = 2,
            Heads = 2,
            MlpWidth = 64,
            Window = 8,
            Pattern = [LayerKind.Recurrent, LayerKind.Attention],
        },
        Rows = 2,
        Context = Length,
        Steps = 20,
        Precision = bf16 ? ElementType.BFloat16 : ElementType.Float32,
        Schedule = ScheduleKind.Constant,
        Seed = 3,
    };

    private static FixedSource Source(int batches, string identity = "fixed") =>
        new(Vocabulary, [.. Enumerable.Range(0, batches).Select(i =>
            BatchKit.Pack(Length, [BatchKit.Document(2 * i, Length, Vocabulary)], [BatchKit.Document((2 * i) + 1, 11, Vocabulary), BatchKit.Document(i, 9, Vocabulary)]))])
        { Identity = identity };

    private static byte[] Train(TrainingRecipe recipe, out List<double> losses)
    {
        using var folder = new TempFolder();
        using var trainer = Trainer.Create(TestDevices.Plain, recipe, Source(4), null, folder.Path);
        losses = [];
        while (!trainer.IsFinished)
            losses.Add(trainer.RunStep().Loss);
        trainer.SaveCheckpoint();
        return Weights(Directory.GetDirectories(Path.Combine(folder.Path, "checkpoints")).Single());
    }

    private static byte[] Weights(string folder) => File.ReadAllBytes(Path.Combine(folder, "model.safetensors"));

    /// <summary>A checkpoint with one element of one tensor replaced.</summary>
    private sealed class Broken(ICheckpointSource source, WeightName broken) : ICheckpointSource
    {
        public float Value { get; init; } = float.NaN;

        public GriffinConfig Config => source.Config;

        public void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
        {
            source.Read(name, type, firstElement, destination);
            if (name == broken && firstElement == 0)
                BitConverter.TryWriteBytes(destination, Value);
        }
    }
}
