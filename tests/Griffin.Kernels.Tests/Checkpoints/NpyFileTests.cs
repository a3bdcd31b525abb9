using System.Text;
using Griffin.Kernels.Checkpoints;

namespace Griffin.Kernels.Tests.Checkpoints;

internal sealed class NpyFileTests
{
    [TestCase(1, 1)]
    [TestCase(3, 5)]
    [TestCase(0, 7)]
    [TestCase(1, 100_000)]
    public void A_matrix_is_read_back_by_another_reader(int rows, int columns)
    {
        using TempFolder folder = new();
        float[] values = new CounterRandom(3).Normals(rows * columns);
        using (NpyMatrixWriter writer = new(folder.File("x.npy"), rows, columns))
        {
            for (int row = 0; row < rows; row++) writer.Write(values.AsSpan(row * columns, columns));
            Assert.That(() => writer.Write(new float[1]), Throws.ArgumentException);
            Assert.That(File.Exists(folder.File("x.npy")), Is.False, "the file has its name before it is whole");
            writer.Commit();
        }
        TestTensor tensor = Npy.Read(folder.File("x.npy"));
        Assert.That(tensor.Shape, Is.EqualTo(new[] { rows, columns }));
        Assert.That(tensor.Values, Is.EqualTo(values.Select(value => (double)value)));
        Assert.That((new FileInfo(folder.File("x.npy")).Length - 4L * values.Length) % 64, Is.Zero, "the data is 64-byte aligned");
    }

    [Test]
    public void An_unfinished_matrix_leaves_nothing()
    {
        using TempFolder folder = new();
        using (NpyMatrixWriter writer = new(folder.File("x.npy"), 2, 2)) Assert.That(writer.Commit, Throws.InvalidOperationException);
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void The_reference_tokens_are_read()
    {
        string path = TestData.Path("oracle/small/tokens.npy");
        Assert.That(NpyFile.ReadTokens(path), Is.EqualTo(Npy.ReadIntegers(path)).And.Length.EqualTo(48));
    }

    [TestCase("<i4", "(3,)", 1)]
    [TestCase("<i4", "(1, 3)", 1)]
    [TestCase("<i8", "(3,)", 2)]
    [TestCase("<i8", "(1, 3)", 3)]
    public void Both_integer_types_shapes_and_all_versions_are_read(string type, string shape, int version)
    {
        using TempFolder folder = new();
        byte[] data = type == "<i4"
            ? [.. new[] { 5, -7, int.MaxValue }.SelectMany(BitConverter.GetBytes)]
            : [.. new[] { 5L, -7, int.MaxValue }.SelectMany(BitConverter.GetBytes)];
        Assert.That(NpyFile.ReadTokens(Write(folder, type, shape, data, version)), Is.EqualTo(new[] { 5, -7, int.MaxValue }));
    }

    [TestCase("<u2", 2, 65535L)]
    [TestCase("<u4", 4, (long)int.MaxValue)]
    public void Unsigned_types_are_read(string type, int size, long highest)
    {
        using TempFolder folder = new();
        byte[] data = [.. new[] { 5, 0, highest }.SelectMany(token => BitConverter.GetBytes(token).Take(size))];
        Assert.That(NpyFile.ReadTokens(Write(folder, type, "(3,)", data)), Is.EqualTo(new[] { 5, 0, (int)highest }));
    }

    [Test]
    public void No_tokens_are_no_error_here()
    {
        using TempFolder folder = new();
        Assert.That(NpyFile.ReadTokens(Write(folder, "<i4", "(0,)", [])), Is.Empty);
    }

    [TestCase("<f4", "(3,)", 12, "holds elements of type '<f4': tokens are int32, int64, uint16 or uint32, little-endian")]
    [TestCase(">i4", "(3,)", 12, "holds elements of type '>i4': tokens are int32, int64, uint16 or uint32, little-endian")]
    [TestCase("<i4", "(2, 3)", 24, "has shape [2, 3]: tokens are [T] or [1, T]")]
    [TestCase("<i4", "(1, 1, 3)", 12, "has shape [1, 1, 3]: tokens are [T] or [1, T]")]
    [TestCase("<i4", "(3,)", 11, "announces 3 elements of 4 bytes but holds 11 bytes: truncated or damaged")]
    [TestCase("<i4", "(3,)", 16, "announces 3 elements of 4 bytes but holds 16 bytes: truncated or damaged")]
    [TestCase("<i8", "(9223372036854775807,)", 8, "announces 9223372036854775807 elements of 8 bytes but holds 8 bytes: truncated or damaged")]
    public void Each_mistake_has_its_line(string type, string shape, int dataBytes, string line)
    {
        using TempFolder folder = new();
        string path = Write(folder, type, shape, new byte[dataBytes]);
        Assert.That(() => NpyFile.ReadTokens(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: {line}"));
    }

    [Test]
    public void A_token_beyond_32_bits_has_its_line()
    {
        using TempFolder folder = new();
        string path = Write(folder, "<i8", "(1,)", BitConverter.GetBytes(1L << 32));
        Assert.That(() => NpyFile.ReadTokens(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: element 0 is 4294967296: no token id is that large"));
    }

    [TestCase(0, "is no NumPy .npy file")]
    [TestCase(9, "is no NumPy .npy file")]
    [TestCase(40, "is truncated inside its header")]
    public void Each_truncation_has_its_line(int length, string line)
    {
        using TempFolder folder = new();
        string path = Write(folder, "<i4", "(3,)", new byte[12]);
        using (FileStream file = File.OpenWrite(path)) file.SetLength(length);
        Assert.That(() => NpyFile.ReadTokens(path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo($"{path}: {line}"));
    }

    private static string Write(TempFolder folder, string type, string shape, byte[] data, int version = 1)
    {
        byte[] header = Encoding.ASCII.GetBytes($"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}, }}\n");
        byte[] length = version == 1 ? BitConverter.GetBytes((ushort)header.Length) : BitConverter.GetBytes(header.Length);
        string path = folder.File("tokens.npy");
        File.WriteAllBytes(path, [0x93, .. "NUMPY"u8, (byte)version, 0, .. length, .. header, .. data]);
        return path;
    }
}
