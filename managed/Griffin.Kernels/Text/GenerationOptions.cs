using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Text;

/// <summary>What to generate and how.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to draw.</summary>
    public int MaxTokens { get; init; } = 200;

    /// <summary>How a token is chosen; greedy by default.</summary>
    public SamplerSettings Sampler { get; init; } = new();

    /// <summary>Tokens that end the generation.</summary>
    public IReadOnlySet<int> StopTokens { get; init; } = new HashSet<int>();
}
