using System.Diagnostics;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Cli;

/// <summary>
/// Shows how a run goes on: on a terminal one line that is written over and over, elsewhere a line now and then and for each evaluation.
/// </summary>
internal sealed class TrainingDisplay(CommonSettings settings, long steps)
{
    private static readonly TimeSpan pause = TimeSpan.FromSeconds(10);

    private readonly ProgressLine _progress = new(steps);
    private long _shown;
    private int _width;

    internal void Show(StepReport report)
    {
        string line = _progress.Add(report);
        if (settings.Json) return;
        if (settings.Streams.Interactive)
        {
            settings.Streams.Error.Write($"\r{line.PadRight(_width)}");
            _width = line.Length;
        }
        else if (_shown == 0 || Stopwatch.GetElapsedTime(_shown) >= pause || report.HeldOutLoss is not null || report.Step == steps)
        {
            settings.Streams.Error.WriteLine(line);
            _shown = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Leaves the line that is written over.</summary>
    internal void Finish()
    {
        if (_width > 0) settings.Streams.Error.WriteLine();
    }
}
