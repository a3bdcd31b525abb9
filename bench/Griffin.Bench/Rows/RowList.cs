using System.Text.Json;
using System.Text.RegularExpressions;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Rows;

/// <summary>At which sizes rows run.</summary>
public enum BenchScale
{
    /// <summary>As they stand in rows.json.</summary>
    Full,

    /// <summary>Each size cut to at most the one in rows.json's <c>tiny</c>: for rehearsals.</summary>
    Tiny,
}

/// <summary>The rows of rows.json in the order in which they run, with the models and inputs that they name.</summary>
public sealed class RowList
{
    private readonly Dictionary<string, string[]> _inputs;

    private RowList(IReadOnlyList<BenchRow> rows, IReadOnlyDictionary<string, GriffinConfig> models, Dictionary<string, string[]> inputs) =>
        (Rows, Models, _inputs) = (rows, models, inputs);

    /// <summary>The file beside the executable.</summary>
    public static string DefaultPath => Path.Combine(AppContext.BaseDirectory, "rows.json");

    /// <summary>The rows, by priority, then as in the file.</summary>
    public IReadOnlyList<BenchRow> Rows { get; }

    /// <summary>Models by the name that rows use.</summary>
    public IReadOnlyDictionary<string, GriffinConfig> Models { get; }

    /// <summary>Names of what the generator draws for a row, in the order of its seeds 1, 2, 3 …</summary>
    public IReadOnlyList<string> InputsOf(BenchRow row)
    {
        ArgumentNullException.ThrowIfNull(row);
        return _inputs.TryGetValue($"{row.Op}.{row.Pass}", out string[]? own) ? own : _inputs.GetValueOrDefault(row.Op, []);
    }

    /// <summary>The rows whose id matches a regular expression; all for null.</summary>
    public IReadOnlyList<BenchRow> Matching(string? filter) => filter is null ? Rows : [.. Rows.Where(row => Regex.IsMatch(row.Id, filter))];

    /// <summary>Reads a list.</summary>
    /// <param name="path">The file, in rows.json's form.</param>
    /// <param name="scale">At which sizes.</param>
    /// <exception cref="InvalidDataException">The file is not such a list.</exception>
    public static RowList Load(string path, BenchScale scale)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            JsonElement root = document.RootElement;
            Dictionary<string, long> tiny = scale == BenchScale.Tiny ? Numbers(root.GetProperty("tiny")) : [];
            long Cut(string name, long size) => Math.Min(size, tiny.GetValueOrDefault(name, long.MaxValue));
            List<BenchRow> rows = [.. root.GetProperty("rows").EnumerateArray().Select(row => RowOf(row).With(Cut))];
            if (rows.GroupBy(row => row.Id).FirstOrDefault(group => group.Count() > 1) is { } twice) throw new InvalidDataException($"{path}: two rows are called {twice.Key}.");
            Dictionary<string, GriffinConfig> models = root.GetProperty("models").EnumerateObject().ToDictionary(model => model.Name, model => ConfigOf(model.Value, Cut));
            if (rows.FirstOrDefault(row => row.Model is { } model && !models.ContainsKey(model)) is { } lost) throw new InvalidDataException($"{path}: {lost.Id} names no model of the list.");
            Dictionary<string, string[]> inputs = root.GetProperty("inputs").EnumerateObject()
                .ToDictionary(op => op.Name, op => op.Value.EnumerateArray().Select(name => name.GetString()!).ToArray());
            return new([.. rows.OrderBy(row => row.Priority)], models, inputs);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new InvalidDataException($"{path}: {e.Message}", e);
        }
    }

    private static BenchRow RowOf(JsonElement row) => new()
    {
        Id = row.GetProperty("id").GetString()!,
        Op = row.GetProperty("op").GetString()!,
        Pass = row.GetProperty("pass").GetString()!,
        Type = row.GetProperty("type").GetString() switch
        {
            "bf16" => ElementType.BFloat16,
            "f32" => ElementType.Float32,
            var other => throw new InvalidDataException($"'{other}' is no type: bf16 or f32."),
        },
        Priority = row.GetProperty("priority").GetInt32(),
        Sizes = Numbers(row.GetProperty("shape")),
        Model = row.GetProperty("shape").TryGetProperty("model", out JsonElement model) ? model.GetString() : null,
    };

    private static GriffinConfig ConfigOf(JsonElement model, Func<string, long, long> cut)
    {
        Dictionary<string, long> sizes = Numbers(model);
        int Size(string name) => checked((int)cut(name, sizes[name]));
        float cap = model.GetProperty("soft_cap").GetSingle();
        return new GriffinConfig
        {
            Vocabulary = Size("vocabulary"),
            Width = Size("width"),
            RnnWidth = Size("rnn_width"),
            Layers = Size("layers"),
            Heads = Size("heads"),
            HeadDim = Size("head_dim"),
            GateBlocks = Size("blocks"),
            MlpWidth = Size("mlp_width"),
            ConvTaps = Size("taps"),
            Window = sizes.ContainsKey("window") ? Size("window") : null,
            LogitsSoftCap = cap,
            EmbeddingScaleRule = cap == 0 ? EmbeddingScaleRule.None : EmbeddingScaleRule.RoundedRootOfWidth,
            Pattern = [.. model.GetProperty("pattern").EnumerateArray().Select(kind => Enum.Parse<LayerKind>(kind.GetString()!, ignoreCase: true))],
        }.Validate();
    }

    private static Dictionary<string, long> Numbers(JsonElement element) => element.EnumerateObject()
        .Where(property => property.Value.ValueKind == JsonValueKind.Number && property.Value.TryGetInt64(out _))
        .ToDictionary(property => property.Name, property => property.Value.GetInt64());
}
