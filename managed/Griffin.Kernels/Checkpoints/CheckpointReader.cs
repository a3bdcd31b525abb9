using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// Reads a checkpoint's weights, in Hugging Face's layout or DeepMind's, from one safetensors file or from shards. Everything that
/// headers can tell is checked on opening: every tensor of the configuration is there, in a readable type and the right shape, and
/// there is none too many. A stored <c>lm_head.weight</c> must equal the embedding table, which is the output head in this family;
/// that is verified while the embedding table is read.
/// </summary>
public sealed class CheckpointReader : ICheckpointSource, IDisposable
{
    /// <summary>Elements converted at a time; a run of them fits a span whatever its stored type.</summary>
    private const int BlockElements = 1 << 20;

    private const int BandRows = 64;
    private const int HeadBlockElements = 4096;
    private const int NamesShown = 3;

    private readonly CheckpointFiles _files;
    private readonly CheckpointLayout _layout;
    private readonly Dictionary<WeightName, Location> _locations = [];
    private readonly Location? _head;

    private CheckpointReader(CheckpointFiles files, GriffinConfig config)
    {
        _files = files;
        Config = config;
        _layout = ChooseLayout(files);
        HashSet<string> used = new(StringComparer.Ordinal);
        List<string> missing = [];
        foreach (WeightName name in WeightCatalogue.Names(config))
        {
            StoredWeight stored = _layout.Locate(config, name);
            used.Add(stored.Tensor);
            if (Find(stored) is { } location) _locations.Add(name, location);
            else missing.Add(stored.Tensor);
        }
        if (missing.Count > 0) throw new CheckpointException(files.Path, $"lacks {List(missing)}");
        if (_layout.HeadTensor is { } head)
        {
            used.Add(head);
            _head = Find(_layout.Locate(config, WeightName.Embedding) with { Tensor = head });
        }
        List<string> unexpected = [.. files.Tensors.Keys.Where(tensor => !used.Contains(tensor) && !_layout.Ignores(tensor))];
        if (unexpected.Count > 0)
            throw new CheckpointException(files.Path, $"holds {List(unexpected)}, for which the configuration has no place: check num_hidden_layers and block_types");
    }

    /// <inheritdoc/>
    public GriffinConfig Config { get; }

    /// <summary>The type the embedding table is stored in; the other tensors may differ.</summary>
    public ElementType StoredType => _locations[WeightName.Embedding].Type;

    /// <summary>The file or index that was opened.</summary>
    public string Path => _files.Path;

    /// <summary>Opens a checkpoint.</summary>
    /// <param name="path">A folder, a safetensors file, or an index file.</param>
    /// <param name="config">The shape; null: from the config.json in the folder or beside the file.</param>
    /// <exception cref="CheckpointException">A file is missing or damaged, or disagrees with the configuration.</exception>
    public static CheckpointReader Open(string path, GriffinConfig? config = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        bool isFolder = Directory.Exists(path);
        if (!isFolder && !File.Exists(path)) throw new CheckpointException(path, "no such folder or file");
        string folder = isFolder ? path : System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
        config = config?.Validate() ?? ConfigFile.Read(System.IO.Path.Combine(folder, ConfigFile.FileName));
        CheckpointFiles files = CheckpointFiles.Open(path);
        try
        {
            return new CheckpointReader(files, config);
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
    {
        int elements = CheckpointSources.CheckRun(Config, name, type, firstElement, destination.Length);
        Location location = _locations[name];
        if (location.Stored.TransposedRows > 0)
        {
            ReadTransposed(location, type, firstElement, elements, destination);
            return;
        }
        ReadRun(location, type, firstElement, destination);
        if (name == WeightName.Embedding && _head is { } head) CheckHead(head, type, firstElement, destination);
    }

    /// <summary>Closes the files.</summary>
    public void Dispose() => _files.Dispose();

    private static CheckpointLayout ChooseLayout(CheckpointFiles files)
    {
        foreach (CheckpointLayout layout in (CheckpointLayout[])[CheckpointLayout.HuggingFace, CheckpointLayout.Native])
        {
            if (files.Tensors.ContainsKey(layout.EmbeddingTensor)) return layout;
        }
        throw new CheckpointException(
            files.Path,
            $"holds neither '{CheckpointLayout.HuggingFace.EmbeddingTensor}' nor '{CheckpointLayout.Native.EmbeddingTensor}': no checkpoint of this family, or damaged");
    }

    private static string List(List<string> tensors)
    {
        string shown = string.Join(", ", tensors.Take(NamesShown).Select(tensor => $"'{tensor}'"));
        string noun = tensors.Count == 1 ? "tensor" : "tensors";
        return tensors.Count <= NamesShown ? $"{noun} {shown}" : $"{noun} {shown} and {tensors.Count - NamesShown} more";
    }

    private Location? Find(StoredWeight stored)
    {
        if (!_files.Tensors.TryGetValue(stored.Tensor, out (SafetensorsFile File, SafetensorsTensor Tensor) found)) return null;
        (SafetensorsFile file, SafetensorsTensor tensor) = found;
        if (SafetensorsTypes.Parse(tensor.Type) is not { } type)
            throw new CheckpointException(file.Path, $"tensor '{tensor.Name}' has dtype {tensor.Type}: weights are read from BF16, F16 or F32");
        if (!Fits(stored, tensor.Shape))
        {
            string actual = string.Join(", ", tensor.Shape);
            string wanted = string.Join(", ", stored.Shape.Select(dimension => dimension.Size));
            string keys = string.Join(", ", stored.Shape.Select(dimension => dimension.Key));
            throw new CheckpointException(file.Path, $"tensor '{tensor.Name}' has shape [{actual}], the configuration asks for [{wanted}] = [{keys}]");
        }
        return new Location(file, tensor, type, stored);
    }

    private static bool Fits(StoredWeight stored, IReadOnlyList<long> shape)
    {
        if (shape.Count != stored.Shape.Length) return false;
        for (int i = 0; i < shape.Count; i++)
        {
            bool more = i == 0 && stored.MoreRowsAllowed && shape[i] > stored.Shape[i].Size;
            if (shape[i] != stored.Shape[i].Size && !more) return false;
        }
        return true;
    }

    private static void ReadRun(Location location, ElementType type, long firstElement, Span<byte> destination)
    {
        int size = type.SizeOf(), elements = destination.Length / size;
        for (int done = 0; done < elements; done += BlockElements)
        {
            int count = Math.Min(BlockElements, elements - done);
            ElementConverter.Convert(location.Elements(firstElement + done, count), location.Type, destination.Slice(done * size, count * size), type);
        }
    }

    /// <summary>
    /// Reads a run of a weight [rows, columns] stored as [columns, rows], in bands of rows: each pass over the stored rows takes a
    /// piece as wide as the band, so that pages are touched in order.
    /// </summary>
    private static void ReadTransposed(Location location, ElementType type, long firstElement, int elements, Span<byte> destination)
    {
        int size = type.SizeOf(), rows = location.Stored.TransposedRows, columns = location.Columns;
        Span<byte> piece = stackalloc byte[BandRows * sizeof(float)];
        long end = firstElement + elements;
        for (long bandRow = firstElement / columns; bandRow * columns < end; bandRow += BandRows)
        {
            int band = (int)Math.Min(BandRows, Math.Min(rows - bandRow, (end - 1) / columns - bandRow + 1));
            for (int column = 0; column < columns; column++)
            {
                ElementConverter.Convert(location.Elements((long)column * rows + bandRow, band), location.Type, piece[..(band * size)], type);
                for (int row = 0; row < band; row++)
                {
                    long element = (bandRow + row) * columns + column;
                    if (element < firstElement || element >= end) continue;
                    piece.Slice(row * size, size).CopyTo(destination[((int)(element - firstElement) * size)..]);
                }
            }
        }
    }

    /// <summary>Compares a run of the embedding table, as read, with the same run of the stored output head.</summary>
    private void CheckHead(Location head, ElementType type, long firstElement, ReadOnlySpan<byte> embedding)
    {
        int size = type.SizeOf();
        Span<byte> block = stackalloc byte[HeadBlockElements * sizeof(float)];
        for (int done = 0; done < embedding.Length; done += HeadBlockElements * size)
        {
            Span<byte> part = block[..Math.Min(HeadBlockElements * size, embedding.Length - done)];
            ReadRun(head, type, firstElement + done / size, part);
            int same = embedding[done..].CommonPrefixLength(part);
            if (same == part.Length) continue;
            throw new CheckpointException(
                head.File.Path,
                $"'{head.Tensor.Name}' differs from '{_layout.EmbeddingTensor}' in row {(firstElement + (done + same) / size) / Config.Width}: the output head of this family is the embedding table");
        }
    }

    /// <summary>A weight in an open file.</summary>
    private sealed record Location(SafetensorsFile File, SafetensorsTensor Tensor, ElementType Type, StoredWeight Stored)
    {
        /// <summary>Columns of a weight that is stored transposed: the extent before the last one there.</summary>
        internal int Columns => Stored.Shape[^2].Size;

        /// <summary>The bytes of a run of the weight's elements in stored order.</summary>
        internal ReadOnlySpan<byte> Elements(long first, int count) =>
            File.Bytes(Tensor, (Stored.FirstElement + first) * Type.SizeOf(), count * Type.SizeOf());
    }
}
