using System.Globalization;

namespace Griffin.Kernels.Training.Logging;

/// <summary>What is shown of a step to who watches: the step, the losses, the speed, and the time left.</summary>
/// <param name="steps">Steps of the whole run.</param>
public sealed class ProgressLine(long steps)
{
    // The pace is an average that forgets: about the last twenty steps.
    private const double Memory = 0.95;

    private double _seconds, _weight;
    private double? _heldOut;

    /// <summary>Takes a step into account and describes the run after it.</summary>
    /// <returns>One line.</returns>
    public string Add(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        (_seconds, _weight) = (Memory * _seconds + report.Seconds, Memory * _weight + 1);
        _heldOut = report.HeldOutLoss ?? _heldOut;
        string heldOut = _heldOut is { } loss ? Say($", held out {loss:F4}") : "";
        string utilization = report.ModelFlopsUtilization is { } part ? Say($", MFU {100 * part:F1} %") : "";
        return Say($"step {report.Step}/{steps}: loss {report.Loss:F4}{heldOut}, {report.TokensPerSecond:F0} tokens/s{utilization}, {Duration((steps - report.Step) * _seconds / _weight)} left");
    }

    private static string Duration(double seconds) => seconds switch
    {
        < 100 => Say($"{Math.Max(0, seconds):F0} s"),
        < 100 * 60 => Say($"{seconds / 60:F0} min"),
        < 100 * 3600 => Say($"{seconds / 3600:F1} h"),
        _ => Say($"{seconds / 86400:F1} days"),
    };

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
