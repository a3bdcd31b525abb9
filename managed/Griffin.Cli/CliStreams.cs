using System.Text;

namespace Griffin.Cli;

/// <summary>Where a command writes: results to one stream, everything else to the other.</summary>
/// <param name="output">Results.</param>
/// <param name="error">The device line, progress, warnings and errors.</param>
/// <param name="interactive">Whether somebody watches <paramref name="error"/>: progress is shown.</param>
internal sealed class CliStreams(TextWriter output, TextWriter error, bool interactive) : IDisposable
{
    internal TextWriter Output { get; } = output;

    internal TextWriter Error { get; } = error;

    internal bool Interactive { get; } = interactive;

    /// <summary>The process's own streams, in UTF-8 whatever the locale says.</summary>
    internal static CliStreams OfProcess() => new(
        new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true },
        new StreamWriter(Console.OpenStandardError(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true },
        interactive: !Console.IsErrorRedirected);

    public void Dispose()
    {
        Output.Dispose();
        Error.Dispose();
    }
}
