using System.Buffers.Binary;
using System.Text;

namespace Griffin.Kernels.Training.Logging;

/// <summary>Builds one protocol-buffer message field by field (proto3 wire format).</summary>
internal sealed class ProtobufMessage
{
    private const int Varint = 0, Fixed64 = 1, LengthDelimited = 2, Fixed32 = 5;

    private readonly List<byte> _bytes = [];

    /// <summary>The message so far.</summary>
    internal byte[] ToArray() => [.. _bytes];

    internal ProtobufMessage Add(int field, long value)
    {
        AddTag(field, Varint);
        AddVarint((ulong)value);
        return this;
    }

    internal ProtobufMessage Add(int field, double value)
    {
        AddTag(field, Fixed64);
        Span<byte> bytes = stackalloc byte[sizeof(double)];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
        _bytes.AddRange(bytes);
        return this;
    }

    internal ProtobufMessage Add(int field, float value)
    {
        AddTag(field, Fixed32);
        Span<byte> bytes = stackalloc byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        _bytes.AddRange(bytes);
        return this;
    }

    internal ProtobufMessage Add(int field, string value) => AddBytes(field, Encoding.UTF8.GetBytes(value));

    internal ProtobufMessage Add(int field, ProtobufMessage value) => AddBytes(field, value.ToArray());

    private ProtobufMessage AddBytes(int field, ReadOnlySpan<byte> value)
    {
        AddTag(field, LengthDelimited);
        AddVarint((ulong)value.Length);
        _bytes.AddRange(value);
        return this;
    }

    private void AddTag(int field, int wireType) => AddVarint((ulong)(field << 3 | wireType));

    private void AddVarint(ulong value)
    {
        for (; value >= 0x80; value >>= 7) _bytes.Add((byte)(value | 0x80));
        _bytes.Add((byte)value);
    }
}
