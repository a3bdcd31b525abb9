using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>Reads the .npy files of the reference data: little-endian f4, i4 or i8, row-major.</summary>
internal static partial class Npy
{
    /// <summary>Values and shape of a file.</summary>
    public static TestTensor Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var start = 10 + BitConverter.ToUInt16(bytes, 8);
        var header = Encoding.ASCII.GetString(bytes, 10, start - 10);
        if (header.Contains("'fortran_order': True", StringComparison.Ordinal))
            throw new NotSupportedException($"{path}: column-major arrays are not read");
        var shape = ShapePattern().Match(header).Groups[1].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(n => int.Parse(n, CultureInfo.InvariantCulture)).ToArray();
        var data = bytes.AsSpan(start);
        double[] values = TypePattern().Match(header).Groups[1].Value switch
        {
            "<f4" => [.. MemoryMarshal.Cast<byte, float>(data).ToArray()],
            "<i4" => [.. MemoryMarshal.Cast<byte, int>(data).ToArray()],
            "<i8" => [.. MemoryMarshal.Cast<byte, long>(data).ToArray().Select(n => (double)n)],
            var other => throw new NotSupportedException($"{path}: element type {other}"),
        };
        return new TestTensor(shape, values);
    }

    /// <summary>The file's values as integers.</summary>
    public static int[] ReadIntegers(string path) => [.. Read(path).Values.Select(n => (int)n)];

    [GeneratedRegex(@"'shape': \(([^)]*)\)")]
    private static partial Regex ShapePattern();

    [GeneratedRegex("'descr': '([^']*)'")]
    private static partial Regex TypePattern();
}
