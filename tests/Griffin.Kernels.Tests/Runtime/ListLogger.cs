using Microsoft.Extensions.Logging;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Keeps what is logged.</summary>
internal sealed class ListLogger : ILogger
{
    private readonly List<(LogLevel Level, string Text)> _entries = [];

    public IReadOnlyList<string> Warnings
    {
        get
        {
            lock (_entries) return [.. _entries.Where(entry => entry.Level == LogLevel.Warning).Select(entry => entry.Text)];
        }
    }

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_entries) _entries.Add((logLevel, formatter(state, exception)));
    }
}
