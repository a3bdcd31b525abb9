using Griffin.Bench.Results;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Report;

/// <summary>The verb <c>report</c>: result files to Markdown and SVG, a page for each device.</summary>
public static class ReportCommand
{
    private const string Tiny = "tiny";

    /// <summary>Runs the verb.</summary>
    /// <param name="args">FILE... --out FOLDER [--list-file FILE].</param>
    /// <returns>0.</returns>
    /// <exception cref="FormatException">The arguments are not understood, or there is no result to report.</exception>
    public static int Run(IReadOnlyList<string> args)
    {
        ArgumentNullException.ThrowIfNull(args);
        List<string> files = [];
        (string? folder, string list) = (null, RowList.DefaultPath);
        for (int i = 0; i < args.Count; i++)
        {
            if (args[i] == "--out" && i + 1 < args.Count) folder = args[++i];
            else if (args[i] == "--list-file" && i + 1 < args.Count) list = args[++i];
            else if (args[i].StartsWith('-')) throw new FormatException($"{args[i]}: not understood");
            else files.Add(args[i]);
        }

        if (folder is null || files.Count == 0) throw new FormatException("report needs result files and --out FOLDER");
        ResultLine[] lines = [.. files.SelectMany(ResultFile.Read)];
        if (lines.Length == 0) throw new FormatException("there is no result to report");

        // A rehearsal says nothing about full sizes: it is reported only where there is nothing else.
        BenchScale scale = lines.All(line => line.Scale == Tiny) ? BenchScale.Tiny : BenchScale.Full;
        RowList rows = RowList.Load(list, scale);
        Directory.CreateDirectory(folder);
        foreach (IGrouping<string, ResultLine> device in lines.Where(line => line.Scale == Tiny == (scale == BenchScale.Tiny)).Where(line => line.Device is not null).GroupBy(line => line.Device!))
            WritePage(folder, device.Key, [.. device, .. lines.Where(line => line.Device is null)], rows, scale);
        return 0;
    }

    // A line without a device, of a peer that is not there for instance, belongs to all of them.
    private static void WritePage(string folder, string device, ResultLine[] lines, RowList rows, BenchScale scale)
    {
        Comparison comparison = new(lines, rows);
        string name = string.Concat(device.Select(c => char.IsAsciiLetterOrDigit(c) ? char.ToLowerInvariant(c) : '-'));
        List<(string, string)> charts = [];
        foreach ((string file, Kernels.Training.Report.LineChart chart) in ReportCharts.Of(comparison))
        {
            File.WriteAllText(Path.Combine(folder, $"{name}.{file}"), chart.ToSvg());
            charts.Add(($"{name}.{file}", chart.Title));
        }

        string Distinct(Func<ResultLine, string?> value) => string.Join(", ", lines.Select(value).Where(text => text is not null).Distinct().Order());
        List<string> facts = [$"Date: {Distinct(line => line.Date)}. Driver: {Distinct(line => line.Driver)}."];
        if (scale == BenchScale.Tiny) facts.Add("**A rehearsal at tiny sizes: these numbers say nothing about speed.**");
        string page = Path.Combine(folder, $"{name}.md");
        File.WriteAllText(page, MarkdownReport.Write(comparison, device, facts, charts));
        Console.Error.WriteLine(page);
    }
}
