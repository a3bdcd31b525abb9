using System.Text;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Checkpoints;

/// <summary>Files that lie, each refused in one line, and files that do not.</summary>
internal sealed class SafetensorsFileTests
{
    private const string Two = """{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}""";

    [Test]
    public void A_file_is_read()
    {
        using TempFolder folder = new();
        byte[] data = [.. Enumerable.Range(0, 22).Select(i => (byte)i)];
        using SafetensorsFile file = SafetensorsFile.Open(Write(folder, Two, data));
        SafetensorsTensor a = file.Tensors["a"], b = file.Tensors["b"];
        Assert.That((a.Type, b.Type, a.Bytes, b.Bytes), Is.EqualTo(("F32", "BF16", 16L, 6L)));
        Assert.That(a.Shape, Is.EqualTo(new long[] { 2, 2 }));
        Assert.That(file.Bytes(b, 2, 4).ToArray(), Is.EqualTo(data[18..22]));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}""", 4)]
    [TestCase("""{"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}    """, 8)]
    [TestCase("""{"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 3)]
    [TestCase("{}", 0)]
    public void Scalars_empty_tensors_metadata_padding_and_any_order_are_fine(string header, int dataBytes)
    {
        using TempFolder folder = new();
        Assert.That(() => SafetensorsFile.Open(Write(folder, header, new byte[dataBytes])).Dispose(), Throws.Nothing);
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""", 15, "tensor 'a' lies at bytes 0 to 16 of the data, of which the file has 15: truncated or damaged")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[16,8]}}""", 16, "tensor 'a' lies at bytes 16 to 8 of the data, of which the file has 16: truncated or damaged")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}""", 16, "tensor 'a' lies at bytes 0 to 9223372036854775807 of the data, of which the file has 16: truncated or damaged")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,12]}}""", 12, "tensor 'a' has 12 bytes, which do not fit F32 of shape [2, 2]")]
    [TestCase("""{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""", 0, "tensor 'a' has 0 bytes, which do not fit F32 of shape [4294967296, 4294967296]")]
    [TestCase("""{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}""", 1, "tensor 'a' has 1 bytes, which do not fit F4 of shape [3]")]
    [TestCase("""{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", 4, "tensor 'a' has the unknown dtype 'F33'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", 4, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 8, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":7}""", 4, "tensor 'a' has no proper dtype, shape and data_offsets")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "tensor 'b' overlaps 'a'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12, "4 bytes before tensor 'b' belong to no tensor")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 7, "3 bytes at the end belong to no tensor")]
    [TestCase("""[]""", 0, "holds a JSON array where an object is needed")]
    public void Each_lie_has_its_line(string header, int dataBytes, string line)
    {
        using TempFolder folder = new();
        string path = Write(folder, header, new byte[dataBytes]);
        Assert.That(() => SafetensorsFile.Open(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: {line}"));
    }

    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8)]
    [TestCase("{\"a\":", 0)]
    [TestCase("\u0001\u0002", 0)]
    [TestCase("", 0)]
    public void A_header_that_is_no_JSON_or_names_a_tensor_twice_has_its_line(string header, int dataBytes)
    {
        using TempFolder folder = new();
        string path = Write(folder, header, new byte[dataBytes]);
        CheckpointException error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path))!;
        Assert.That(error.Message, Does.StartWith($"{path}: is not valid JSON (").And.Not.Contain("\n"));
    }

    [TestCase(0, "is truncated: 0 bytes hold no safetensors header")]
    [TestCase(7, "is truncated: 7 bytes hold no safetensors header")]
    [TestCase(8, "is truncated: its header of 113 bytes ends beyond the file's 8")]
    [TestCase(120, "is truncated: its header of 113 bytes ends beyond the file's 120")]
    [TestCase(121, "tensor 'a' lies at bytes 0 to 16 of the data, of which the file has 0: truncated or damaged")]
    [TestCase(142, "tensor 'b' lies at bytes 16 to 22 of the data, of which the file has 21: truncated or damaged")]
    public void Each_truncation_has_its_line(int length, string line)
    {
        using TempFolder folder = new();
        string path = Write(folder, Two, new byte[22]);
        using (FileStream file = File.OpenWrite(path)) file.SetLength(length);
        Assert.That(() => SafetensorsFile.Open(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: {line}"));
    }

    [TestCase(ulong.MaxValue, "claims a header of 18446744073709551615 bytes, more than 100000000: not a safetensors file, or damaged")]
    [TestCase(100_000_001UL, "claims a header of 100000001 bytes, more than 100000000: not a safetensors file, or damaged")]
    public void An_absurd_header_length_has_its_line(ulong length, string line)
    {
        using TempFolder folder = new();
        string path = Write(folder, Two, new byte[22], length);
        Assert.That(() => SafetensorsFile.Open(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: {line}"));
    }

    [Test]
    public void A_missing_file_has_its_line() =>
        Assert.That(() => SafetensorsFile.Open("/nowhere/x.safetensors"), Throws.TypeOf<CheckpointException>().With.Message.EqualTo("/nowhere/x.safetensors: no such file"));

    [Test]
    public void The_writer_writes_what_another_reader_reads()
    {
        using TempFolder folder = new();
        string path = folder.File("x.safetensors");
        using (SafetensorsWriter writer = new(path, [("b", ElementType.Float32, [2, 1]), ("a", ElementType.BFloat16, [3])]))
        {
            writer.Write(BitConverter.GetBytes(1.5f));
            writer.Write(BitConverter.GetBytes(-2f));
            writer.Write(new byte[] { 0x80, 0x3F, 0, 0, 0x80 });
            Assert.That(File.Exists(path), Is.False, "the file has its name before it is whole");
            Assert.That(writer.Commit, Throws.InvalidOperationException);
            writer.Write(new byte[] { 0xBF });
            Assert.That(() => writer.Write(new byte[1]), Throws.ArgumentException);
            writer.Commit();
        }
        Dictionary<string, TestTensor> tensors = TestSafetensors.Read(path);
        Assert.That(tensors["b"].Values, Is.EqualTo(new[] { 1.5, -2 }));
        Assert.That(tensors["a"].Values, Is.EqualTo(new[] { 1.0, 0, -1 }));
        Assert.That(BitConverter.ToInt64(File.ReadAllBytes(path)) % 8, Is.Zero, "the data is 8-byte aligned");
        using SafetensorsFile ours = SafetensorsFile.Open(path);
        Assert.That(ours.Tensors.Keys, Is.EquivalentTo(new[] { "a", "b" }));
    }

    [Test]
    public void An_abandoned_file_leaves_nothing()
    {
        using TempFolder folder = new();
        new SafetensorsWriter(folder.File("x.safetensors"), [("a", ElementType.Float32, [2])]).Dispose();
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    private static string Write(TempFolder folder, string header, byte[] data, ulong? claimedLength = null)
    {
        string path = folder.File("x.safetensors");
        byte[] text = Encoding.UTF8.GetBytes(header);
        File.WriteAllBytes(path, [.. BitConverter.GetBytes(claimedLength ?? (ulong)text.Length), .. text, .. data]);
        return path;
    }
}
