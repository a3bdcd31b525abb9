using System.Globalization;
using Griffin.Bench.Limits;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Predictions;

/// <summary>The table of bench/NOTES.md: predicted times beside measured ones.</summary>
public static class PredictionTable
{
    private const string NotMeasured = "not measured";

    /// <summary>The table in Markdown: rows that are not predicted are left out.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="measured">Measured times in microseconds, by row.</param>
    public static string Of(RowList rows, IReadOnlyDictionary<string, double> measured)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(measured);
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

    private static string Micro(double seconds) => Text(seconds * 1e6, "0.0");

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
