using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Training.Data;
using Griffin.Kernels.Training.Report;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Held-out loss against training arithmetic: several sizes of each family, each trained on tokens in proportion to its size.</summary>
public sealed class ScalingExperiment : Experiment
{
    internal ScalingExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "scaling";

    /// <inheritdoc/>
    public override string Title => "Scaling";

    /// <inheritdoc/>
    public override string Summary => "Held-out loss against floating-point operations of training, for several sizes of each family, each trained on tokens in proportion to Griffin's parameters.";

    /// <inheritdoc/>
    public override bool NeedsText => true;

    internal override IReadOnlyList<ResultColumn> Columns { get; } =
    [
        new("width", "width", "N0"), new("layers", "layers", "N0"), new("parameters", "parameters", "N0"), new("tokens", "tokens", "N0"), new("flops", "operations", "0.00e0"),
        new("loss", "held out, nats per byte", "F4"), new("seconds", "training, s", "N0"),
    ];

    internal override ExperimentPlan Plan(ExperimentSettings settings)
    {
        Scale scale = Of(settings.Scale);
        TextData text = new(settings.Data, scale.Models[0].Validate());
        long tokens = Math.Min(scale.HeldOutTokens, text.HeldOut.TokenCount);
        List<ExperimentPart> parts = [];
        foreach (ModelFamily family in ModelFamilies.All)
        {
            foreach (GriffinConfig model in scale.Models)
            {
                // All families of one size see the same tokens.
                TrainingRecipe recipe = Recipe(settings, scale, model, family.Shape(model).Validate());
                parts.Add(new ExperimentPart($"{family.Name()}-{model.Width}x{model.Layers}", family, recipe.Steps, run => Work(run, recipe, text, tokens)));
            }
        }
        List<(string, string)> facts =
        [
            ("data", text.Description),
            ("models", Say($"width × layers {string.Join(", ", scale.Models.Select(model => $"{model.Width} × {model.Layers}"))}, vocabulary {TextData.Vocabulary}; Griffin's window {scale.Models[0].Window}; MQA's attention is global")),
            ("training", Say($"{scale.TokensPerParameter} tokens for each parameter of the Griffin, steps of {scale.Rows} rows of {scale.Length:N0} tokens, AdamW, learning rate {scale.LearningRate} · √({scale.Models[0].Width} / width), cosine to 10 %")),
            ("operations", "6 for each weight of a product and token, and three times attention's forward pass"),
            ("held out", Say($"{tokens:N0} tokens in pieces of {scale.Length:N0}")),
        ];
        return new ExperimentPlan(parts, facts, text.Identity);
    }

    internal override IEnumerable<LineChart> Charts(IReadOnlyList<ResultRow> rows) =>
    [
        new LineChart
        {
            Title = "Held-out loss against training arithmetic", XTitle = "floating-point operations", YTitle = "nats per byte", Series = Lines(rows, "flops", "loss"), LogX = true, LogY = true, Markers = true,
        },
    ];

    private static TrainingRecipe Recipe(ExperimentSettings settings, Scale scale, GriffinConfig griffin, GriffinConfig model)
    {
        long steps = Math.Max(1, (long)(scale.TokensPerParameter * griffin.Validate().Parameters / ((double)scale.Rows * scale.Length)));
        return new TrainingRecipe
        {
            Model = model,
            Context = scale.Length,
            Rows = scale.Rows,
            Steps = steps,
            Precision = settings.Precision,
            Recompute = settings.Scale == ExperimentScale.Full,
            PeakLearningRate = scale.LearningRate * Math.Sqrt(scale.Models[0].Width / (double)griffin.Width),
            WarmUpSteps = steps / 20,
            Seed = settings.Seed,
            EvaluateEvery = 0,
            CheckpointEvery = Math.Max(1, steps / 20),
            KeepLast = 1,
        }.Validate();
    }

    private static List<double[]> Work(PartRun run, TrainingRecipe recipe, TextData text, long heldOutTokens)
    {
        GriffinConfig model = recipe.Model!;
        IReadOnlyList<StepReport> log = run.Train(
            recipe,
            new PackedDocuments(text.Training, model, recipe.Rows, recipe.Context, recipe.Seed),
            new HeldOutPieces(text.HeldOut, model, recipe.Rows, recipe.Context, heldOutTokens));
        double tokens = recipe.Steps * (double)recipe.TokensPerStep;
        return
        [
            [
                model.Width, model.Layers, model.Parameters, tokens, tokens * ModelFlops.PerToken(model, recipe.Context),
                log[^1].HeldOutLoss ?? double.NaN, log.Sum(step => step.Seconds),
            ],
        ];
    }

    private static Scale Of(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(
            [TextData.Model(width: 16, layers: 3, heads: 2, window: 8), TextData.Model(width: 24, layers: 3, heads: 2, window: 8)],
            Length: 16, Rows: 2, TokensPerParameter: 0.005, LearningRate: 3e-3, HeldOutTokens: 128),
        ExperimentScale.Small => new(
            [
                TextData.Model(width: 32, layers: 3, heads: 2, window: 64), TextData.Model(width: 48, layers: 3, heads: 3, window: 64),
                TextData.Model(width: 64, layers: 3, heads: 4, window: 64), TextData.Model(width: 80, layers: 3, heads: 5, window: 64),
            ],
            Length: 128, Rows: 16, TokensPerParameter: 6, LearningRate: 4e-3, HeldOutTokens: 1 << 16),
        _ => new(
            [TextData.Preset("100m"), TextData.Preset("200m"), TextData.Preset("400m"), TextData.Preset("1b")],
            Length: 2048, Rows: 16, TokensPerParameter: 20, LearningRate: 1e-3, HeldOutTokens: 1 << 22),
    };

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Scale(IReadOnlyList<GriffinConfig> Models, int Length, int Rows, double TokensPerParameter, double LearningRate, long HeldOutTokens);
}
