using System.Text.Json;
using Griffin.Kernels.Checkpoints;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>
/// The parts of an experiment on disk: <c>parts/NAME/rows.json</c> holds a part that is done, and its folder the run that led there.
/// <c>experiment.json</c> says by which settings, so that numbers of different ones are never mixed.
/// </summary>
internal sealed class PartStore
{
    private const string IdentityFile = "experiment.json";
    private const string RowsFile = "rows.json";

    private readonly string _folder;

    /// <param name="folder">The experiment's folder; made when it does not exist.</param>
    /// <param name="identity">Digest of everything that decides the numbers.</param>
    /// <exception cref="TrainingInputException">The folder is of other settings.</exception>
    internal PartStore(string folder, string identity)
    {
        _folder = folder;
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, IdentityFile);
        if (!File.Exists(path))
        {
            Write(path, json => json.WriteString("identity", identity));
            return;
        }
        using JsonDocument document = Open(path);
        if (!document.RootElement.TryGetProperty("identity", out JsonElement kept) || kept.ValueKind != JsonValueKind.String || kept.GetString() != identity)
            throw new TrainingInputException(folder, "holds an experiment with other settings (name, scale, seed, precision, device or data): choose another folder");
    }

    /// <summary>A part's folder.</summary>
    internal string FolderOf(ExperimentPart part) => Path.Combine(_folder, "parts", part.Name);

    /// <summary>The rows of a part that is done; null: it is not.</summary>
    /// <exception cref="TrainingInputException">The file is damaged.</exception>
    internal IReadOnlyList<double[]>? Find(ExperimentPart part, int columns)
    {
        string path = Path.Combine(FolderOf(part), RowsFile);
        if (!File.Exists(path)) return null;
        using JsonDocument document = Open(path);
        try
        {
            double[][] rows = [.. document.RootElement.GetProperty("rows").EnumerateArray().Select(row => row.EnumerateArray()
                .Select(value => value.ValueKind == JsonValueKind.Null ? double.NaN : value.GetDouble()).ToArray())];
            if (rows.All(row => row.Length == columns)) return rows;
        }
        catch (Exception error) when (error is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw Damaged(path, error);
        }
        throw Damaged(path);
    }

    /// <summary>Keeps a part's rows.</summary>
    internal void Save(ExperimentPart part, IReadOnlyList<double[]> rows) => Write(Path.Combine(FolderOf(part), RowsFile), json =>
    {
        json.WriteStartArray("rows");
        foreach (double[] row in rows)
        {
            json.WriteStartArray();
            foreach (double value in row)
            {
                if (double.IsFinite(value)) json.WriteNumberValue(value);
                else json.WriteNullValue();
            }
            json.WriteEndArray();
        }
        json.WriteEndArray();
    });

    private static JsonDocument Open(string path)
    {
        try
        {
            return JsonFile.Parse(JsonFile.ReadBytes(path), path);
        }
        catch (CheckpointException error)
        {
            throw new TrainingInputException(error.Message, error);
        }
    }

    private static TrainingInputException Damaged(string path, Exception? error = null) => new(path, "is damaged: delete it, and the part is done anew", error);

    private static void Write(string path, Action<Utf8JsonWriter> members)
    {
        using AtomicFile file = AtomicFile.Create(path);
        using (Utf8JsonWriter json = new(file.Stream))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }
        file.Commit();
    }
}
