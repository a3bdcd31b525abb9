using System.Globalization;
using System.Text.Json;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>How a checkpoint is written.</summary>
public sealed record CheckpointWriteOptions
{
    /// <summary>The type of every tensor: Float32, BFloat16 or Float16.</summary>
    public ElementType Storage { get; init; } = ElementType.BFloat16;

    /// <summary>Tensor bytes of one file at most, except that a larger tensor has a file of its own.</summary>
    public long ShardBytes { get; init; } = 5_000_000_000;

    /// <summary>Whether a checkpoint that the folder already holds is replaced; otherwise it is an error.</summary>
    public bool Overwrite { get; init; }
}

/// <summary>Writes a whole checkpoint in Hugging Face's layout: config.json and safetensors, sharded by an index where too large for one file.</summary>
public static class CheckpointWriter
{
    private const int BufferBytes = 1 << 22;

    /// <summary>Streams a model to a folder, tensor by tensor. Each file appears whole or not at all, an index after its shards.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="folder">The folder; made when it does not exist.</param>
    /// <param name="options">Type, shard size, overwriting.</param>
    /// <param name="progress">Told (bytes written, bytes in all).</param>
    /// <param name="cancellationToken">Stops between pieces and leaves no part of a file.</param>
    /// <exception cref="CheckpointException">The folder holds a checkpoint that is not to be replaced.</exception>
    /// <exception cref="IOException">The folder or a file cannot be written; one line says why.</exception>
    public static void Save(
        ICheckpointSource source,
        string folder,
        CheckpointWriteOptions? options = null,
        IProgress<(long Done, long Total)>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        options ??= new CheckpointWriteOptions();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.ShardBytes, nameof(options));
        MakeFolder(folder);
        string[] old = [.. OldFiles(folder)];
        if (old.Length > 0 && !options.Overwrite)
            throw new CheckpointException(folder, $"already holds a checkpoint ({Path.GetFileName(old[0])}): choose another folder or delete it");

        List<List<WeightName>> shards = Plan(source.Config, options);
        long total = source.Config.Parameters * options.Storage.SizeOf(), done = 0;
        byte[] buffer = new byte[BufferBytes];
        Dictionary<string, string> weightMap = new(StringComparer.Ordinal);
        for (int shard = 0; shard < shards.Count; shard++)
        {
            string name = ShardName(shard, shards.Count);
            using SafetensorsWriter writer = new(Path.Combine(folder, name), shards[shard].Select(weight => Describe(source.Config, weight, options.Storage)));
            foreach (WeightName weight in shards[shard])
            {
                weightMap.Add(CheckpointLayout.HuggingFace.Locate(source.Config, weight).Tensor, name);
                CopyWeight(source, weight, options.Storage, buffer, piece =>
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    writer.Write(piece);
                    done += piece.Length;
                    progress?.Report((done, total));
                });
            }
            writer.Commit();
        }
        if (shards.Count > 1) WriteIndex(Path.Combine(folder, CheckpointFiles.IndexName), weightMap, total);
        ConfigFile.Write(Path.Combine(folder, ConfigFile.FileName), source.Config, options.Storage);
        RemoveOld(old, weightMap.Values.Distinct(), shards.Count);
    }

    private static void MakeFolder(string folder)
    {
        if (File.Exists(folder)) throw new IOException($"{folder}: cannot be written, it is no folder");
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException)
        {
            throw new IOException($"{folder}: cannot be written, the folder cannot be made", error);
        }
    }

    private static void CopyWeight(ICheckpointSource source, WeightName weight, ElementType type, byte[] buffer, Action<ReadOnlySpan<byte>> write)
    {
        long elements = WeightCatalogue.ElementsOf(source.Config, weight.Kind);
        int perPiece = buffer.Length / type.SizeOf();
        for (long first = 0; first < elements; first += perPiece)
        {
            Span<byte> piece = buffer.AsSpan(0, (int)Math.Min(perPiece, elements - first) * type.SizeOf());
            source.Read(weight, type, first, piece);
            write(piece);
        }
    }

    private static (string Name, ElementType Type, IReadOnlyList<long> Shape) Describe(GriffinConfig config, WeightName weight, ElementType type)
    {
        StoredWeight stored = CheckpointLayout.HuggingFace.Locate(config, weight);
        return (stored.Tensor, type, [.. stored.Shape.Select(dimension => (long)dimension.Size)]);
    }

    /// <summary>Divides the tensors, in order, among as few files as the limit allows.</summary>
    private static List<List<WeightName>> Plan(GriffinConfig config, CheckpointWriteOptions options)
    {
        List<List<WeightName>> shards = [[]];
        long used = 0;
        foreach (WeightName weight in WeightCatalogue.Names(config))
        {
            long bytes = WeightCatalogue.ElementsOf(config, weight.Kind) * options.Storage.SizeOf();
            if (shards[^1].Count > 0 && used + bytes > options.ShardBytes)
            {
                shards.Add([]);
                used = 0;
            }
            shards[^1].Add(weight);
            used += bytes;
        }
        return shards;
    }

    private static string ShardName(int shard, int count) => count == 1
        ? CheckpointFiles.SingleName
        : string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:D5}-of-{count:D5}.safetensors");

    private static void WriteIndex(string path, Dictionary<string, string> weightMap, long totalBytes)
    {
        using AtomicFile file = AtomicFile.Create(path);
        using (Utf8JsonWriter json = new(file.Stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata");
            json.WriteNumber("total_size", totalBytes);
            json.WriteEndObject();
            json.WriteStartObject("weight_map");
            foreach ((string tensor, string shard) in weightMap) json.WriteString(tensor, shard);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        file.Commit();
    }

    private static IEnumerable<string> OldFiles(string folder) =>
        Directory.EnumerateFiles(folder, CheckpointFiles.SingleName)
        .Concat(Directory.EnumerateFiles(folder, "model-?????-of-?????.safetensors"))
        .Concat(Directory.EnumerateFiles(folder, CheckpointFiles.IndexName));

    /// <summary>Deletes files of the replaced checkpoint that are no part of the new one; an old single file would hide new shards.</summary>
    private static void RemoveOld(string[] old, IEnumerable<string> written, int shards)
    {
        HashSet<string> current = [.. written];
        if (shards > 1) current.Add(CheckpointFiles.IndexName);
        foreach (string path in old)
        {
            if (!current.Contains(Path.GetFileName(path))) File.Delete(path);
        }
    }
}
