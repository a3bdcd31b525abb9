using Griffin.Kernels.Models;

namespace Griffin.Cli;

/// <summary>Refuses token lists before anything is loaded.</summary>
internal static class TokenChecks
{
    /// <summary>Every token must be in the vocabulary.</summary>
    /// <param name="source">What the tokens came from, for the message.</param>
    /// <param name="tokens">The ids.</param>
    /// <param name="config">The model's shape.</param>
    internal static void InVocabulary(string source, ReadOnlySpan<int> tokens, GriffinConfig config)
    {
        int outside = tokens.IndexOfAnyExceptInRange(0, config.Vocabulary - 1);
        if (outside >= 0)
            throw new CliException($"{source}: token {tokens[outside]} at index {outside} is outside the vocabulary, 0 to {config.Vocabulary - 1}");
    }
}
