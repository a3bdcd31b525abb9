using Griffin.Kernels.Models;

namespace Griffin.Cli;

/// <summary>Refuses token lists before anything is loaded.</summary>
internal static class TokenChecks
{
    /// <summary>Every token must be in the vocabulary.</summary>
    /// <param name="file">The file the tokens came from; null: the command line.</param>
    /// <param name="tokens">The ids.</param>
    /// <param name="config">The model's shape.</param>
    internal static void InVocabulary(string? file, ReadOnlySpan<int> tokens, GriffinConfig config)
    {
        int outside = tokens.IndexOfAnyExceptInRange(0, config.Vocabulary - 1);
        if (outside >= 0)
        {
            throw new CliException(
                $"{file ?? "--tokens"}: token {tokens[outside]} at index {outside} is outside the vocabulary, 0 to {config.Vocabulary - 1}",
                file is null ? ExitCode.Usage : ExitCode.Failure);
        }
    }

    /// <summary>Positions, where there are any, must be one for each token and follow one another from a fresh state.</summary>
    internal static void Positions(ReadOnlySpan<int> positions, int tokens)
    {
        if (positions.Length == 0) return;
        if (positions.Length != tokens) throw new CliException($"--positions has {positions.Length} numbers for {tokens} tokens: one each is needed");
        try
        {
            PackedCall.Check(positions, fresh: true, next: 0);
        }
        catch (ArgumentException problem)
        {
            throw new CliException($"--positions: {problem.Message}");
        }
    }
}
