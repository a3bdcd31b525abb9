using Griffin.Bench.Rows;
using Griffin.Kernels.Training.Report;

namespace Griffin.Bench.Report;

/// <summary>Charts of rows that differ in one size only: ours, the peers and the limit over that size.</summary>
public static class ReportCharts
{
    private const int LeastPoints = 3;

    /// <summary>The charts that the results are enough for, with names of files.</summary>
    public static IReadOnlyList<(string File, LineChart Chart)> Of(Comparison comparison)
    {
        ArgumentNullException.ThrowIfNull(comparison);
        BenchRow[] measured = [.. comparison.Rows.Rows.Where(row => !row.IsCeiling && comparison.Of(row).Any(entry => entry.Microseconds is not null))];
        List<(string, LineChart)> charts = [];
        foreach (var family in measured.GroupBy(row => (row.Op, row.Pass, row.Type, row.Model)))
        {
            foreach (string size in family.First().Sizes.Keys)
            {
                foreach (var group in family.GroupBy(row => OtherSizes(row, size)).Where(group => group.Select(row => row[size]).Distinct().Count() >= LeastPoints))
                    charts.Add(Chart(comparison, [.. group.OrderBy(row => row[size])], size, group.Key));
            }
        }

        return charts;
    }

    private static (string File, LineChart Chart) Chart(Comparison comparison, BenchRow[] rows, string size, string others)
    {
        string[] peers = [.. rows.SelectMany(comparison.Of).Where(entry => entry.Microseconds is not null).Select(entry => entry.Peer).Distinct().OrderBy(peer => peer == Comparison.Ours ? 0 : 1)];
        List<ChartSeries> series = [.. peers.Select(peer => new ChartSeries(peer, [.. rows.Select(row => ((double)row[size], comparison.Headline(row, peer)?.Microseconds ?? double.NaN))]))];
        if (comparison.Ceilings is not null) series.Add(new("limit", [.. rows.Select(row => ((double)row[size], comparison.LimitMicroseconds(row) ?? double.NaN))]));
        BenchRow first = rows[0];
        string name = string.Join('.', new[] { first.Op, first.Pass, size, first.Model, others.Replace(" ", "_", StringComparison.Ordinal) }.Where(part => !string.IsNullOrEmpty(part)));
        return (name + ".svg", new LineChart
        {
            Title = $"{first.Op}, {first.Pass.Replace('_', ' ')}{(first.Model is { } model ? $", {model}" : "")}: {others}",
            XTitle = size,
            YTitle = "microseconds",
            Series = series,
            LogX = true,
            LogY = true,
            Markers = true,
        });
    }

    private static string OtherSizes(BenchRow row, string size) =>
        string.Join(' ', row.Sizes.Where(pair => pair.Key != size).Select(pair => FormattableString.Invariant($"{pair.Key}{pair.Value}")));
}
