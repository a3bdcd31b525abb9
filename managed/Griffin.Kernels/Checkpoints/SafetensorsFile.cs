using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Text.Json;

namespace Griffin.Kernels.Checkpoints;

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its element type as the header spells it: "BF16", "F32", ….</param>
/// <param name="Shape">Its extents, row-major; empty for a scalar.</param>
/// <param name="Offset">Where its bytes begin in the file.</param>
/// <param name="Bytes">How many there are.</param>
public sealed record SafetensorsTensor(string Name, string Type, IReadOnlyList<long> Shape, long Offset, long Bytes);

/// <summary>
/// A safetensors file, memory-mapped for reading. Opening checks the whole header before anything is believed: its length, its
/// JSON, and that the tensors cover the data exactly: inside the file, of the size that type and shape ask for, no overlap, no hole.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Longer headers are refused, as the format's own readers do.</summary>
    private const long LongestHeader = 100_000_000;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly Dictionary<string, SafetensorsTensor> _tensors;
    private unsafe byte* _base;

    private unsafe SafetensorsFile(string path, MemoryMappedFile file, Dictionary<string, SafetensorsTensor> tensors)
    {
        Path = path;
        _file = file;
        _tensors = tensors;
        _view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _base);
        _base += _view.PointerOffset;
    }

    /// <summary>The file's path.</summary>
    public string Path { get; }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsTensor> Tensors => _tensors;

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="CheckpointException">The file is missing, truncated, or its header lies.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            Dictionary<string, SafetensorsTensor> tensors = ReadHeader(stream, path);
            MemoryMappedFile mapped = MemoryMappedFile.CreateFromFile(
                stream, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            return new SafetensorsFile(path, mapped, tensors);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException(path, "no such file", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(path, $"cannot be read ({error.Message})", error);
        }
    }

    /// <summary>A run of a tensor's bytes, straight from the mapping; valid until the file is disposed.</summary>
    internal unsafe ReadOnlySpan<byte> Bytes(SafetensorsTensor tensor, long offset, int count)
    {
        ObjectDisposedException.ThrowIf(_base == null, this);
        if (offset < 0 || count < 0 || offset > tensor.Bytes - count) throw new ArgumentOutOfRangeException(nameof(offset));
        return new ReadOnlySpan<byte>(_base + tensor.Offset + offset, count);
    }

    /// <summary>Closes the mapping.</summary>
    public unsafe void Dispose()
    {
        if (_base == null) return;
        _base = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }

    private static Dictionary<string, SafetensorsTensor> ReadHeader(FileStream stream, string path)
    {
        long fileBytes = stream.Length;
        if (fileBytes < 8) throw new CheckpointException(path, $"is truncated: {fileBytes} bytes hold no safetensors header");
        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerBytes > LongestHeader)
            throw new CheckpointException(path, $"claims a header of {headerBytes} bytes, more than {LongestHeader}: not a safetensors file, or damaged");
        if ((long)headerBytes > fileBytes - 8)
            throw new CheckpointException(path, $"is truncated: its header of {headerBytes} bytes ends beyond the file's {fileBytes}");

        byte[] header = new byte[headerBytes];
        stream.ReadExactly(header);
        long dataStart = 8 + (long)headerBytes;
        using JsonDocument document = JsonFile.Parse(header, path);
        Dictionary<string, SafetensorsTensor> tensors = new(StringComparer.Ordinal);
        foreach (JsonProperty property in JsonFile.RootObject(document, path).EnumerateObject())
        {
            if (property.Name != "__metadata__")
                tensors.Add(property.Name, ReadTensor(property, path, dataStart, fileBytes - dataStart));
        }
        CheckCoverage(tensors.Values, path, dataStart, fileBytes);
        return tensors;
    }

    private static SafetensorsTensor ReadTensor(JsonProperty property, string path, long dataStart, long dataBytes)
    {
        CheckpointException Wrong(string problem) => new(path, $"tensor '{property.Name}' {problem}");

        if (property.Value.ValueKind != JsonValueKind.Object
            || !property.Value.TryGetProperty("dtype", out JsonElement dtype) || dtype.ValueKind != JsonValueKind.String
            || !property.Value.TryGetProperty("shape", out JsonElement shapeElement) || !TryReadLongs(shapeElement, out List<long> shape)
            || !property.Value.TryGetProperty("data_offsets", out JsonElement offsetsElement) || !TryReadLongs(offsetsElement, out List<long> offsets)
            || offsets.Count != 2)
        {
            throw Wrong("has no proper dtype, shape and data_offsets");
        }

        string type = dtype.GetString()!;
        if (BitsOf(type) is not { } bits) throw Wrong($"has the unknown dtype '{type}'");
        long begin = offsets[0], end = offsets[1];
        if (begin > end || end > dataBytes)
            throw Wrong($"lies at bytes {begin} to {end} of the data, of which the file has {dataBytes}: truncated or damaged");
        if (BytesOf(shape, bits) is not { } needed || needed != end - begin)
            throw Wrong($"has {end - begin} bytes, which do not fit {type} of shape [{string.Join(", ", shape)}]");
        return new SafetensorsTensor(property.Name, type, shape, dataStart + begin, needed);
    }

    private static void CheckCoverage(IEnumerable<SafetensorsTensor> tensors, string path, long dataStart, long fileBytes)
    {
        long covered = dataStart;
        string previous = "the header";
        foreach (SafetensorsTensor tensor in tensors.OrderBy(tensor => tensor.Offset).ThenBy(tensor => tensor.Bytes))
        {
            if (tensor.Offset < covered) throw new CheckpointException(path, $"tensor '{tensor.Name}' overlaps {previous}");
            if (tensor.Offset > covered) throw new CheckpointException(path, $"{tensor.Offset - covered} bytes before tensor '{tensor.Name}' belong to no tensor");
            covered = tensor.Offset + tensor.Bytes;
            previous = $"'{tensor.Name}'";
        }
        if (covered != fileBytes) throw new CheckpointException(path, $"{fileBytes - covered} bytes at the end belong to no tensor");
    }

    private static bool TryReadLongs(JsonElement element, out List<long> values)
    {
        values = [];
        if (element.ValueKind != JsonValueKind.Array) return false;
        foreach (JsonElement item in element.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt64(out long value) || value < 0) return false;
            values.Add(value);
        }
        return true;
    }

    /// <summary>Bytes of a tensor; null when they are not whole or beyond 2⁶³ − 1.</summary>
    private static long? BytesOf(List<long> shape, int bits)
    {
        // Before each product the total is below 2⁶⁷, so it cannot overflow 128 bits.
        UInt128 total = (UInt128)bits;
        foreach (long extent in shape)
        {
            total *= (UInt128)extent;
            if (total > (UInt128)long.MaxValue * 8) return null;
        }
        return total % 8 == 0 ? (long)(total / 8) : null;
    }

    private static int? BitsOf(string type) => type switch
    {
        "F64" or "I64" or "U64" or "C64" => 64,
        "F32" or "I32" or "U32" => 32,
        "F16" or "BF16" or "I16" or "U16" => 16,
        "BOOL" or "U8" or "I8" or "F8_E4M3" or "F8_E5M2" or "F8_E8M0" or "F8_E4M3FNUZ" or "F8_E5M2FNUZ" => 8,
        "F6_E2M3" or "F6_E3M2" => 6,
        "F4" => 4,
        _ => null,
    };
}
