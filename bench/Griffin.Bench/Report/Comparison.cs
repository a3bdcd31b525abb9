using Griffin.Bench.Limits;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Report;

/// <summary>What one peer took for a row in a mode, all rounds together.</summary>
/// <param name="Peer">Its name.</param>
/// <param name="Mode">The mode; null where nothing was measured.</param>
/// <param name="Microseconds">The mean of the rounds' medians; null when not measured.</param>
/// <param name="Reason">Why not.</param>
/// <param name="Variant">Which kernel or library.</param>
public sealed record Entry(string Peer, string? Mode, double? Microseconds, string? Reason, string? Variant);

/// <summary>All results of one device, by row, with the ceilings measured beside them.</summary>
public sealed class Comparison
{
    /// <summary>Our own name in results.</summary>
    public const string Ours = "griffin";

    private static readonly string[] headlines = ["pipeline", "cold", "chained"];

    private readonly Dictionary<string, List<Entry>> _entries;

    /// <summary>Puts lines together.</summary>
    /// <param name="lines">Lines of any number of files and rounds, of one device.</param>
    /// <param name="rows">The rows that they are of.</param>
    public Comparison(IReadOnlyList<ResultLine> lines, RowList rows)
    {
        ArgumentNullException.ThrowIfNull(lines);
        ArgumentNullException.ThrowIfNull(rows);
        Rows = rows;
        _entries = lines.Where(line => line.At is null).GroupBy(line => line.Row)
            .ToDictionary(group => group.Key, group => group.GroupBy(line => (line.Peer, line.Mode)).Select(Together).ToList());
        Ceilings = CeilingsOf([.. lines.Where(line => line.At is not null)]);
    }

    /// <summary>The rows.</summary>
    public RowList Rows { get; }

    /// <summary>The means of the ceilings measured; null when one of them is missing.</summary>
    public Ceilings? Ceilings { get; }

    /// <summary>Everything about a row.</summary>
    public IReadOnlyList<Entry> Of(BenchRow row)
    {
        ArgumentNullException.ThrowIfNull(row);
        return _entries.GetValueOrDefault(row.Id, []);
    }

    /// <summary>A peer's headline: the whole pipeline, else cold, else chained; null when it has no time.</summary>
    public Entry? Headline(BenchRow row, string peer) =>
        headlines.Select(mode => Of(row).FirstOrDefault(entry => entry.Peer == peer && entry.Mode == mode && entry.Microseconds is not null)).FirstOrDefault(entry => entry is not null);

    /// <summary>The fastest of the others in the mode of <paramref name="mode"/>; null when none was measured in it.</summary>
    public Entry? BestPeer(BenchRow row, string? mode) =>
        Of(row).Where(entry => entry.Peer != Ours && entry.Microseconds is not null && (mode is null || entry.Mode == mode)).MinBy(entry => entry.Microseconds);

    /// <summary>The least time of a row under the measured ceilings, in microseconds; null without a bound.</summary>
    public double? LimitMicroseconds(BenchRow row) => Ceilings is { } ceilings ? RowWork.Of(row, Rows)?.Seconds(ceilings) * 1e6 : null;

    private static Entry Together(IGrouping<(string Peer, string? Mode), ResultLine> lines)
    {
        ResultLine[] measured = [.. lines.Where(line => line.IsMeasured)];
        ResultLine first = measured.FirstOrDefault() ?? lines.First();
        return new(lines.Key.Peer, lines.Key.Mode, measured.Length == 0 ? null : measured.Average(line => line.MedianUs!.Value), measured.Length == 0 ? first.Reason : null, first.Variant);
    }

    private static Ceilings? CeilingsOf(ResultLine[] lines)
    {
        double? Mean(string id, Func<ResultLine, double?> rate) => lines.Where(line => line.Row == id).Average(rate);
        return Mean("ceiling.copy", line => line.GbPerS) is { } copy && Mean("ceiling.read", line => line.GbPerS) is { } read && Mean("ceiling.matmul", line => line.TflopPerS) is { } flops
            ? new(copy * 1e9, read * 1e9, flops * 1e12)
            : null;
    }
}
