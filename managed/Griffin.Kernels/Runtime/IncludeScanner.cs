using System.Text.RegularExpressions;

namespace Griffin.Kernels.Runtime;

/// <summary>Finds the headers that a source reaches, so that the compiler gets exactly those and the cache key covers exactly those.</summary>
internal static partial class IncludeScanner
{
    /// <summary>The headers reached from a source, ordered by name, and whether the list is surely complete.</summary>
    /// <remarks>
    /// Conditions are not evaluated: a header counts as reached when any line includes it. An include whose name is not among the source's
    /// headers, or is made by a macro, could be read from the disk: then the list is not complete and the result must not be cached.
    /// </remarks>
    public static (IReadOnlyList<KeyValuePair<string, string>> Headers, bool Complete) Reach(KernelSource source)
    {
        SortedDictionary<string, string> reached = new(StringComparer.Ordinal);
        Stack<string> pending = new([source.Text]);
        bool complete = true;
        while (pending.TryPop(out string? text))
        {
            foreach (Match include in IncludePattern().Matches(text))
            {
                string name = include.Groups[1].Value;
                if (reached.ContainsKey(name)) continue;
                if (name.Length > 0 && source.Headers.TryGetValue(name, out string? header))
                {
                    reached.Add(name, header);
                    pending.Push(header);
                }
                else
                {
                    complete = false;
                }
            }
        }
        return ([.. reached], complete);
    }

    [GeneratedRegex("""^[ \t]*#[ \t]*include\b[ \t]*(?:["<]([^">\n]*)[">])?""", RegexOptions.Multiline)]
    private static partial Regex IncludePattern();
}
