using Griffin.Bench.Results;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Predictions;

/// <summary><c>predict [RESULTS…]</c>: the table of bench/NOTES.md, predicted times beside measured ones.</summary>
internal static class PredictCommand
{
    public static int Run(IReadOnlyList<string> files)
    {
        RowList rows = RowList.Load(RowList.DefaultPath, BenchScale.Full);
        Console.Out.Write(PredictionTable.Of(rows, Measured(files)));
        return 0;
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
}
