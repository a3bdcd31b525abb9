using System.Globalization;
using System.Text.RegularExpressions;

namespace Griffin.Kernels.Runtime;

/// <summary>What a kernel needs, as ptxas reports it under <c>--ptxas-options=-v</c>.</summary>
/// <param name="Registers">Registers per thread.</param>
/// <param name="SpillStoreBytes">Bytes of spill stores per thread.</param>
/// <param name="SpillLoadBytes">Bytes of spill loads per thread.</param>
/// <param name="StackBytes">Stack frame of a thread.</param>
/// <param name="StaticSharedBytes">Static shared memory of a block.</param>
public sealed partial record KernelResources(int Registers, int SpillStoreBytes, int SpillLoadBytes, int StackBytes, int StaticSharedBytes)
{
    /// <summary>Finds the report on one function in a compiler log.</summary>
    /// <param name="log">The log.</param>
    /// <param name="loweredName">The function's symbol.</param>
    /// <returns>The report, or null when the log has none.</returns>
    public static KernelResources? Parse(string log, string loweredName)
    {
        ArgumentNullException.ThrowIfNull(log);
        bool inside = false;
        int? registers = null;
        int stores = 0, loads = 0, stack = 0, shared = 0;
        foreach (string line in log.Split('\n'))
        {
            if (EntryPattern().Match(line) is { Success: true } entry) inside = entry.Groups[1].Value == loweredName;
            else if (PropertiesPattern().Match(line) is { Success: true } properties) inside = properties.Groups[1].Value == loweredName;
            if (!inside) continue;
            if (StackPattern().Match(line) is { Success: true } frame)
                (stack, stores, loads) = (Number(frame, 1), Number(frame, 2), Number(frame, 3));
            if (RegistersPattern().Match(line) is { Success: true } used)
            {
                registers = Number(used, 1);
                shared = SharedPattern().Match(line) is { Success: true } bytes ? Number(bytes, 1) : 0;
            }
        }
        return registers is { } count ? new(count, stores, loads, stack, shared) : null;
    }

    private static int Number(Match match, int group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Compiling entry function '([^']+)'")]
    private static partial Regex EntryPattern();

    [GeneratedRegex(@"Function properties for (\S+)")]
    private static partial Regex PropertiesPattern();

    [GeneratedRegex(@"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")]
    private static partial Regex StackPattern();

    [GeneratedRegex(@"Used (\d+) registers")]
    private static partial Regex RegistersPattern();

    [GeneratedRegex(@"(\d+) bytes smem")]
    private static partial Regex SharedPattern();
}
