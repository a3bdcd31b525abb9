using Spectre.Console;

namespace Griffin.Cli;

/// <summary>Runs work that takes a while, with progress bars on the error stream where somebody watches it.</summary>
internal sealed class LongWork(CliStreams streams, bool visible)
{
    /// <summary>Runs <paramref name="work"/>; what it reports appears as one bar per stage.</summary>
    internal T Run<T>(Func<IProgress<StageProgress>, T> work) =>
        visible ? CreateProgress().Start(context => work(new Bars(context))) : work(new Silence());

    /// <inheritdoc cref="Run"/>
    internal Task<T> RunAsync<T>(Func<IProgress<StageProgress>, Task<T>> work) =>
        visible ? CreateProgress().StartAsync(context => work(new Bars(context))) : work(new Silence());

    private Progress CreateProgress() =>
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(streams.Error), Interactive = InteractionSupport.Yes }).Progress()
            .AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn());

    private sealed class Silence : IProgress<StageProgress>
    {
        public void Report(StageProgress value)
        {
        }
    }

    private sealed class Bars(ProgressContext context) : IProgress<StageProgress>
    {
        private readonly Dictionary<string, ProgressTask> _tasks = [];

        public void Report(StageProgress value)
        {
            lock (_tasks)
            {
                if (!_tasks.TryGetValue(value.Stage, out ProgressTask? task)) _tasks.Add(value.Stage, task = context.AddTask(Markup.Escape(value.Stage)));
                task.MaxValue = Math.Max(1, value.Total);
                task.Value = value.Done;
            }
        }
    }
}

/// <summary>How far one stage of long work has come.</summary>
/// <param name="Stage">What is being done, for people.</param>
/// <param name="Done">Units done.</param>
/// <param name="Total">Units in all.</param>
internal readonly record struct StageProgress(string Stage, long Done, long Total);

/// <summary>Reports of another kind seen as stages.</summary>
internal sealed class ProgressAdapter<T>(IProgress<StageProgress> target, Func<T, StageProgress> translate) : IProgress<T>
{
    public void Report(T value) => target.Report(translate(value));
}
