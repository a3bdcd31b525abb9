using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>What <c>griffin train</c> prints and writes, on a model and data that are tiny.</summary>
internal sealed class TrainVerbTests
{
    private const string Recipe =
        """
        {
          "model": {"vocab_size": 260, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "attention_window_size": 8},
          "data": ["a.txt"], "validation": ["b.txt"], "context": 16, "rows": 2, "accumulation_steps": 2, "steps": 6, "learning_rate": 0.01,
          "evaluate_every": 3, "checkpoint_every": 4, "keep_last": 1, "log_every": 1
        }
        """;

    [Test]
    public void A_recipe_is_trained_and_everything_is_in_its_place()
    {
        using TempFolder folder = MakeInputs();
        CliRun run = Train(folder, "--json");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        StepReport[] log = [.. TrainingLog.Read(folder.File("run/log.jsonl"))];
        Assert.Multiple(() =>
        {
            Assert.That(run.ErrorLines, Has.Length.EqualTo(1).And.All.StartsWith("device: "));
            Assert.That(run.Json.GetProperty("model").GetString(), Is.EqualTo(folder.File("run/model")));
            Assert.That(run.Json.GetProperty("steps").GetInt32(), Is.EqualTo(6));
            Assert.That(run.Json.GetProperty("tokens").GetInt32(), Is.EqualTo(6 * 64));
            Assert.That(run.Json.GetProperty("loss").GetDouble(), Is.EqualTo(log[^1].Loss));
            Assert.That(run.Json.GetProperty("held_out_loss").GetDouble(), Is.EqualTo(log[^1].HeldOutLoss));
            Assert.That(log.Select(step => step.Step), Is.EqualTo(new[] { 1, 2, 3, 4, 5, 6 }));
            Assert.That(log.Select(step => step.HeldOutLoss is not null), Is.EqualTo(new[] { false, false, true, false, false, true }));
            Assert.That(Directory.GetDirectories(folder.File("run/checkpoints")).Select(Path.GetFileName), Is.EqualTo(new[] { "step-00000006" }));
            Assert.That(File.ReadAllText(folder.File("run/report.html")), Does.Contain("<td>held out</td>").And.Contain("Gradient norm"));
            Assert.That(Directory.GetFiles(folder.File("run/tensorboard")), Has.Length.EqualTo(1));
            Assert.That(RecipeFile.Load(folder.File("run/recipe.json")), Is.EqualTo(RecipeFile.Load(folder.File("r.json"))));
        });
        CliRun generated = CliRun.Of("generate", "--model", folder.File("run/model"), "--prompt", "ab", "--max-tokens", "3", "--device", CliRun.Device, "--json");
        Assert.That(generated.ExitCode, Is.Zero, generated.Error);
        Assert.That(generated.Json.GetProperty("tokens").GetArrayLength(), Is.LessThanOrEqualTo(3));
    }

    [Test]
    public void People_see_the_plan_some_steps_and_the_result()
    {
        using TempFolder folder = MakeInputs();
        CliRun run = Train(folder);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Match($"^{folder.File("run/model")}: 6 steps, 384 tokens, loss [0-9.]+, held out [0-9.]+ nats per token\n$"));
        Assert.That(run.ErrorLines.Select(line => line.Split(':')[0]), Is.EqualTo(
            new[] { "device", "model", "step", "run", "held out", "memory", "step 1/6", "step 3/6", "step 6/6" }));
        Assert.That(run.ErrorLines[^1], Does.Match("^step 6/6: loss [0-9.]+, held out [0-9.]+, [0-9]+ tokens/s, 0 s left$"));
    }

    [Test]
    public void A_dry_run_only_tells()
    {
        using TempFolder folder = MakeInputs();
        CliRun plain = Train(folder, "--dry-run"), json = Train(folder, "--dry-run", "--json", "--rows", "3");
        Assert.That((plain.ExitCode, json.ExitCode), Is.EqualTo((0, 0)), plain.Error + json.Error);
        JsonElement memory = json.Json.GetProperty("memory_bytes");
        Assert.Multiple(() =>
        {
            Assert.That(plain.Output, Does.Contain("\nstep: 64 tokens: 2 rows of 16, 2 micro-batch(es)\nrun: 6 steps, 384 tokens, 0.39 epochs of 992 tokens\nheld out: 300 tokens\nmemory: "));
            Assert.That(json.Json.GetProperty("tokens_per_step").GetInt32(), Is.EqualTo(96));
            Assert.That(json.Json.GetProperty("parameters").GetInt64(), Is.EqualTo(RecipeFile.Load(folder.File("r.json")).Model!.Parameters));
            Assert.That(memory.EnumerateObject().SkipLast(1).Sum(part => part.Value.GetInt64()), Is.EqualTo(memory.GetProperty("total").GetInt64()));
            Assert.That(Directory.Exists(folder.File("run")), Is.False);
        });
    }

    [TestCase(4)]
    [TestCase(5)]
    public void A_run_that_was_interrupted_goes_on_as_if_nothing_had_been(int steps)
    {
        using TempFolder whole = MakeInputs(), parts = MakeInputs();
        Assert.That(Train(whole).ExitCode, Is.Zero);
        StepReport[] expected = [.. TrainingLog.Read(whole.File("run/log.jsonl"))];

        CliRun first = Interrupt(parts, steps);
        Assert.That(first.ExitCode, Is.EqualTo(130));
        Assert.That(first.ErrorLines[^1], Is.EqualTo($"griffin: interrupted; step {steps} is kept in a checkpoint: go on with --resume"));
        Assert.That(TrainingLog.Read(parts.File("run/log.jsonl")), Has.Count.EqualTo(steps));
        AssertFailed($"griffin: {parts.File("run")}: already holds a run: ", Args(parts));

        CliRun second = CliRun.Of("train", "--out", parts.File("run"), "--resume", "--device", CliRun.Device);
        Assert.That(second.ExitCode, Is.Zero, second.Error);
        StepReport[] log = [.. TrainingLog.Read(parts.File("run/log.jsonl"))];
        Assert.That(log.Select(Timeless), Is.EqualTo(expected.Select(Timeless)));
        Assert.That(Directory.GetFiles(parts.File("run/tensorboard")), Has.Length.EqualTo(2));
        foreach (string file in (string[])["model.safetensors", "config.json", "tokenizer_config.json"])
            Assert.That(File.ReadAllBytes(parts.File($"run/model/{file}")), Is.EqualTo(File.ReadAllBytes(whole.File($"run/model/{file}"))), file);

        CliRun third = CliRun.Of("train", "--out", parts.File("run"), "--resume", "--device", CliRun.Device);
        Assert.That((third.ExitCode, third.Output), Is.EqualTo((0, $"{parts.File("run/model")}: 6 steps\n")), "a finished run has nothing left to do");
        Assert.That(TrainingLog.Read(parts.File("run/log.jsonl")), Is.EqualTo(log));
    }

    [Test]
    public void Options_change_the_recipe()
    {
        using TempFolder folder = MakeInputs();
        CliRun run = Train(
            folder, "--steps", "2", "--rows", "1", "--context", "8", "--accumulation-steps", "1", "--precision", "float32", "--schedule", "linear", "--learning-rate", "0.002",
            "--warm-up-steps", "1", "--final-fraction", "0.5", "--beta1", "0.8", "--beta2", "0.9", "--epsilon", "1e-6", "--weight-decay", "0", "--clip-norm", "2", "--seed", "7",
            "--evaluate-every", "0", "--checkpoint-every", "0", "--keep-last", "3", "--log-every", "2", "--recompute", "--lambda", "paper", "--validation-tokens", "8",
            "--validation", folder.File("a.txt"), "--data", folder.File("b.txt"), folder.File("a.txt"), "--tokenizer", TestData.AustenTiny);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        TrainingRecipe recipe = RecipeFile.Load(folder.File("run/recipe.json"));
        Assert.That(recipe, Is.EqualTo(new TrainingRecipe
        {
            Model = recipe.Model,
            Steps = 2,
            Rows = 1,
            Context = 8,
            AccumulationSteps = 1,
            Precision = ElementType.Float32,
            Schedule = ScheduleKind.Linear,
            PeakLearningRate = 0.002,
            WarmUpSteps = 1,
            FinalFraction = 0.5,
            Beta1 = 0.8,
            Beta2 = 0.9,
            Epsilon = 1e-6,
            WeightDecay = 0,
            ClipNorm = 2,
            Seed = 7,
            EvaluateEvery = 0,
            CheckpointEvery = 0,
            KeepLast = 3,
            LogEvery = 2,
            Recompute = true,
            Lambda = LambdaRule.Paper,
            ValidationTokens = 8,
            Validation = [folder.File("a.txt")],
            Data = [folder.File("b.txt"), folder.File("a.txt")],
            Tokenizer = TestData.AustenTiny,
        }));
    }

    [Test]
    public void Weights_may_come_from_a_checkpoint()
    {
        using TempFolder folder = MakeInputs();
        Assert.That(Train(folder, "--steps", "1").ExitCode, Is.Zero);
        CliRun run = CliRun.Of(
            "train", "--init-from", folder.File("run/model"), "--data", folder.File("b.txt"), "--context", "8", "--rows", "1", "--steps", "1", "--out", folder.File("second"), "--device", CliRun.Device);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output, Does.StartWith($"{folder.File("second/model")}: 1 steps, 8 tokens, loss "));
        Assert.That(File.Exists(folder.File("second/model/tokenizer_config.json")));
    }

    [Test]
    public void A_run_that_loses_its_footing_says_where_and_leaves_its_log()
    {
        using TempFolder folder = MakeInputs();
        CliRun run = Train(folder, "--learning-rate", "1e30");
        Assert.That((run.ExitCode, run.Output), Is.EqualTo((1, "")));
        Assert.That(run.ErrorLines[^1], Does.Match("^griffin: step [2-6]: the (loss|gradient)"));
        Assert.That(TrainingLog.Read(folder.File("run/log.jsonl")).Select(step => step.Loss), Is.Not.Empty.And.All.Matches<double>(double.IsFinite));
        Assert.That(File.Exists(folder.File("run/report.html")));
        Assert.That(Directory.Exists(folder.File("run/model")), Is.False);
    }

    [Test]
    public void Each_mistake_has_its_line()
    {
        using TempFolder folder = MakeInputs();
        File.WriteAllText(folder.File("bad.json"), """{"step": 3}""");
        File.WriteAllText(folder.File("empty.txt"), "");
        Assert.Multiple(() =>
        {
            CliRun.AssertRefused(2, "--out is missing: name a folder for the run", "train", "--config", folder.File("r.json"));
            CliRun.AssertRefused(2, "--resume needs --out, the folder of the run", "train", "--resume");
            CliRun.AssertRefused(2, "model and init_from are missing: one of them says what to train (see griffin train --help)", "train", "--out", folder.File("x"));
            CliRun.AssertRefused(2, $"{folder.File("r.json")}: warm_up_steps is 7: more than the 6 steps of the run", [.. Args(folder), "--warm-up-steps", "7"]);
            CliRun.AssertRefused(2, "give --size or --init-from, not both", [.. Args(folder), "--size", "hawk-100m", "--init-from", "x"]);
            CliRun.AssertRefused(2, "--learning-rate is 'x': a number from 0 is needed", [.. Args(folder), "--learning-rate", "x"]);
            CliRun.AssertRefused(2, "--beta1 is '1.5': a number from 0 to 1 is needed", [.. Args(folder), "--beta1", "1.5"]);
            CliRun.AssertRefused(1, $"{folder.File("empty.txt")}: holds no token to train on or to score: leave the file out", [.. Args(folder), "--data", folder.File("empty.txt")]);
            CliRun.AssertRefused(1, $"{folder.File("a.txt")}: holds 1001 tokens, fewer than one row of 2000: give more data or a smaller context", [.. Args(folder), "--context", "2000"]);
            AssertFailed($"griffin: {folder.File("bad.json")}: the key 'step' is not known; there are model, ", "train", "--config", folder.File("bad.json"), "--out", folder.File("x"));
            Assert.That(Directory.Exists(folder.File("x")), Is.False);
        });
    }

    private static string[] Args(TempFolder folder) => ["train", "--config", folder.File("r.json"), "--out", folder.File("run"), "--device", CliRun.Device];

    private static CliRun Train(TempFolder folder, params string[] more) => CliRun.Of([.. Args(folder), .. more]);

    private static void AssertFailed(string line, params string[] args)
    {
        CliRun run = CliRun.Of(args);
        Assert.That((run.ExitCode, run.Output), Is.EqualTo((1, "")));
        Assert.That(run.ErrorLines[^1], Does.StartWith(line));
    }

    /// <summary>Runs until a step's checkpoint is due to be kept, as Ctrl-C does.</summary>
    private static CliRun Interrupt(TempFolder folder, int steps)
    {
        using CancellationTokenSource cancelled = new();
        using InterruptingWriter error = new($"step {steps}/", cancelled);
        return CliRun.OfError([.. Args(folder), "--evaluate-every", "1"], error, cancelled.Token);
    }

    private static StepReport Timeless(StepReport step) => step with { Seconds = 0, TokensPerSecond = 0, HeldOutLoss = step.Step % 3 == 0 ? step.HeldOutLoss : null };

    private static TempFolder MakeInputs()
    {
        TempFolder folder = new();
        byte[] text = File.ReadAllBytes(TestData.Path("persuasion-65536.txt"));
        File.WriteAllBytes(folder.File("a.txt"), text[..1000]);
        File.WriteAllBytes(folder.File("b.txt"), text[1000..1300]);
        File.WriteAllText(folder.File("r.json"), Recipe);
        return folder;
    }
}
