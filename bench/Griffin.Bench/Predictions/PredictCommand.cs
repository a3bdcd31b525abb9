using System.Globalization;
using Griffin.Bench.Limits;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Predictions;

/// <summary><c>predict [RESULTS…]</c>: the table of bench/NOTES.md, predicted times beside measured ones.</summary>
internal static class PredictCommand
{
    private const string NotMeasured = "not measured";

    public static int Run(IReadOnlyList<string> files)
    {
        RowList rows = RowList.Load(RowList.DefaultPath, BenchScale.Full);
        Console.Out.Write(Table(rows, Measured(files)));
        return 0;
    }

    /// <summary>The table in Markdown: rows that are not predicted are left out.</summary>
    public static string Table(RowList rows, IReadOnlyDictionary<string, double> measured)
    {
        List<string> lines = ["| Row | Kernels | Limit, us | Waves | Predicted, us | Percent of limit | Measured, us |", "|---|---|---|---|---|---|---|"];
        foreach (BenchRow row in rows.Rows)
        {
            if (RowPrediction.Of(row, rows) is not { } prediction || RowWork.Of(row, rows) is not { } work) continue;
            double limit = work.Seconds(RowPrediction.Ceilings);
            string[] cells =
            [
                row.Id, prediction.Kernels, Micro(limit), prediction.Waves > 0 ? Text(prediction.Waves, "0.#") : "", Micro(prediction.Seconds), Text(100 * limit / prediction.Seconds, "0"),
                measured.TryGetValue(row.Id, out double us) ? Text(us, "0.0") : NotMeasured,
            ];
            lines.Add($"| {string.Join(" | ", cells)} |");
        }

        return string.Join('\n', lines) + "\n";
    }

    // Our own times at full size on an H100, with cold caches where there is a choice; the last one stands.
    private static Dictionary<string, double> Measured(IEnumerable<string> files)
    {
        Dictionary<string, double> found = new(StringComparer.Ordinal);
        foreach (ResultLine line in files.SelectMany(ResultFile.Read))
        {
            bool counts = line is { Peer: "griffin", Scale: null, Mode: not "chained" } && line.Device?.Contains("H100", StringComparison.Ordinal) == true;
            if (counts && line.MedianUs is { } median) found[line.Row] = median;
        }

        return found;
    }

    private static string Micro(double seconds) => Text(seconds * 1e6, "0.0");

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
