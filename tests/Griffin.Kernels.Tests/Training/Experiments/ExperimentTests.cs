using System.Text.Json;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Experiments;
using Griffin.Kernels.Training.Logging;
using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Tests.Training.Experiments;

/// <summary>The paper's experiments at their tiny scale: files, numbers, resumption.</summary>
internal sealed class ExperimentTests
{
    private const string Text = "persuasion-65536.txt";

    private static IEnumerable<string> Names => Experiment.All.Select(experiment => experiment.Name);

    [TestCaseSource(nameof(Names))]
    public void Writes_its_table_and_its_page(string name)
    {
        using TempFolder folder = new();
        Experiment experiment = Find(name);
        ExperimentResult result = Run(experiment, folder.Path);
        JsonElement json = JsonDocument.Parse(File.ReadAllBytes(folder.File("result.json"))).RootElement;
        string[] csv = File.ReadAllLines(folder.File("result.csv"));
        string page = File.ReadAllText(folder.File("report.html"));
        Assert.Multiple(() =>
        {
            Assert.That(result.Rows.Select(row => row.Family).Distinct(), Is.EqualTo(experiment.UsualFamilies));
            Assert.That(result.Rows.SelectMany(row => row.Values), Has.All.Matches<double>(double.IsFinite));
            Assert.That(json.GetProperty("experiment").GetString(), Is.EqualTo(name));
            Assert.That(json.GetProperty("facts").GetProperty("scale").GetString(), Does.StartWith("tiny"));
            Assert.That(json.GetProperty("facts").GetProperty("device").GetString(), Is.EqualTo(TestDevices.Plain.Description));
            Assert.That(json.GetProperty("rows").GetArrayLength(), Is.EqualTo(result.Rows.Count));
            Assert.That(csv, Has.Length.EqualTo(result.Rows.Count + 1));
            Assert.That(page, Does.Contain($"<h1>{experiment.Title}</h1>").And.Contain("<svg").And.Contain("tiny: ").And.Not.Contain("NaN"));
        });
        for (int row = 0; row < result.Rows.Count; row++)
        {
            string[] cells = csv[row + 1].Split(',');
            Assert.That(cells[0], Is.EqualTo(json.GetProperty("rows")[row].GetProperty("family").GetString()));
            for (int column = 0; column < experiment.Columns.Count; column++)
            {
                Assert.That(double.Parse(cells[column + 1], System.Globalization.CultureInfo.InvariantCulture), Is.EqualTo(result.Rows[row].Values[column]));
                Assert.That(json.GetProperty("rows")[row].GetProperty(experiment.Columns[column].Key).GetDouble(), Is.EqualTo(result.Rows[row].Values[column]));
            }
        }
    }

    [Test]
    public void A_task_s_numbers_are_those_of_its_model()
    {
        using TempFolder folder = new();
        ExperimentResult result = Run(Find("induction-heads"), folder.Path, ModelFamily.Hawk);
        IReadOnlyList<StepReport> log = TrainingLog.Read(folder.File("parts/hawk/log.jsonl"));
        using GriffinModel model = GriffinModel.Load(TestDevices.Plain, folder.File("parts/hawk/model"));
        Assert.That(model.Config.Pattern, Is.EqualTo(GriffinConfig.HawkPattern));
        foreach ((ResultRow row, int length) in result.Rows.Zip([16, 32]))
        {
            TaskScore score = TaskAccuracy.Score(model, new InductionHeads(new TaskSettings(1, length) { Split = TaskSplit.HeldOut }), 10);
            Assert.That(row.Values, Is.EqualTo(new[]
            {
                model.Config.Parameters, 4, 16, length, 10, score.Accuracy, score.Right / 10.0, log[^1].Loss, log.Sum(step => step.Seconds),
            }));
        }
    }

    [Test]
    public void Length_extrapolation_scores_the_held_out_tenth_with_the_trained_model()
    {
        using TempFolder folder = new();
        ExperimentResult result = Run(Find("length-extrapolation"), folder.Path, ModelFamily.Griffin);
        byte[] text = File.ReadAllBytes(TestData.Path(Text));
        int[] heldOut = new ByteTokenizer().Encode(text.AsSpan(text.Length - text.Length / 10, 256));
        using GriffinModel model = GriffinModel.Load(TestDevices.Plain, folder.File("parts/griffin/model"));
        foreach ((ResultRow row, int length) in result.Rows.Zip([16, 32, 64, 128]))
        {
            using TextScorer scorer = new(model, length);
            Assert.That(row.Values.Take(6), Is.EqualTo(new[] { model.Config.Parameters, 4, 16, length, 256, scorer.Score(heldOut) / 256 }));
        }
    }

    [Test]
    public void Scaling_counts_operations_and_takes_the_last_evaluation()
    {
        using TempFolder folder = new();
        ExperimentResult result = Run(Find("scaling"), folder.Path, ModelFamily.Mqa);
        Assert.That(result.Rows.Select(row => row.Values[0]), Is.EqualTo(new[] { 16.0, 24.0 }));
        foreach (ResultRow row in result.Rows)
        {
            string part = folder.File($"parts/mqa-{row.Values[0]}x3");
            using GriffinModel model = GriffinModel.Load(TestDevices.Plain, System.IO.Path.Combine(part, "model"));
            IReadOnlyList<StepReport> log = TrainingLog.Read(System.IO.Path.Combine(part, "log.jsonl"));
            double tokens = 32.0 * log.Count;
            Assert.That(row.Values.Skip(2).Take(4), Is.EqualTo(new[] { model.Config.Parameters, tokens, tokens * ModelFlops.PerToken(model.Config, 16), log[^1].HeldOutLoss!.Value }));
        }
    }

    [Test]
    public void The_seed_decides_the_numbers()
    {
        using TempFolder one = new(), same = new(), other = new();
        Experiment experiment = Find("selective-copying");
        double[] losses = [.. new[] { (one, 3UL), (same, 3UL), (other, 4UL) }.Select(run =>
            ExperimentRunner.Run(TestDevices.Plain, experiment, Settings(experiment, run.Item1.Path, ModelFamily.Griffin) with { Seed = run.Item2 }).Rows[0].Values[7])];
        Assert.That(losses[1], Is.EqualTo(losses[0]));
        Assert.That(losses[2], Is.Not.EqualTo(losses[0]));
    }

    [TestCase("griffin", 2)]
    [TestCase("hawk", 1)]
    public void An_interrupted_run_goes_on_and_does_nothing_twice(string at, int step)
    {
        using TempFolder whole = new(), parts = new();
        Experiment experiment = Find("induction-heads");
        ExperimentResult expected = Run(experiment, whole.Path);
        using CancellationTokenSource cancelled = new();
        Assert.That(
            () => ExperimentRunner.Run(TestDevices.Plain, experiment, Settings(experiment, parts.Path), progress => Cancel(progress), cancelled.Token),
            Throws.InstanceOf<OperationCanceledException>());

        List<string> done = [];
        ExperimentResult result = ExperimentRunner.Run(TestDevices.Plain, experiment, Settings(experiment, parts.Path), progress => done.Add($"{progress.Part} {progress.Step?.Step}"));
        Assert.That(result.Rows.Select(Timeless), Is.EqualTo(expected.Rows.Select(Timeless)));
        Assert.That(done.TakeWhile(line => !line.StartsWith("mqa", StringComparison.Ordinal)), Is.EqualTo(at == "griffin"
            ? new[] { "griffin ", "griffin 3", "griffin 4", "hawk ", "hawk 1", "hawk 2", "hawk 3", "hawk 4" }
            : ["hawk ", "hawk 2", "hawk 3", "hawk 4"]));

        void Cancel(ExperimentProgress progress)
        {
            if (progress.Part == at && progress.Step?.Step == step) cancelled.Cancel();
        }
    }

    [Test]
    public void Families_can_be_added_and_stand_in_their_order()
    {
        using TempFolder folder = new();
        Experiment experiment = Find("selective-copying");
        ExperimentResult first = Run(experiment, folder.Path, ModelFamily.Hawk), second = Run(experiment, folder.Path, ModelFamily.Griffin);
        Assert.That(second.Rows.Select(row => row.Family), Is.EqualTo(new[] { ModelFamily.Griffin, ModelFamily.Hawk }));
        Assert.That(second.Rows[1], Is.EqualTo(first.Rows[0]));
        Assert.That((first.Facts[^1], second.Facts[^1]), Is.EqualTo((("done", "1 of 1 parts"), ("done", "2 of 2 parts"))));
    }

    [Test]
    public void A_folder_of_other_settings_is_refused()
    {
        using TempFolder folder = new();
        Experiment experiment = Find("selective-copying");
        ExperimentSettings settings = Settings(experiment, folder.Path, ModelFamily.Hawk);
        ExperimentRunner.Run(TestDevices.Plain, experiment, settings);
        foreach ((Experiment what, ExperimentSettings how) in new[] { (experiment, settings with { Seed = 1 }), (Find("induction-heads"), settings) })
        {
            Assert.That(
                () => ExperimentRunner.Run(TestDevices.Plain, what, how),
                Throws.TypeOf<TrainingInputException>().With.Message.StartsWith($"{folder.Path}: holds an experiment with other settings"));
        }
    }

    [TestCase("{\"rows\":[[1,2]]}")]
    [TestCase("{\"rows\":7}")]
    [TestCase("{}")]
    [TestCase("{\"rows\":")]
    public void A_damaged_part_is_named(string content)
    {
        using TempFolder folder = new();
        Experiment experiment = Find("selective-copying");
        Run(experiment, folder.Path, ModelFamily.Hawk);
        string rows = folder.File("parts/hawk/rows.json");
        File.WriteAllText(rows, content);
        Assert.That(() => Run(experiment, folder.Path, ModelFamily.Hawk), Throws.TypeOf<TrainingInputException>().With.Message.StartsWith(rows));
    }

    [Test]
    public void Too_little_text_is_refused()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("short.txt"), new string('a', 9));
        File.WriteAllText(folder.File("medium.txt"), new string('a', 1000));
        Experiment experiment = Find("length-extrapolation");
        foreach ((string file, string problem) in new[] { ("short.txt", "holds no document of 10 tokens or more"), ("medium.txt", "holds no document whose last tenth has 128 tokens") })
        {
            Assert.That(
                () => ExperimentRunner.Run(TestDevices.Plain, experiment, Settings(experiment, folder.Path) with { Data = [folder.File(file)] }),
                Throws.TypeOf<TrainingInputException>().With.Message.StartsWith($"{folder.File(file)}: {problem}"));
        }
    }

    [TestCase(ExperimentScale.Small)]
    [TestCase(ExperimentScale.Full)]
    public void Every_scale_has_a_valid_plan(ExperimentScale scale)
    {
        using TempFolder folder = new();
        // Enough text for a tenth of it to fill the longest piece of the full scale.
        File.WriteAllText(folder.File("text.txt"), new string('a', 10 * 8 * 2048));
        foreach (Experiment experiment in Experiment.All)
        {
            ExperimentSettings settings = new() { Folder = folder.Path, Scale = scale, Data = experiment.NeedsText ? [folder.File("text.txt")] : [] };
            ExperimentPlan plan = experiment.Plan(settings);
            Assert.That(plan.Parts.Select(part => part.Family).Distinct(), Is.EqualTo(ModelFamilies.All), experiment.Name);
            Assert.That(plan.Parts.Select(part => part.Name), Is.Unique, experiment.Name);
        }
    }

    private static Experiment Find(string name) => Experiment.All.Single(experiment => experiment.Name == name);

    private static ExperimentSettings Settings(Experiment experiment, string folder, params ModelFamily[] families) => new()
    {
        Folder = folder,
        Scale = ExperimentScale.Tiny,
        Families = families.Length > 0 ? [.. families] : [.. experiment.UsualFamilies],
        Data = experiment.NeedsText ? [TestData.Path(Text)] : [],
    };

    private static ExperimentResult Run(Experiment experiment, string folder, params ModelFamily[] families) =>
        ExperimentRunner.Run(TestDevices.Plain, experiment, Settings(experiment, folder, families));

    // The last column is the time.
    private static ResultRow Timeless(ResultRow row) => row with { Values = [.. row.Values.SkipLast(1)] };
}
