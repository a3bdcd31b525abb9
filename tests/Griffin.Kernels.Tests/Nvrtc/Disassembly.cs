using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// The instructions of a kernel's own function, as NVIDIA's disassembler names them: opcodes with their modifiers, each with how often it stands there.
/// </summary>
internal sealed partial class Disassembly
{
    private static readonly ConcurrentDictionary<MachineKernel, Disassembly> known = new(ReferenceEqualityComparer.Instance);
    private readonly string[] _order;
    private readonly Dictionary<string, int> _opcodes;

    private Disassembly(IEnumerable<string> order)
    {
        _order = [.. order];
        _opcodes = _order.CountBy(opcode => opcode).ToDictionary(StringComparer.Ordinal);
    }

    /// <summary>Opcodes, most frequent first: for messages.</summary>
    public override string ToString() => string.Join(' ', _opcodes.OrderByDescending(pair => pair.Value).Select(pair => $"{pair.Key}:{pair.Value}"));

    /// <summary>How many instructions have this operation and all these modifiers, in any order: "LDG.128" counts LDG.E.128.CONSTANT too.</summary>
    public int Count(string operation)
    {
        var parts = operation.Split('.');
        return _opcodes.Where(pair => Means(pair.Key, parts)).Sum(pair => pair.Value);
    }

    /// <summary>The same, of the instructions between neighbouring ones of another operation: before the first of them, between that and the second, and so on.</summary>
    public IReadOnlyList<int> CountsBetween(string bounds, string operation)
    {
        var (bound, parts) = (bounds.Split('.'), operation.Split('.'));
        var counts = new List<int> { 0 };
        foreach (var opcode in _order)
        {
            if (Means(opcode, bound))
                counts.Add(0);
            else if (Means(opcode, parts))
                counts[^1]++;
        }

        return counts;
    }

    /// <summary>The instructions that stand ahead of the first one with this opcode; all where there is none.</summary>
    public Disassembly Before(string opcode) => new(_order.TakeWhile(one => one.Split('.')[0] != opcode));

    /// <summary>Skips the calling test, with the reason, when the disassembler is not there.</summary>
    public static void Require()
    {
        if (!File.Exists(Program))
            Assert.Ignore("nvdisasm is not there: run .ci/fetch-nvrtc");
    }

    /// <summary>Disassembles.</summary>
    public static Disassembly Of(MachineKernel kernel) => known.GetOrAdd(kernel, k => new(Opcodes(FunctionOf(k.Entry.Spec.NameExpression, Run(k.Image)))));

    private static bool Means(string opcode, string[] parts) => opcode.Split('.') is var own && own[0] == parts[0] && parts.Skip(1).All(own.Contains);

    // A file's kernels that are no templates are in every program of it. A mangled name holds the length of its parts.
    private static string FunctionOf(string nameExpression, string text)
    {
        var name = nameExpression.Split('<')[0];
        var section = text.Split("//--------------------- .text.").Skip(1).SingleOrDefault(part => part.StartsWith($"_Z{name.Length}{name}", StringComparison.Ordinal));
        return section ?? throw new InvalidOperationException($"{nameExpression}: no such function in the machine code");
    }

    private static IEnumerable<string> Opcodes(string text) => Instruction().Matches(text).Select(match => match.Groups["opcode"].Value);

    private static string Program => Path.Combine(Repository.Root ?? AppContext.BaseDirectory, "artifacts", "nvrtc", "nvdisasm", "nvdisasm");

    private static string Run(byte[] image)
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(file, image);
            using var process = Process.Start(new ProcessStartInfo(Program, ["--print-code", file]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var error = process.StandardError.ReadToEndAsync();
            var text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.That(process.ExitCode, Is.Zero, error.Result);
            return text;
        }
        finally
        {
            File.Delete(file);
        }
    }

    // A line such as "        /*0090*/               @!P0 LDG.E.128 R4, [R2.64] ;"
    [GeneratedRegex(@"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?(?<opcode>[A-Z][A-Z0-9_]*(?:\.[A-Z0-9_x]+)*)\b", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Instruction();
}
