using System.Buffers.Binary;
using System.Text.Json;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>A plain safetensors reader and writer for the tests, independent of the library's own.</summary>
internal static class TestSafetensors
{
    /// <summary>Every tensor of a file with F32 or BF16 tensors.</summary>
    public static Dictionary<string, TestTensor> Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var start = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        using var header = JsonDocument.Parse(bytes.AsMemory(8, start - 8));
        var tensors = new Dictionary<string, TestTensor>(StringComparer.Ordinal);
        foreach (var entry in header.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__"))
        {
            var shape = entry.Value.GetProperty("shape").EnumerateArray().Select(n => n.GetInt32()).ToArray();
            var offsets = entry.Value.GetProperty("data_offsets");
            var data = bytes.AsSpan((start + offsets[0].GetInt32())..(start + offsets[1].GetInt32()));
            var bf16 = entry.Value.GetProperty("dtype").GetString() == "BF16";
            var values = new double[data.Length / (bf16 ? 2 : 4)];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = bf16
                    ? BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(data[(2 * i)..]) << 16)
                    : BinaryPrimitives.ReadSingleLittleEndian(data[(4 * i)..]);
            }

            tensors.Add(entry.Name, new TestTensor(shape, values));
        }

        return tensors;
    }

    /// <summary>Writes tensors as F32, or as BF16 (rounded to nearest even).</summary>
    public static void Write(string path, IEnumerable<KeyValuePair<string, TestTensor>> tensors, bool bf16 = false)
    {
        using var data = new MemoryStream();
        using var headerBytes = new MemoryStream();
        using (var header = new Utf8JsonWriter(headerBytes))
        {
            header.WriteStartObject();
            foreach (var (name, tensor) in tensors)
            {
                var begin = data.Position;
                foreach (var value in tensor.Values)
                {
                    if (bf16)
                        data.Write(BitConverter.GetBytes(Bf16.Bits((float)value)));
                    else
                        data.Write(BitConverter.GetBytes((float)value));
                }

                header.WriteStartObject(name);
                header.WriteString("dtype", bf16 ? "BF16" : "F32");
                header.WriteStartArray("shape");
                foreach (var n in tensor.Shape)
                    header.WriteNumberValue(n);
                header.WriteEndArray();
                header.WriteStartArray("data_offsets");
                header.WriteNumberValue(begin);
                header.WriteNumberValue(data.Position);
                header.WriteEndArray();
                header.WriteEndObject();
            }

            header.WriteEndObject();
        }

        using var file = File.Create(path);
        file.Write(BitConverter.GetBytes(headerBytes.Length));
        headerBytes.WriteTo(file);
        data.WriteTo(file);
    }
}
