using System.Globalization;
using System.Text;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// What every kernel needs on every architecture, by one compiler version: the checked-in file resources-VERSION.tsv. A cell is
/// registers/static shared bytes, with the stack frame appended where there is one.
/// </summary>
/// <remarks>
/// The compiler's optimiser orders some of its work by the addresses of its own objects: the same program, compiled again in a process that
/// has compiled others, may become other code (without address randomisation the sequence repeats exactly; time, threads and the contents of
/// fresh memory have no part in it). A kernel that was seen to get other registers for that reason has the range seen, as in 96-104/0; every
/// other cell is exact, at one of a few compilations. GRIFFIN_UPDATE_RESOURCES=1 writes the files anew after a kernel changed, keeping ranges that still hold: read the difference.
/// GRIFFIN_UPDATE_RESOURCES=widen compiles everything once more and widens the cells that differ in registers to a range.
/// </remarks>
internal sealed class ResourceTable
{
    private const string Absent = "-";
    private const int FirstArchitecture = 3;
    private readonly SortedDictionary<string, string[]> _rows = new(StringComparer.Ordinal);
    private readonly string[] _columns;

    public ResourceTable(IEnumerable<string> architectures) => _columns = ["kernel", "threads", "dynamic", .. architectures];

    /// <summary>Writes the table of a version as the environment asks for: anew, widened, or not at all.</summary>
    public void Update(string version)
    {
        var mode = Environment.GetEnvironmentVariable("GRIFFIN_UPDATE_RESOURCES");
        if (mode is not ("1" or "widen")) return;
        var recorded = Read(version);
        foreach (var (key, row) in _rows)
        {
            if (!recorded.TryGetValue(key, out var bounds) || bounds.Length != row.Length) continue;
            for (var column = FirstArchitecture; column < row.Length; column++)
            {
                if (mode == "widen") row[column] = Widen(row[column], bounds[column]);
                else if (Agrees(row[column], bounds[column])) row[column] = bounds[column];
            }
        }

        File.WriteAllText(PathOf(version), ToString());
    }

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
                if (column < FirstArchitecture ? row[column] != bounds[column] : !Agrees(row[column], bounds[column]))
                    yield return $"{key}, {_columns[column]}: {row[column]}, recorded {bounds[column]}";
            }
        }
    }

    /// <summary>Takes a kernel's cell, in place of an earlier one.</summary>
    public void Add(MachineKernel kernel)
    {
        var key = KeyOf(kernel.Entry);
        if (!_rows.TryGetValue(key, out var row))
        {
            row = [key, Text(kernel.Entry.Threads), Text(kernel.Entry.SharedBytes), .. Enumerable.Repeat(Absent, _columns.Length - FirstArchitecture)];
            _rows.Add(key, row);
        }

        row[Array.IndexOf(_columns, kernel.Architecture)] = CellOf(kernel.Resources);
    }

    /// <summary>Kernels that need something else than the checked-in file records for them.</summary>
    public IEnumerable<MachineKernel> Differing(string version, IEnumerable<MachineKernel> kernels)
    {
        var recorded = Read(version);
        return kernels.Where(kernel => recorded.TryGetValue(KeyOf(kernel.Entry), out var bounds) && bounds.Length == _columns.Length
            && !Agrees(CellOf(kernel.Resources), bounds[Array.IndexOf(_columns, kernel.Architecture)]));
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var row in _rows.Values.Prepend(_columns))
            text.AppendJoin('\t', row).Append('\n');
        return text.ToString();
    }

    /// <summary>Whether registers/static shared bytes agree with a recorded cell: exactly, or registers within its range.</summary>
    public static bool Agrees(string cell, string recorded)
    {
        if (Rest(cell) != Rest(recorded)) return false;
        var (least, most) = Registers(recorded);
        return Registers(cell).Least >= least && Registers(cell).Most <= most;
    }

    /// <summary>The recorded cell with a new one's registers in its range; the new one where anything else differs.</summary>
    public static string Widen(string cell, string recorded)
    {
        if (Rest(cell) != Rest(recorded)) return cell;
        if (Agrees(cell, recorded)) return recorded;
        var (a, b) = (Registers(cell), Registers(recorded));
        return $"{Text(Math.Min(a.Least, b.Least))}-{Text(Math.Max(a.Most, b.Most))}{Rest(cell)}";
    }

    /// <summary>The checked-in file of a compiler version.</summary>
    public static string PathOf(string version) =>
        Path.Combine(Repository.Root!, "tests", "Griffin.Kernels.Tests", "Nvrtc", $"resources-{version}.tsv");

    private static string KeyOf(CatalogueEntry entry) =>
        $"{entry.Spec.Source.Name}: {entry.Spec.NameExpression}{string.Concat(entry.Spec.Options.Select(option => " " + option))}";

    private static string CellOf(KernelResources resources) =>
        $"{Text(resources.Registers)}/{Text(resources.StaticSharedBytes)}{(resources.StackBytes == 0 ? "" : $"/stack {Text(resources.StackBytes)}")}";

    private static Dictionary<string, string[]> Read(string version) =>
        File.ReadLines(PathOf(version)).Skip(1).Select(line => line.Split('\t')).ToDictionary(row => row[0]);

    private static (int Least, int Most) Registers(string cell)
    {
        if (cell == Absent) return (0, 0);
        var ends = cell.Split('/')[0].Split('-');
        return (Number(ends[0]), Number(ends[^1]));
    }

    private static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

    private static string Rest(string cell) => cell == Absent ? cell : cell[cell.Split('/')[0].Length..];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
