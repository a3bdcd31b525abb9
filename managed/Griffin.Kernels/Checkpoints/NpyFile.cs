using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Griffin.Kernels.Checkpoints;

/// <summary>NumPy array files: token ids in, float32 matrices out.</summary>
public static class NpyFile
{
    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Reads token ids: int32, int64, uint16 or uint32, shape [T] or [1, T].</summary>
    /// <exception cref="CheckpointException">The file is missing or holds something else, or an id does not fit 32 bits.</exception>
    public static int[] ReadTokens(string path)
    {
        byte[] file = JsonFile.ReadBytes(path);
        (string type, long[] shape, int dataStart) = ReadHeader(file, path);
        if (type is not ("<i4" or "<i8" or "<u2" or "<u4"))
            throw new CheckpointException(path, $"holds elements of type '{type}': tokens are int32, int64, uint16 or uint32, little-endian");
        if (!(shape.Length == 1 || (shape.Length == 2 && shape[0] == 1)))
            throw new CheckpointException(path, $"has shape [{string.Join(", ", shape)}]: tokens are [T] or [1, T]");
        int size = type[2] - '0';
        long count = shape[^1];
        if (count != (file.Length - dataStart) / size || (file.Length - dataStart) % size != 0)
            throw new CheckpointException(path, $"announces {count} elements of {size} bytes but holds {file.Length - dataStart} bytes: truncated or damaged");
        ReadOnlySpan<byte> data = file.AsSpan(dataStart);
        int[] tokens = new int[count];
        for (int i = 0; i < tokens.Length; i++)
        {
            ReadOnlySpan<byte> element = data.Slice(size * i, size);
            long token = type switch
            {
                "<i4" => BinaryPrimitives.ReadInt32LittleEndian(element),
                "<i8" => BinaryPrimitives.ReadInt64LittleEndian(element),
                "<u2" => BinaryPrimitives.ReadUInt16LittleEndian(element),
                _ => BinaryPrimitives.ReadUInt32LittleEndian(element),
            };
            if (token != (int)token) throw new CheckpointException(path, $"element {i} is {token}: no token id is that large");
            tokens[i] = (int)token;
        }
        return tokens;
    }

    private static (string Type, long[] Shape, int DataStart) ReadHeader(byte[] file, string path)
    {
        if (file.Length < 10 || !file.AsSpan(0, 6).SequenceEqual(Magic)) throw new CheckpointException(path, "is no NumPy .npy file");
        bool longLength = file[6] >= 2;
        int headerStart = longLength ? 12 : 10;
        long headerBytes = file.Length < headerStart ? long.MaxValue
            : longLength ? BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(8)) : BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(8));
        if (headerBytes > file.Length - headerStart) throw new CheckpointException(path, "is truncated inside its header");
        string header = Encoding.UTF8.GetString(file, headerStart, (int)headerBytes);
        if (Field(header, "descr") is not ['\'', .. string type, '\'']
            || Field(header, "fortran_order") is not { } order
            || Field(header, "shape") is not ['(', .. string extents, ')']
            || !TryParseShape(extents, out long[] shape))
        {
            throw new CheckpointException(path, $"has a header that is not understood: {header.Trim()}");
        }
        if (order != "False" && shape.Length > 1) throw new CheckpointException(path, "is in Fortran order: save it in C order");
        return (type, shape, headerStart + (int)headerBytes);
    }

    /// <summary>The text of one value of the header's dictionary: a tuple with its brackets, or all up to the next comma.</summary>
    private static string? Field(string header, string key)
    {
        int at = header.IndexOf($"'{key}':", StringComparison.Ordinal);
        if (at < 0) return null;
        string rest = header[(at + key.Length + 3)..].TrimStart();
        int end = rest.StartsWith('(') ? rest.IndexOf(')', StringComparison.Ordinal) + 1 : rest.IndexOfAny([',', '}']);
        return end <= 0 ? null : rest[..end].TrimEnd();
    }

    private static bool TryParseShape(string extents, out long[] shape)
    {
        string[] parts = extents.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        shape = new long[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            if (!long.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out shape[i])) return false;
        }
        return parts.Length > 0;
    }

    /// <summary>The header of a float32 matrix, padded so that the data is 64-byte aligned.</summary>
    internal static byte[] FloatHeader(long rows, long columns)
    {
        string text = string.Create(CultureInfo.InvariantCulture, $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
        int length = (10 + text.Length + 1 + 63) / 64 * 64 - 10;
        byte[] header = new byte[10 + length];
        Magic.CopyTo(header);
        header[6] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), (ushort)length);
        Encoding.ASCII.GetBytes(text.PadRight(length - 1) + "\n", header.AsSpan(10));
        return header;
    }
}

/// <summary>Writes a float32 matrix as a NumPy file, rows as they come; the file appears only when all are there.</summary>
public sealed class NpyMatrixWriter : IDisposable
{
    private readonly AtomicFile _file;
    private long _left;

    /// <summary>Creates the file.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="rows">Rows to come.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <exception cref="IOException">The file cannot be created.</exception>
    public NpyMatrixWriter(string path, long rows, long columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        _left = checked(rows * columns);
        _file = AtomicFile.Create(path);
        _file.Stream.Write(NpyFile.FloatHeader(rows, columns));
    }

    /// <summary>Appends elements in row-major order.</summary>
    /// <exception cref="ArgumentException">More elements than the matrix has left.</exception>
    public void Write(ReadOnlySpan<float> elements)
    {
        if (elements.Length > _left) throw new ArgumentException($"{elements.Length} elements, {_left} are left to write", nameof(elements));
        _file.Stream.Write(MemoryMarshal.AsBytes(elements));
        _left -= elements.Length;
    }

    /// <summary>Gives the file its name.</summary>
    /// <exception cref="InvalidOperationException">Elements are missing.</exception>
    public void Commit()
    {
        if (_left != 0) throw new InvalidOperationException($"{_left} elements were not written");
        _file.Commit();
    }

    /// <summary>Closes the file; without <see cref="Commit"/> nothing is left of it.</summary>
    public void Dispose() => _file.Dispose();
}
