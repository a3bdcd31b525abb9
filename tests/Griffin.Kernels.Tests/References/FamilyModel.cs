namespace Griffin.Kernels.Tests.References;

/// <summary>
/// Small models of the whole family, made of the golden model's blocks: any pattern of recurrent and attention layers, any window or none.
/// </summary>
internal sealed record FamilyModel(string Name, string[] Blocks, int? Window)
{
    private const string Prefix = "model.layers.";

    /// <summary>The gated recurrence alone.</summary>
    public static FamilyModel Hawk { get; } = new("hawk", ["recurrent", "recurrent", "recurrent"], GoldenModel.Window);

    /// <summary>The Transformer baseline: global attention alone.</summary>
    public static FamilyModel Transformer { get; } = new("transformer", ["attention", "attention"], null);

    /// <summary>Windowed attention mixed with recurrences.</summary>
    public static FamilyModel Griffin { get; } = new("griffin", GoldenModel.Blocks, GoldenModel.Window);

    /// <summary>One layer of windowed attention and nothing else that looks back.</summary>
    public static FamilyModel OneAttention { get; } = new("one attention layer", ["attention"], GoldenModel.Window);

    /// <summary>Tests name their cases by it.</summary>
    public override string ToString() => Name;

    /// <summary>The model in float64.</summary>
    public GriffinReference Reference(bool windowRule = false) =>
        new(new ReferenceModel(Config(Window is { } window ? window + (windowRule ? 0 : 1) : int.MaxValue), Tensors()));

    /// <summary>The model in float64 with some tensors changed, W + 1 keys visible.</summary>
    public ReferenceModel Reference(Action<Dictionary<string, TestTensor>> change)
    {
        var tensors = Tensors();
        change(tensors);
        return new ReferenceModel(Config(Window + 1 ?? int.MaxValue), tensors);
    }

    /// <summary>Writes a Hugging Face folder.</summary>
    public void Write(string folder, bool windowRule = false)
    {
        var keysVisible = Window + (windowRule ? 0 : 1);
        File.WriteAllText(Path.Combine(folder, "config.json"), GoldenModel.Config(Blocks, Window, keysVisible));
        TestSafetensors.Write(Path.Combine(folder, "model.safetensors"), Tensors());
    }

    private static ReferenceConfig Config(int keysVisible) => new(GoldenModel.Heads, keysVisible, GoldenModel.EmbeddingScale, GoldenModel.SoftCap);

    private Dictionary<string, TestTensor> Tensors()
    {
        var tensors = GoldenModel.HuggingFaceTensors.Where(pair => !pair.Key.StartsWith(Prefix, StringComparison.Ordinal)).ToDictionary();
        for (var layer = 0; layer < Blocks.Length; layer++)
        {
            // Golden block 2 is its attention; recurrent layers take blocks 0, 1 and 3 in turn.
            var source = Blocks[layer] == "attention" ? 2 : (layer % 3) switch { 0 => 0, 1 => 1, _ => 3 };
            foreach (var (name, tensor) in GoldenModel.HuggingFaceTensors.Where(pair => pair.Key.StartsWith($"{Prefix}{source}.", StringComparison.Ordinal)))
                tensors.Add(name.Replace($"{Prefix}{source}.", $"{Prefix}{layer}.", StringComparison.Ordinal), tensor);
        }

        return tensors;
    }
}
