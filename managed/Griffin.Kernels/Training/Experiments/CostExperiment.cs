using System.Diagnostics;
using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Training.Report;
using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>
/// What a training step and a decode step cost at growing sequence lengths (the paper's figures 3 and 4): training with the same tokens a step
/// at every length, decoding a batch whose sequences have that many tokens behind them.
/// </summary>
public sealed class CostExperiment : Experiment
{
    internal CostExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "cost";

    /// <inheritdoc/>
    public override string Title => "Cost against sequence length";

    /// <inheritdoc/>
    public override string Summary => "Time of a training step, with the same number of tokens at every length, and of a decode step of a batch with so many tokens behind it.";

    /// <inheritdoc/>
    public override IReadOnlyList<ModelFamily> UsualFamilies => [ModelFamily.Griffin, ModelFamily.Mqa];

    internal override IReadOnlyList<ResultColumn> Columns { get; } =
    [
        new("parameters", "parameters", "N0"), new("length", "sequence length", "N0"), new("tokens", "tokens of a step", "N0"), new("step_seconds", "training step, s (median)", "0.0000"),
        new("tokens_per_second", "training tokens/s", "N0"), new("batch", "decoded batch", "N0"), new("decode_seconds", "decode step, s (median)", "0.00000"), new("decoded_per_second", "decoded tokens/s", "N0"),
    ];

    internal override ExperimentPlan Plan(ExperimentSettings settings)
    {
        Scale scale = Of(settings.Scale);
        List<ExperimentPart> parts = [];
        foreach (ModelFamily family in ModelFamilies.All)
        {
            foreach (int length in scale.Lengths)
            {
                TrainingRecipe recipe = new TrainingRecipe
                {
                    Model = family.Shape(scale.Griffin).Validate(),
                    Context = length,
                    Rows = scale.Tokens / length,
                    Steps = scale.TimedSteps + 1,
                    Precision = settings.Precision,
                    Seed = settings.Seed,
                    EvaluateEvery = 0,
                    CheckpointEvery = 0,
                    KeepLast = 1,
                }.Validate();
                parts.Add(new ExperimentPart(string.Create(CultureInfo.InvariantCulture, $"{family.Name()}-{length}"), family, recipe.Steps, run => Work(run, scale, recipe)));
            }
        }
        List<(string, string)> facts =
        [
            ("model", Say($"{scale.Griffin.Layers} layers of width {scale.Griffin.Width}, vocabulary {scale.Griffin.Vocabulary}, random weights; Griffin's window {scale.Griffin.Window}; MQA's attention is global")),
            ("training step", Say($"{scale.Tokens:N0} tokens at every length; median of {scale.TimedSteps} steps behind one that is not timed")),
            ("decode step", Say($"batch of {scale.Batch}, median of {scale.DecodeSteps} steps behind one that is not timed, from the given length on")),
        ];
        return new ExperimentPlan(parts, facts);
    }

    internal override IEnumerable<LineChart> Charts(IReadOnlyList<ResultRow> rows) =>
    [
        Chart("Training step at equal tokens", "step_seconds", rows), Chart("Decode step", "decode_seconds", rows),
    ];

    private LineChart Chart(string title, string column, IReadOnlyList<ResultRow> rows) => new()
    {
        Title = title,
        XTitle = "sequence length",
        YTitle = "seconds",
        Series = Lines(rows, "length", column),
        LogX = true,
        Markers = true,
    };

    private static List<double[]> Work(PartRun run, Scale scale, TrainingRecipe recipe)
    {
        GriffinConfig config = recipe.Model!;
        IReadOnlyList<StepReport> log = run.Train(recipe, new RandomTokens(new TaskSettings(recipe.Rows, recipe.Context) { Seed = recipe.Seed }, config.Vocabulary));
        double step = Median([.. log.Skip(1).Select(report => report.Seconds)]), decode = Decode(run, scale, recipe);
        return [[config.Parameters, recipe.Context, recipe.TokensPerStep, step, recipe.TokensPerStep / step, scale.Batch, decode, scale.Batch / decode]];
    }

    private static double Decode(PartRun run, Scale scale, TrainingRecipe recipe)
    {
        using GriffinModel model = run.LoadModel(recipe.Precision);
        using GriffinSession session = model.CreateSession(new SessionOptions { Slots = scale.Batch, MaxBatch = scale.Batch, GlobalCapacity = recipe.Context + scale.DecodeSteps + 1 });
        DecodeState[] states = [.. Enumerable.Range(0, scale.Batch).Select(_ => session.States.Rent())];
        try
        {
            MicroBatch prompt = new(1, recipe.Context);
            new RandomTokens(new TaskSettings(1, recipe.Context) { Split = TaskSplit.HeldOut }, model.Config.Vocabulary).Fill(0, prompt);
            session.Forward(states[0], prompt.Tokens, [], LogitsSelection.None, []);
            for (int row = 1; row < states.Length; row++) states[row].CopyFrom(states[0]);
            using BatchDecoder decoder = session.CreateDecoder(states, [.. states.Select(_ => SamplerSettings.Greedy)]);
            for (int row = 0; row < states.Length; row++) decoder.Feed(row, row % model.Config.Vocabulary);
            List<double> seconds = [];
            for (int step = 0; step <= scale.DecodeSteps; step++)
            {
                run.CancellationToken.ThrowIfCancellationRequested();
                long start = Stopwatch.GetTimestamp();
                decoder.Step();
                if (step > 0) seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            return Median(seconds);
        }
        finally
        {
            foreach (DecodeState state in states) state.Dispose();
        }
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    private static Scale Of(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(TextData.Model(width: 16, layers: 3, heads: 2, window: 8), [16, 32], Tokens: 32, TimedSteps: 2, Batch: 2, DecodeSteps: 3),
        ExperimentScale.Small => new(TextData.Model(width: 128, layers: 3, heads: 2, window: 256), [256, 512, 1024, 2048, 4096], Tokens: 4096, TimedSteps: 5, Batch: 4, DecodeSteps: 32),
        _ => new(GriffinPresets.Get("griffin-400m"), [2048, 4096, 8192], Tokens: 4 * 8192, TimedSteps: 20, Batch: 16, DecodeSteps: 128),
    };

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Scale(GriffinConfig Griffin, IReadOnlyList<int> Lengths, int Tokens, int TimedSteps, int Batch, int DecodeSteps);
}
