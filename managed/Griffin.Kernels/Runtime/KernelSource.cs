using System.Collections.Frozen;
using System.Text;

namespace Griffin.Kernels.Runtime;

/// <summary>The source text of a kernel with the headers that it may include.</summary>
/// <param name="Name">The name in messages, for instance "rms_norm.cu".</param>
/// <param name="Text">CUDA C++ source.</param>
/// <param name="Headers">Header texts by the name used in <c>#include</c>.</param>
public sealed record KernelSource(string Name, string Text, IReadOnlyDictionary<string, string> Headers)
{
    private const string ResourcePrefix = "kernels/";

    private static readonly Lazy<FrozenDictionary<string, string>> builtInFiles = new(ReadBuiltInFiles);
    private static readonly Lazy<FrozenDictionary<string, string>> builtInHeaders = new(() =>
        builtInFiles.Value.Where(file => file.Key.EndsWith(".cuh", StringComparison.Ordinal)).ToFrozenDictionary(StringComparer.Ordinal));

    /// <summary>Names of the kernel files that come with the library, in order.</summary>
    public static IReadOnlyList<string> BuiltInNames { get; } =
        [.. builtInFiles.Value.Keys.Where(name => name.EndsWith(".cu", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>A kernel file that comes with the library, for instance "rms_norm.cu".</summary>
    /// <exception cref="ArgumentException">There is no such file.</exception>
    public static KernelSource BuiltIn(string name) =>
        builtInFiles.Value.TryGetValue(name, out string? text)
            ? new(name, text, builtInHeaders.Value)
            : throw new ArgumentException($"There is no built-in kernel file '{name}'.", nameof(name));

    /// <summary>A kernel of your own; it may include the library's headers ("include/bf16.cuh" …) and <paramref name="headers"/> of its own, which win.</summary>
    public static KernelSource FromText(string name, string text, IReadOnlyDictionary<string, string>? headers = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(text);
        if (headers is null) return new(name, text, builtInHeaders.Value);
        Dictionary<string, string> all = new(builtInHeaders.Value, StringComparer.Ordinal);
        foreach ((string header, string body) in headers) all[header] = body;
        return new(name, text, all);
    }

    private static FrozenDictionary<string, string> ReadBuiltInFiles()
    {
        System.Reflection.Assembly assembly = typeof(KernelSource).Assembly;
        Dictionary<string, string> files = new(StringComparer.Ordinal);
        foreach (string resource in assembly.GetManifestResourceNames().Where(name => name.StartsWith(ResourcePrefix, StringComparison.Ordinal)))
        {
            using StreamReader reader = new(assembly.GetManifestResourceStream(resource)!, Encoding.UTF8);
            files[resource[ResourcePrefix.Length..]] = reader.ReadToEnd();
        }
        return files.ToFrozenDictionary(StringComparer.Ordinal);
    }
}
