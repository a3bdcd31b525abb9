using System.Text.Json;

namespace Griffin.Kernels.Checkpoints;

/// <summary>The safetensors files of one checkpoint, single or sharded by an index, seen as one set of tensors.</summary>
internal sealed class CheckpointFiles : IDisposable
{
    internal const string SingleName = "model.safetensors";
    internal const string IndexName = "model.safetensors.index.json";

    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, (SafetensorsFile File, SafetensorsTensor Tensor)> _tensors = new(StringComparer.Ordinal);

    private CheckpointFiles(string path) => Path = path;

    /// <summary>The single file or the index.</summary>
    internal string Path { get; }

    /// <summary>Every tensor with the file it lies in.</summary>
    internal IReadOnlyDictionary<string, (SafetensorsFile File, SafetensorsTensor Tensor)> Tensors => _tensors;

    /// <summary>Opens the files of a checkpoint folder, or the given safetensors or index file.</summary>
    internal static CheckpointFiles Open(string path)
    {
        string main = Directory.Exists(path) ? FindMain(path) : path;
        CheckpointFiles files = new(main);
        try
        {
            if (main.EndsWith(".json", StringComparison.Ordinal)) files.AddShards();
            else files.Add(main);
            return files;
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        foreach (SafetensorsFile file in _files) file.Dispose();
    }

    private static string FindMain(string folder)
    {
        foreach (string name in (string[])[SingleName, IndexName])
        {
            string path = System.IO.Path.Combine(folder, name);
            if (File.Exists(path)) return path;
        }
        string[] others = Directory.GetFiles(folder, "*.safetensors");
        return others.Length switch
        {
            1 => others[0],
            0 => throw new CheckpointException(folder, $"holds neither {SingleName} nor {IndexName}"),
            _ => throw new CheckpointException(folder, $"holds {others.Length} safetensors files but neither {SingleName} nor {IndexName}: name one file"),
        };
    }

    private SafetensorsFile Add(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        _files.Add(file);
        foreach (SafetensorsTensor tensor in file.Tensors.Values)
        {
            if (!_tensors.TryAdd(tensor.Name, (file, tensor)))
                throw new CheckpointException(path, $"tensor '{tensor.Name}' is also in {_tensors[tensor.Name].File.Path}");
        }
        return file;
    }

    private void AddShards()
    {
        Dictionary<string, SafetensorsFile> shards = new(StringComparer.Ordinal);
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;
        using JsonDocument document = JsonFile.Parse(JsonFile.ReadBytes(Path), Path);
        JsonElement root = JsonFile.RootObject(document, Path);
        if (!root.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
            throw new CheckpointException(Path, "has no weight_map object");
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string? shard = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() : null;
            if (string.IsNullOrEmpty(shard) || shard != System.IO.Path.GetFileName(shard))
                throw new CheckpointException(Path, $"weight_map puts '{entry.Name}' in {entry.Value.GetRawText()}: a file name beside the index is needed");
            if (!shards.TryGetValue(shard, out SafetensorsFile? file)) shards.Add(shard, file = Add(System.IO.Path.Combine(folder, shard)));
            if (!file.Tensors.ContainsKey(entry.Name))
                throw new CheckpointException(file.Path, $"lacks tensor '{entry.Name}', which {IndexName} says is here");
        }
    }
}
