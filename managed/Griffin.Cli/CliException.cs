namespace Griffin.Cli;

/// <summary>What was asked for makes no sense, or a file that it names is of no use; the message is one line.</summary>
/// <param name="message">The line.</param>
/// <param name="exitCode">How the command ends: usage for a wrong command line, failure for a file.</param>
internal sealed class CliException(string message, int exitCode = ExitCode.Usage) : Exception(message)
{
    /// <summary>How the command ends.</summary>
    internal int ExitCode { get; } = exitCode;
}

/// <summary>How the command ends.</summary>
internal static class ExitCode
{
    internal const int Success = 0;

    /// <summary>The work could not be done, or a file could not be read or written.</summary>
    internal const int Failure = 1;

    /// <summary>The command line was not understood, or a value on it is wrong.</summary>
    internal const int Usage = 2;

    /// <summary>Interrupted, as shells report Ctrl-C, or told to end.</summary>
    internal const int Cancelled = 130;
}
