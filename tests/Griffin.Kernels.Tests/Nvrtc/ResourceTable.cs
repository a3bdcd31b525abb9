using System.Globalization;
using System.Text;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// What every kernel needs on every architecture, by one compiler version: the checked-in file resources-VERSION.tsv. A cell is
/// registers/static shared bytes, with the stack frame appended where there is one. For a few kernels the compiler allocates
/// other registers from run to run (96 or 128, say) with everything given to it equal: so registers agree up to half more than recorded.
/// Run the tests with GRIFFIN_UPDATE_RESOURCES=1 to write the files anew after a kernel changed, and read the difference.
/// </summary>
internal sealed class ResourceTable
{
    private const string Absent = "-";
    private readonly SortedDictionary<string, string[]> _rows = new(StringComparer.Ordinal);
    private readonly string[] _columns;

    public ResourceTable(IEnumerable<string> architectures) => _columns = ["kernel", "threads", "dynamic", .. architectures];

    /// <summary>True when the run is to write the tables.</summary>
    public static bool Updating => Environment.GetEnvironmentVariable("GRIFFIN_UPDATE_RESOURCES") == "1";

    /// <summary>What does not agree with the checked-in file: one line a cell.</summary>
    public IEnumerable<string> Differences(string version)
    {
        var recorded = Read(version);
        foreach (var key in recorded.Keys.Except(_rows.Keys)) yield return $"{key}: recorded, but there is no such kernel";
        foreach (var (key, row) in _rows)
        {
            if (!recorded.TryGetValue(key, out var bounds) || bounds.Length != row.Length)
            {
                yield return $"{key}: not recorded";
                continue;
            }

            for (var column = 1; column < row.Length; column++)
            {
                if (column < 3 ? row[column] != bounds[column] : !Agrees(row[column], bounds[column]))
                    yield return $"{key}, {_columns[column]}: {row[column]}, recorded {bounds[column]}";
            }
        }
    }

    public void Add(CatalogueEntry entry, string architecture, KernelResources resources)
    {
        var key = $"{entry.Spec.Source.Name}: {entry.Spec.NameExpression}{string.Concat(entry.Spec.Options.Select(option => " " + option))}";
        if (!_rows.TryGetValue(key, out var row))
        {
            row = [key, Text(entry.Threads), Text(entry.SharedBytes), .. Enumerable.Repeat(Absent, _columns.Length - 3)];
            _rows.Add(key, row);
        }

        row[Array.IndexOf(_columns, architecture)] = $"{Text(resources.Registers)}/{Text(resources.StaticSharedBytes)}"
            + (resources.StackBytes == 0 ? "" : $"/stack {Text(resources.StackBytes)}");
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var row in _rows.Values.Prepend(_columns))
            text.AppendJoin('\t', row).Append('\n');
        return text.ToString();
    }

    /// <summary>Whether registers/static shared bytes agree with a recorded cell.</summary>
    public static bool Agrees(string cell, string recorded) => Rest(cell) == Rest(recorded) && 2 * Registers(cell) <= 3 * Registers(recorded);

    /// <summary>The checked-in file of a compiler version.</summary>
    public static string PathOf(string version) =>
        Path.Combine(Repository.Root!, "tests", "Griffin.Kernels.Tests", "Nvrtc", $"resources-{version}.tsv");

    private static Dictionary<string, string[]> Read(string version) =>
        File.ReadLines(PathOf(version)).Skip(1).Select(line => line.Split('\t')).ToDictionary(row => row[0]);

    private static int Registers(string cell) => cell == Absent ? 0 : int.Parse(cell.Split('/')[0], NumberStyles.None, CultureInfo.InvariantCulture);

    private static string Rest(string cell) => cell == Absent ? cell : cell[cell.Split('/')[0].Length..];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
