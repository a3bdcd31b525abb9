using System.CommandLine;
using Griffin.Kernels.Ops;

namespace Griffin.Cli;

/// <summary>How tokens are drawn: greedily, unless something else is asked for.</summary>
internal sealed class SamplingOptions
{
    private readonly Option<bool> _greedy = new("--greedy") { Description = "always the most probable token (the default)" };
    private readonly Option<float?> _temperature = OptionKit.Number("--temperature", "divides the logits; 0 is greedy (default: 1 with --top-k, --top-p or --min-p, else 0)", 0f, float.MaxValue);
    private readonly Option<int?> _topK = OptionKit.Number("--top-k", "keep the so many most probable tokens; 0 keeps all", 0, int.MaxValue);
    private readonly Option<float?> _topP = OptionKit.Number("--top-p", "keep the fewest most probable tokens that together reach this share", float.Epsilon, 1f);
    private readonly Option<float?> _minP = OptionKit.Number("--min-p", "keep tokens at least this multiple as probable as the most probable one", 0f, 1f);
    private readonly Option<float?> _penalty = OptionKit.Number("--repetition-penalty", "makes tokens that occurred less probable; 1 changes nothing", float.Epsilon, float.MaxValue);
    private readonly Option<ulong?> _seed = OptionKit.Number("--seed", "decides the draws (default: 0)", ulong.MinValue, ulong.MaxValue);

    internal IEnumerable<Option> All => [_greedy, _temperature, _topK, _topP, _minP, _penalty, _seed];

    /// <summary>The settings on a command line.</summary>
    internal SamplerSettings Read(ParseResult parsed)
    {
        int? topK = parsed.GetValue(_topK);
        float? topP = parsed.GetValue(_topP), minP = parsed.GetValue(_minP), temperature = parsed.GetValue(_temperature);
        bool drawn = topK is not null || topP is not null || minP is not null;
        if (parsed.GetValue(_greedy) && (drawn || temperature > 0)) throw new CliException("--greedy leaves nothing to --temperature, --top-k, --top-p and --min-p: leave it or them out");
        return new SamplerSettings
        {
            Temperature = temperature ?? (drawn ? 1 : 0),
            TopK = topK ?? 0,
            TopP = topP ?? 1,
            MinP = minP ?? 0,
            RepetitionPenalty = parsed.GetValue(_penalty) ?? 1,
            Seed = parsed.GetValue(_seed) ?? 0,
        };
    }
}
