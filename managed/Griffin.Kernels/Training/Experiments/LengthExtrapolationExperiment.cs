using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;
using Griffin.Kernels.Training.Data;
using Griffin.Kernels.Training.Report;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Trains on short rows of text and scores the same held-out text in pieces of 1, 2, 4 and 8 times the length.</summary>
public sealed class LengthExtrapolationExperiment : Experiment
{
    private static readonly int[] factors = [1, 2, 4, 8];

    internal LengthExtrapolationExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "length-extrapolation";

    /// <inheritdoc/>
    public override string Title => "Length extrapolation";

    /// <inheritdoc/>
    public override string Summary => "Models trained on short rows score the same held-out text in pieces of 1, 2, 4 and 8 times the length, each from a fresh state.";

    /// <inheritdoc/>
    public override bool NeedsText => true;

    internal override IReadOnlyList<ResultColumn> Columns { get; } =
    [
        new("parameters", "parameters", "N0"), new("steps", "steps", "N0"), new("trained_length", "trained length", "N0"), new("length", "scored length", "N0"),
        new("tokens", "tokens scored", "N0"), new("loss", "nats per byte", "F4"), new("seconds", "training, s", "N0"),
    ];

    internal override ExperimentPlan Plan(ExperimentSettings settings)
    {
        Size size = Of(settings.Scale);
        TextData text = new(settings.Data, size.Griffin.Validate());
        List<int[]> heldOut = WholePieces(text.HeldOut, size);
        List<ExperimentPart> parts = [.. ModelFamilies.All.Select(family =>
            new ExperimentPart(family.Name(), family, size.Steps, run => Work(run, settings, size, family.Shape(size.Griffin).Validate(), text, heldOut)))];
        List<(string, string)> facts =
        [
            ("data", text.Description),
            ("model", Say($"{size.Griffin.Layers} layers of width {size.Griffin.Width}, vocabulary {size.Griffin.Vocabulary}; Griffin's window {size.Griffin.Window}; MQA's attention is global")),
            ("training", Say($"{size.Steps:N0} steps of {size.Rows} rows of {size.Length:N0} tokens, AdamW, learning rate {size.LearningRate}, cosine to 10 %")),
            ("held out", Say($"{heldOut.Sum(piece => (long)piece.Length):N0} tokens, the same ones at every length")),
        ];
        return new ExperimentPlan(parts, facts, text.Identity);
    }

    internal override IEnumerable<LineChart> Charts(IReadOnlyList<ResultRow> rows) =>
    [
        new LineChart
        {
            Title = "Held-out loss against the length of the pieces", XTitle = "tokens", YTitle = "nats per byte", Series = Lines(rows, "length", "loss"), LogX = true, Markers = true,
        },
    ];

    private static List<double[]> Work(PartRun run, ExperimentSettings settings, Size size, GriffinConfig config, TextData text, List<int[]> heldOut)
    {
        TrainingRecipe recipe = new TrainingRecipe
        {
            Model = config,
            Context = size.Length,
            Rows = size.Rows,
            Steps = size.Steps,
            Precision = settings.Precision,
            PeakLearningRate = size.LearningRate,
            WarmUpSteps = size.Steps / 20,
            Seed = settings.Seed,
            EvaluateEvery = 0,
            CheckpointEvery = Math.Max(1, size.Steps / 20),
            KeepLast = 1,
        }.Validate();
        IReadOnlyList<StepReport> log = run.Train(recipe, new PackedDocuments(text.Training, config, size.Rows, size.Length, settings.Seed));
        using GriffinModel model = run.LoadModel(settings.Precision);
        long tokens = heldOut.Sum(piece => (long)piece.Length);
        List<double[]> rows = [];
        foreach (int factor in factors)
        {
            using TextScorer scorer = new(model, factor * size.Length);
            double nats = heldOut.Sum(piece => scorer.Score(piece, cancellationToken: run.CancellationToken));
            rows.Add([config.Parameters, recipe.Steps, size.Length, factor * size.Length, tokens, nats / tokens, log.Sum(step => step.Seconds)]);
        }
        return rows;
    }

    /// <summary>The beginning of each held-out document that pieces of the longest length fill, so that every length scores the same tokens.</summary>
    private static List<int[]> WholePieces(DocumentSet documents, Size size)
    {
        int longest = factors[^1] * size.Length;
        List<int[]> whole = [];
        int left = size.HeldOutTokens;
        for (int document = 0; document < documents.Count; document++)
        {
            int tokens = Math.Min(documents[document].Length, left) / longest * longest;
            if (tokens > 0) whole.Add(documents[document][..tokens].ToArray());
            left -= tokens;
        }
        return whole.Count > 0 ? whole : throw new TrainingInputException(
            documents.Name, Say($"holds no document whose last tenth has {longest:N0} tokens, 8 times the length of training: give longer documents"));
    }

    private static Size Of(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(TextData.Model(width: 16, layers: 3, heads: 2, window: 8), Length: 16, Rows: 2, Steps: 4, LearningRate: 3e-3, HeldOutTokens: 256),
        ExperimentScale.Small => new(TextData.Model(width: 64, layers: 3, heads: 2, window: 64), Length: 128, Rows: 16, Steps: 1500, LearningRate: 3e-3, HeldOutTokens: 1 << 16),
        _ => new(TextData.Preset("400m"), Length: 2048, Rows: 16, Steps: 100_000, LearningRate: 4e-4, HeldOutTokens: 1 << 22),
    };

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Size(GriffinConfig Griffin, int Length, int Rows, long Steps, double LearningRate, int HeldOutTokens);
}
