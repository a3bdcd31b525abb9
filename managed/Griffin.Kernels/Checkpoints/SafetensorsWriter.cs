using System.Buffers.Binary;
using System.Text.Json;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// Writes a safetensors file as a stream: the header first, then every tensor's bytes in the order announced. The file appears
/// under its name only when <see cref="Commit"/> has seen them all.
/// </summary>
public sealed class SafetensorsWriter : IDisposable
{
    private readonly AtomicFile _file;
    private readonly long _dataBytes;
    private long _written;

    /// <summary>Creates the file and writes its header.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="tensors">Names, types (Float32, BFloat16, Float16) and shapes, in the order their bytes will come.</param>
    /// <exception cref="IOException">The file cannot be created.</exception>
    public SafetensorsWriter(string path, IEnumerable<(string Name, ElementType Type, IReadOnlyList<long> Shape)> tensors)
    {
        byte[] header = Header(tensors, out _dataBytes);
        _file = AtomicFile.Create(path);
        Span<byte> prefix = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        _file.Stream.Write(prefix);
        _file.Stream.Write(header);
    }

    /// <summary>Appends the next bytes, in pieces of any size.</summary>
    /// <exception cref="ArgumentException">More bytes than the header announced.</exception>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > _dataBytes - _written) throw new ArgumentException("more bytes than the header announces", nameof(bytes));
        _file.Stream.Write(bytes);
        _written += bytes.Length;
    }

    /// <summary>Gives the file its name.</summary>
    /// <exception cref="InvalidOperationException">Bytes that the header announced are missing.</exception>
    public void Commit()
    {
        if (_written != _dataBytes) throw new InvalidOperationException($"{_dataBytes - _written} bytes of the tensors were not written");
        _file.Commit();
    }

    /// <summary>Closes the file; without <see cref="Commit"/> nothing is left of it.</summary>
    public void Dispose() => _file.Dispose();

    private static byte[] Header(IEnumerable<(string Name, ElementType Type, IReadOnlyList<long> Shape)> tensors, out long dataBytes)
    {
        long offset = 0;
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt");
            json.WriteEndObject();
            foreach ((string name, ElementType type, IReadOnlyList<long> shape) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", SafetensorsTypes.Name(type));
                WriteLongs(json, "shape", shape);
                long end = offset + shape.Aggregate((long)type.SizeOf(), (product, extent) => checked(product * extent));
                WriteLongs(json, "data_offsets", [offset, end]);
                json.WriteEndObject();
                offset = end;
            }
            json.WriteEndObject();
        }
        dataBytes = offset;
        // Spaces after the object keep the data 8-byte aligned, as the format's own writers do.
        while (text.Length % 8 != 0) text.WriteByte((byte)' ');
        return text.ToArray();
    }

    private static void WriteLongs(Utf8JsonWriter json, string key, IEnumerable<long> values)
    {
        json.WriteStartArray(key);
        foreach (long value in values) json.WriteNumberValue(value);
        json.WriteEndArray();
    }
}
