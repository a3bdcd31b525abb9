using System.Globalization;
using System.Text;
using Griffin.Bench.Limits;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Report;

/// <summary>A comparison as Markdown: one table for each op and pass, and what was not measured.</summary>
public static class MarkdownReport
{
    private const string None = "–";

    /// <summary>Writes the page.</summary>
    /// <param name="comparison">The results.</param>
    /// <param name="device">The device's name.</param>
    /// <param name="facts">What else to say of the run, a line each.</param>
    /// <param name="charts">Files of charts and their titles, relative to the page.</param>
    public static string Write(Comparison comparison, string device, IEnumerable<string> facts, IEnumerable<(string File, string Title)> charts)
    {
        ArgumentNullException.ThrowIfNull(comparison);
        ArgumentNullException.ThrowIfNull(facts);
        ArgumentNullException.ThrowIfNull(charts);
        StringBuilder page = new();
        page.Append(CultureInfo.InvariantCulture, $"# Measured on {device}\n\n");
        foreach (string fact in facts) page.Append(fact).Append('\n');
        page.Append(CeilingsLine(comparison.Ceilings)).Append("\n\n");
        page.Append("Times are medians in microseconds. \"of limit\" is the least time that the row's bytes and operations need under the ceilings above, as a share of the time.\n");
        foreach (IGrouping<(string Op, string Pass), BenchRow> family in comparison.Rows.Rows.Where(row => !row.IsCeiling).GroupBy(row => (row.Op, row.Pass))) AppendFamily(page, comparison, family);
        foreach ((string file, string title) in charts) page.Append(CultureInfo.InvariantCulture, $"\n![{title}]({file})\n");
        AppendMissing(page, comparison);
        return page.ToString();
    }

    private static string CeilingsLine(Ceilings? ceilings) => ceilings is null
        ? "Ceilings: not measured, so there are no percentages."
        : string.Create(CultureInfo.InvariantCulture, $"Ceilings of the same run: copy {ceilings.CopyBytes * 1e-9:G4} GB/s, read {ceilings.ReadBytes * 1e-9:G4} GB/s, bfloat16 product {ceilings.Flops * 1e-12:G4} TFLOP/s.");

    private static void AppendFamily(StringBuilder page, Comparison comparison, IGrouping<(string Op, string Pass), BenchRow> family)
    {
        BenchRow[] measured = [.. family.Where(row => comparison.Of(row).Any(entry => entry.Microseconds is not null))];
        if (measured.Length == 0) return;
        string[] peers = [.. measured.SelectMany(comparison.Of).Where(entry => entry.Peer != Comparison.Ours && entry.Microseconds is not null).Select(entry => entry.Peer).Distinct()];
        page.Append(CultureInfo.InvariantCulture, $"\n## {family.Key.Op}, {family.Key.Pass.Replace('_', ' ')}\n\n");
        AppendCells(page, ["shape", "mode", "ours", "of limit", "limit", "best peer / ours", .. peers]);
        AppendCells(page, Enumerable.Repeat("---", 6 + peers.Length));
        foreach (BenchRow row in measured) AppendRow(page, comparison, row, peers);
    }

    private static void AppendRow(StringBuilder page, Comparison comparison, BenchRow row, string[] peers)
    {
        string[] modes = [.. comparison.Of(row).Where(entry => entry.Microseconds is not null).Select(entry => entry.Mode ?? None).Distinct().OrderDescending(StringComparer.Ordinal)];
        foreach (string mode in modes)
        {
            double? Time(string peer) => comparison.Of(row).FirstOrDefault(entry => entry.Peer == peer && entry.Mode == mode)?.Microseconds;
            double? ours = Time(Comparison.Ours), limit = comparison.LimitMicroseconds(row), best = comparison.BestPeer(row, mode)?.Microseconds;
            AppendCells(page,
            [
                row.Id.Split('/')[1] + (row.Type == Kernels.Runtime.ElementType.Float32 ? " float32" : ""), mode, Number(ours), ours is { } and > 0 && limit is { } least ? Percent(least / ours.Value) : None,
                Number(limit), ours is { } mine && best is { } other ? Ratio(other / mine) : None, .. peers.Select(peer => Number(Time(peer))),
            ]);
        }
    }

    private static void AppendMissing(StringBuilder page, Comparison comparison)
    {
        page.Append("\n## Not measured\n\n");
        foreach (BenchRow row in comparison.Rows.Rows.Where(row => !row.IsCeiling))
        {
            IReadOnlyList<Entry> entries = comparison.Of(row);
            if (!entries.Any(entry => entry.Peer == Comparison.Ours)) page.Append(CultureInfo.InvariantCulture, $"- {row.Id}, griffin: not measured: no result in these files\n");
            foreach (Entry entry in entries.Where(entry => entry.Microseconds is null).DistinctBy(entry => (entry.Peer, entry.Reason)))
                page.Append(CultureInfo.InvariantCulture, $"- {row.Id}, {entry.Peer}: {entry.Reason}\n");
        }
    }

    private static void AppendCells(StringBuilder page, IEnumerable<string> cells) => page.Append("| ").AppendJoin(" | ", cells).Append(" |\n");

    private static string Number(double? value) => value is { } number ? number.ToString(number >= 100 ? "N0" : "N2", CultureInfo.InvariantCulture) : None;

    private static string Percent(double share) => (100 * share).ToString("F0", CultureInfo.InvariantCulture) + " %";

    private static string Ratio(double ratio) => ratio.ToString("F2", CultureInfo.InvariantCulture) + "×";
}
