using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>
/// Every struct that crosses from C# into a kernel has the layout that the kernel's source gives it: fields by name, order, size and offset. The source
/// text itself is read, so a change on either side alone fails.
/// </summary>
public sealed partial class ParamsLayoutTests
{
    private static readonly Dictionary<string, int> scalars = new()
    {
        ["u8"] = 1, ["i8"] = 1, ["u16"] = 2, ["i16"] = 2, ["i32"] = 4, ["u32"] = 4, ["f32"] = 4, ["i64"] = 8, ["u64"] = 8, ["f64"] = 8,
    };

    /// <summary>Structs that the driver fills: bytes and alignment.</summary>
    private static readonly Dictionary<string, (int Size, int Alignment)> opaque = new() { ["TensorMap"] = (128, 64) };

    /// <summary>Mirrors whose names differ from their struct's.</summary>
    private static readonly Dictionary<string, string> renamed = new() { ["PackedRowsParams"] = "PackedRows", ["SlotMemoryParams"] = "SlotMemory" };

    /// <summary>Fields that C# may spell out: a keyword there, or an array named by its contents.</summary>
    private static readonly Dictionary<string, string> spelled = new() { ["Pos"] = "Positions", ["Slot"] = "Slots", ["Phase"] = "Phases", ["Out"] = "Output", ["OutStride"] = "OutputStride" };

    private static readonly Dictionary<string, string> bodies = ReadBodies();

    private static IEnumerable<Type> Mirrors() => typeof(PackedRows).Assembly.GetTypes()
        .Where(type => type.IsValueType && type.Namespace == typeof(PackedRows).Namespace
            && (type.Name.EndsWith("Params", StringComparison.Ordinal) || type.Name == "SamplerState"));

    [TestCaseSource(nameof(Mirrors))]
    public void AMirrorHasItsStructsLayout(Type mirror)
    {
        string name = renamed.GetValueOrDefault(mirror.Name, mirror.Name);
        Assert.That(bodies, Does.ContainKey(name), "there is no such struct in the kernels");
        (List<CField> expected, int size, _) = LayOut(name);
        string[] actual = [.. mirror.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
            .Select(field => (field, offset: Marshal.OffsetOf(mirror, field.Name).ToInt32())).OrderBy(entry => entry.offset)
            .Select(entry => $"{entry.offset}: {entry.field.Name}, {Marshal.SizeOf(entry.field.FieldType)} bytes")];
        Assert.That(actual, Is.EqualTo(expected.Select(field => $"{field.Offset}: {CSharpName(field.Name, actual)}, {field.Size} bytes")));
        Assert.That(Marshal.SizeOf(mirror), Is.EqualTo(size));
        Assert.That(mirror.GetFields(BindingFlags.Instance | BindingFlags.Public).Select(field => field.FieldType), Has.None.EqualTo(typeof(bool)));
    }

    [Test]
    public void EveryKernelsParametersHaveAMirror()
    {
        IEnumerable<string> inKernels = bodies.Keys.Where(name => name.EndsWith("Params", StringComparison.Ordinal));
        Assert.That(inKernels, Is.Not.Empty.And.SubsetOf(Mirrors().Select(mirror => mirror.Name)));
    }

    private static string CSharpName(string field, string[] actual)
    {
        string name = string.Concat(field.Split('_').Select(part => char.ToUpperInvariant(part[0]) + part[1..]));
        return spelled.TryGetValue(name, out string? whole) && actual.Any(line => line.Contains($": {whole},", StringComparison.Ordinal)) ? whole : name;
    }

    private static (List<CField> Fields, int Size, int Alignment) LayOut(string name)
    {
        List<CField> fields = [];
        int offset = 0, largest = 1;
        foreach (Match declaration in DeclarationPattern().Matches(bodies[name]))
        {
            string type = declaration.Groups[1].Value;
            bool pointer = declaration.Groups[2].Value.Contains('*', StringComparison.Ordinal);
            foreach (string one in declaration.Groups[3].Value.Split(',', StringSplitOptions.TrimEntries))
            {
                (int size, int alignment) = pointer ? (8, 8) : SizeOf(type);
                offset = RoundUp(offset, alignment);
                fields.Add(new(one, offset, size));
                offset += size;
                largest = Math.Max(largest, alignment);
            }
        }
        return (fields, RoundUp(offset, largest), largest);
    }

    private static (int Size, int Alignment) SizeOf(string type)
    {
        if (scalars.TryGetValue(type, out int size)) return (size, size);
        if (opaque.TryGetValue(type, out (int, int) layout)) return layout;
        (_, int total, int alignment) = LayOut(type);
        return (total, alignment);
    }

    private static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;

    private static Dictionary<string, string> ReadBodies()
    {
        Dictionary<string, string> found = [];
        KernelSource[] sources = [.. KernelSource.BuiltInNames.Select(KernelSource.BuiltIn)];
        foreach (string text in sources.Select(source => source.Text).Concat(sources[0].Headers.Values))
            foreach (Match match in StructPattern().Matches(CommentPattern().Replace(text, "")))
                found[match.Groups[1].Value] = match.Groups[2].Value;
        return found;
    }

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex CommentPattern();

    [GeneratedRegex(@"\bstruct (\w+) \{([^{}()]*)\};")]
    private static partial Regex StructPattern();

    [GeneratedRegex(@"(?:const\s+)?(\w+)\s*(\*?)\s*(?:const\s+)?(?:__restrict__\s+)?([\w, ]+);")]
    private static partial Regex DeclarationPattern();

    private sealed record CField(string Name, int Offset, int Size);
}
