using System.Globalization;

namespace Griffin.Kernels.Training.Report;

/// <summary>A run's report: what was trained, how it ended, and the curves of its log.</summary>
public static class TrainingReport
{
    /// <summary>The file's name in a run's folder.</summary>
    public const string FileName = "report.html";

    /// <summary>Makes the page.</summary>
    /// <param name="title">The run's name.</param>
    /// <param name="facts">What to say of the run, by name.</param>
    /// <param name="steps">The log.</param>
    public static HtmlPage Build(string title, IEnumerable<(string Name, string Value)> facts, IReadOnlyList<StepReport> steps)
    {
        ArgumentNullException.ThrowIfNull(facts);
        ArgumentNullException.ThrowIfNull(steps);
        HtmlPage page = new HtmlPage(title).AddTable(["", ""], [.. facts.Select(fact => (string[])[fact.Name, fact.Value]), .. Results(steps)]);
        if (steps.Count == 0) return page.AddText("The log holds no step.");
        ChartSeries training = Series("training", steps, step => step.Loss), heldOut = Series("held out", steps, step => step.HeldOutLoss);
        page.AddChart(Chart("Loss", "nats per token", heldOut.Points.Count > 0 ? [training, heldOut] : [training]));
        page.AddChart(Chart("Learning rate", "learning rate", [Series("learning rate", steps, step => step.LearningRate)]));
        page.AddChart(Chart("Gradient norm", "norm before clipping", [Series("gradient norm", steps, step => step.GradientNorm)]) with { LogY = true });
        return page.AddChart(Chart("Speed", "tokens per second", [Series("tokens per second", steps, step => step.TokensPerSecond)]));
    }

    private static IEnumerable<string[]> Results(IReadOnlyList<StepReport> steps)
    {
        if (steps.Count == 0) yield break;
        yield return ["steps", Say($"{steps[^1].Step:N0}")];
        yield return ["tokens", Say($"{steps[^1].Tokens:N0}")];
        yield return ["last loss", Say($"{steps[^1].Loss:F4} nats per token")];
        if (steps.LastOrDefault(step => step.HeldOutLoss is not null)?.HeldOutLoss is { } loss) yield return ["last held-out loss", Say($"{loss:F4} nats per token")];
    }

    private static ChartSeries Series(string name, IReadOnlyList<StepReport> steps, Func<StepReport, double?> value) =>
        new(name, [.. steps.Where(step => value(step) is not null).Select(step => ((double)step.Step, value(step)!.Value))]);

    private static LineChart Chart(string title, string unit, IReadOnlyList<ChartSeries> series) => new() { Title = title, XTitle = "step", YTitle = unit, Series = series };

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
