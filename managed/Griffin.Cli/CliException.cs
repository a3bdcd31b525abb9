namespace Griffin.Cli;

/// <summary>What was asked for makes no sense; the message is one line. The command ends with <see cref="ExitCode.Usage"/>.</summary>
internal sealed class CliException(string message) : Exception(message);

/// <summary>How the command ends.</summary>
internal static class ExitCode
{
    internal const int Success = 0;

    /// <summary>The work could not be done.</summary>
    internal const int Failure = 1;

    /// <summary>The command line was not understood.</summary>
    internal const int Usage = 2;

    /// <summary>Interrupted, as shells report it.</summary>
    internal const int Cancelled = 130;
}
