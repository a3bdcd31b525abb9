using System.Globalization;
using System.Text;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// What every kernel needs on every architecture, by one compiler version: the checked-in file resources-VERSION.tsv. A cell is
/// registers/static shared bytes, with the stack frame appended where there is one. Run the tests with GRIFFIN_UPDATE_RESOURCES=1
/// to write the files anew after a kernel changed, and read the difference.
/// </summary>
internal sealed class ResourceTable
{
    private const string Absent = "-";
    private readonly SortedDictionary<string, string[]> _rows = new(StringComparer.Ordinal);
    private readonly string[] _columns;

    public ResourceTable(IEnumerable<string> architectures) => _columns = ["kernel", "threads", "dynamic", .. architectures];

    /// <summary>True when the run is to write the tables.</summary>
    public static bool Updating => Environment.GetEnvironmentVariable("GRIFFIN_UPDATE_RESOURCES") == "1";

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

    /// <summary>The checked-in file of a compiler version.</summary>
    public static string PathOf(string version) =>
        Path.Combine(Repository.Root!, "tests", "Griffin.Kernels.Tests", "Nvrtc", $"resources-{version}.tsv");

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
