using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Training.Report;
using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>The size of an experiment on a synthetic task.</summary>
/// <param name="Size">The task's size that is trained on: tokens of a sequence, or entries of a book.</param>
/// <param name="Window">Attention window of Griffin.</param>
/// <param name="Width">Width of the model, and of its recurrence.</param>
/// <param name="Layers">Layers.</param>
/// <param name="Rows">Sequences of a step.</param>
/// <param name="Steps">Steps.</param>
/// <param name="LearningRate">The highest learning rate.</param>
/// <param name="Sequences">Held-out sequences of each size that are asked.</param>
/// <param name="Asked">Sizes that are asked.</param>
internal sealed record TaskScale(int Size, int Window, int Width, int Layers, int Rows, long Steps, double LearningRate, int Sequences, ValueList<int> Asked);

/// <summary>
/// Trains each family on a synthetic task, scored at its answers only, and asks held-out sequences. A sequence counts as solved when the most
/// likely token is right at every token of its last answer.
/// </summary>
public abstract class TaskExperiment : Experiment
{
    private const int Heads = 2;
    private const string SizeKey = "size", AccuracyKey = "accuracy";

    private protected TaskExperiment()
    {
    }

    /// <inheritdoc/>
    internal sealed override IReadOnlyList<ResultColumn> Columns =>
    [
        new("parameters", "parameters", "N0"), new("steps", "steps", "N0"), new("trained_size", $"{SizeName} trained on", "N0"), new(SizeKey, $"{SizeName} asked", "N0"),
        new("sequences", "sequences asked", "N0"), new(AccuracyKey, "solved", "P1"), new("token_accuracy", "answer tokens right", "P1"),
        new("loss", "training loss, last 1 % of steps", "F4"), new("seconds", "training, s", "N0"),
    ];

    /// <summary>What the size counts.</summary>
    private protected abstract string SizeName { get; }

    /// <summary>Tokens that the task has.</summary>
    private protected virtual int Vocabulary => 16;

    /// <summary>Blocks of the gates.</summary>
    private protected virtual int GateBlocks(TaskScale scale) => Math.Min(16, scale.Width / 4);

    /// <summary>How large the experiment is.</summary>
    private protected abstract TaskScale Sizes(ExperimentScale scale);

    /// <summary>What else to say of the task.</summary>
    private protected abstract string Describe(ExperimentScale scale);

    /// <summary>Tokens of a row that a size needs.</summary>
    private protected virtual int Length(int size) => size;

    /// <summary>Makes the task.</summary>
    private protected abstract IBatchSource Task(ExperimentScale scale, int size, TaskSettings settings);

    internal sealed override ExperimentPlan Plan(ExperimentSettings settings)
    {
        TaskScale sizes = Sizes(settings.Scale);
        GriffinConfig griffin = new GriffinConfig
        {
            Vocabulary = Vocabulary,
            Width = sizes.Width,
            Layers = sizes.Layers,
            Heads = Heads,
            MlpWidth = 3 * sizes.Width,
            GateBlocks = GateBlocks(sizes),
            Window = sizes.Window,
            LogitsSoftCap = 0,
            EmbeddingScaleRule = EmbeddingScaleRule.None,
            BosToken = null,
            EosTokens = [],
            PadToken = null,
        };
        List<ExperimentPart> parts = [];
        foreach (ModelFamily family in ModelFamilies.All)
        {
            TrainingRecipe recipe = new()
            {
                Model = family.Shape(griffin).Validate(),
                Context = Length(sizes.Size),
                Rows = sizes.Rows,
                Steps = sizes.Steps,
                Precision = settings.Precision,
                PeakLearningRate = sizes.LearningRate,
                WarmUpSteps = Math.Min(100, sizes.Steps / 10),
                FinalFraction = 0.05,
                WeightDecay = 0,
                Seed = settings.Seed,
                EvaluateEvery = 0,
                CheckpointEvery = Math.Max(1, sizes.Steps / 20),
                KeepLast = 1,
            };
            parts.Add(new ExperimentPart(family.Name(), family, sizes.Steps, run => Work(run, settings, sizes, recipe.Validate())));
        }
        return new ExperimentPlan(parts, Facts(settings.Scale, sizes));
    }

    internal sealed override IEnumerable<LineChart> Charts(IReadOnlyList<ResultRow> rows)
    {
        List<ChartSeries> lines = Lines(rows, SizeKey, AccuracyKey);
        if (lines.All(line => line.Points.Count < 2)) yield break;
        yield return new LineChart { Title = "Held-out sequences solved", XTitle = SizeName, YTitle = "part solved", Series = lines, LogX = true, Markers = true };
    }

    private List<double[]> Work(PartRun run, ExperimentSettings settings, TaskScale sizes, TrainingRecipe recipe)
    {
        IReadOnlyList<StepReport> log = run.Train(recipe, Task(settings.Scale, sizes.Size, new TaskSettings(sizes.Rows, recipe.Context) { Seed = settings.Seed }));
        double loss = log.TakeLast(Math.Max(1, log.Count / 100)).Average(step => step.Loss), seconds = log.Sum(step => step.Seconds);
        using GriffinModel model = run.LoadModel(settings.Precision);
        List<double[]> rows = [];
        foreach (int size in sizes.Asked)
        {
            TaskSettings asked = new(1, Length(size)) { Seed = settings.Seed, Split = TaskSplit.HeldOut };
            TaskScore score = TaskAccuracy.Score(model, Task(settings.Scale, size, asked), sizes.Sequences, run.CancellationToken);
            rows.Add([model.Config.Parameters, recipe.Steps, sizes.Size, size, score.Sequences, score.Accuracy, score.Right / (double)score.Answers, loss, seconds]);
        }
        return rows;
    }

    private List<(string, string)> Facts(ExperimentScale scale, TaskScale sizes) =>
    [
        ("task", Describe(scale)),
        ("model", Say($"{sizes.Layers} layers of width {sizes.Width}, {Heads} heads, {GateBlocks(sizes)} gate blocks, vocabulary {Vocabulary}; Griffin's window {sizes.Window}, attention in every third layer; MQA's attention is global")),
        ("training", Say($"{sizes.Steps:N0} steps of {sizes.Rows} sequences of {Length(sizes.Size):N0} tokens, AdamW without decay, learning rate {sizes.LearningRate}, cosine to 5 %; loss at answers only")),
        ("held out", Say($"{sizes.Sequences:N0} sequences of each size ({string.Join(", ", sizes.Asked)} {SizeName}) that training never sees")),
    ];

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
