namespace Griffin.Kernels.Models;

/// <summary>The published shapes of the family, by name.</summary>
public static class GriffinPresets
{
    private const int GemmaVocabulary = 256000;

    // The paper speaks of 16 gate blocks at every size; its head counts would not divide every recurrence width.
    private const int PaperGateBlocks = 16;
    private const int PaperHeadDim = 128;
    private const int PaperWindow = 1024;

    private static readonly (string Size, int Width, int RnnWidth, int Layers)[] paperSizes =
    [
        ("100m", 768, 1024, 12),
        ("200m", 1024, 1536, 12),
        ("400m", 1536, 2048, 12),
        ("1b", 2048, 2560, 24),
        ("3b", 3072, 4096, 24),
        ("7b", 4096, 5632, 32),
        ("14b", 5120, 8192, 40),
    ];

    private static readonly Dictionary<string, GriffinConfig> presets = Build();

    /// <summary>The preset names: <c>recurrentgemma-2b</c>, <c>recurrentgemma-9b</c>, and <c>griffin-</c>, <c>hawk-</c>, <c>mqa-</c>
    /// with <c>100m</c>, <c>200m</c>, <c>400m</c>, <c>1b</c>, <c>3b</c>, <c>7b</c>, <c>14b</c>.</summary>
    public static IReadOnlyCollection<string> Names => presets.Keys;

    /// <summary>Finds a preset; upper and lower case are the same.</summary>
    /// <param name="name">A name of <see cref="Names"/>.</param>
    /// <param name="config">The configuration, or null when there is no such preset.</param>
    public static bool TryGet(string name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out GriffinConfig? config) =>
        presets.TryGetValue(name, out config);

    /// <summary>Returns a preset.</summary>
    /// <exception cref="ArgumentException">There is no preset of that name; the message lists them.</exception>
    public static GriffinConfig Get(string name) => TryGet(name, out GriffinConfig? config)
        ? config
        : throw new ArgumentException($"no preset is called '{name}'; there are {string.Join(", ", Names)}");

    private static Dictionary<string, GriffinConfig> Build()
    {
        Dictionary<string, GriffinConfig> all = new(StringComparer.OrdinalIgnoreCase)
        {
            ["recurrentgemma-2b"] = RecurrentGemma(width: 2560, heads: 10, layers: 26),
            ["recurrentgemma-9b"] = RecurrentGemma(width: 4096, heads: 16, layers: 38),
        };
        foreach ((string size, int width, int rnnWidth, int layers) in paperSizes)
        {
            GriffinConfig griffin = Paper(width, rnnWidth, layers);
            all[$"griffin-{size}"] = griffin;
            all[$"hawk-{size}"] = griffin with { Pattern = GriffinConfig.HawkPattern };
            all[$"mqa-{size}"] = griffin with { Pattern = GriffinConfig.TransformerPattern, Window = null };
        }
        return all;
    }

    private static GriffinConfig RecurrentGemma(int width, int heads, int layers) => new()
    {
        Vocabulary = GemmaVocabulary,
        Width = width,
        RnnWidth = width,
        Layers = layers,
        Heads = heads,
        HeadDim = 256,
        MlpWidth = 3 * width,
    };

    private static GriffinConfig Paper(int width, int rnnWidth, int layers) => new()
    {
        Vocabulary = GemmaVocabulary,
        Width = width,
        RnnWidth = rnnWidth,
        Layers = layers,
        Heads = width / PaperHeadDim,
        HeadDim = PaperHeadDim,
        GateBlocks = PaperGateBlocks,
        MlpWidth = 3 * width,
        Window = PaperWindow,
        LogitsSoftCap = 0f,
        EmbeddingScaleRule = EmbeddingScaleRule.None,
    };
}
