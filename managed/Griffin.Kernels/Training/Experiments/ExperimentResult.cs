using System.Globalization;
using System.Text;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Training.Report;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>A column of numbers.</summary>
/// <param name="Key">Its name in JSON and CSV.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="Format">How people see its numbers, as .NET's format strings have it.</param>
public sealed record ResultColumn(string Key, string Title, string Format);

/// <summary>A row of an experiment's table.</summary>
/// <param name="Family">Whose it is.</param>
/// <param name="Values">A number for each column; NaN: there is none.</param>
public sealed record ResultRow(ModelFamily Family, ValueList<double> Values);

/// <summary>An experiment's table with everything needed to judge it: scale, device, charts.</summary>
/// <param name="Experiment">What was run.</param>
/// <param name="Facts">What to say of the run, by name.</param>
/// <param name="Rows">The table.</param>
/// <param name="Logs">Training logs, by the part's name.</param>
public sealed record ExperimentResult(
    Experiment Experiment,
    IReadOnlyList<(string Name, string Value)> Facts,
    IReadOnlyList<ResultRow> Rows,
    IReadOnlyList<(string Part, IReadOnlyList<StepReport> Steps)> Logs)
{
    /// <summary>The table as JSON, with the facts.</summary>
    public const string JsonName = "result.json";

    /// <summary>The table as CSV.</summary>
    public const string CsvName = "result.csv";

    /// <summary>The page.</summary>
    public const string PageName = "report.html";

    private const string FamilyKey = "family";
    private const int CurvePoints = 200;

    /// <summary>The table's header for people.</summary>
    public IReadOnlyList<string> Header => [FamilyKey, .. Experiment.Columns.Select(column => column.Title)];

    /// <summary>The table's cells for people.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Cells => [.. Rows.Select(row => (IReadOnlyList<string>)
    [
        row.Family.Name(),
        .. row.Values.Select((value, i) => double.IsFinite(value) ? value.ToString(Experiment.Columns[i].Format, CultureInfo.InvariantCulture) : "–"),
    ])];

    /// <summary>Writes the three files; each appears whole or not at all.</summary>
    /// <param name="folder">An existing folder.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public void Save(string folder)
    {
        Write(Path.Combine(folder, JsonName), stream =>
        {
            using Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" });
            json.WriteStartObject();
            WriteTo(json);
            json.WriteEndObject();
        });
        Write(Path.Combine(folder, CsvName), stream => stream.Write(Encoding.UTF8.GetBytes(Csv())));
        Page().Save(Path.Combine(folder, PageName));
    }

    /// <summary>Writes the result as members of an object.</summary>
    /// <param name="json">Inside an object.</param>
    public void WriteTo(Utf8JsonWriter json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json.WriteString("experiment", Experiment.Name);
        json.WriteStartObject("facts");
        foreach ((string name, string value) in Facts) json.WriteString(name, value);
        json.WriteEndObject();
        json.WriteStartArray("rows");
        foreach (ResultRow row in Rows)
        {
            json.WriteStartObject();
            json.WriteString(FamilyKey, row.Family.Name());
            for (int i = 0; i < row.Values.Count; i++)
            {
                if (double.IsFinite(row.Values[i])) json.WriteNumber(Experiment.Columns[i].Key, row.Values[i]);
                else json.WriteNull(Experiment.Columns[i].Key);
            }
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private string Csv()
    {
        StringBuilder csv = new();
        csv.Append(FamilyKey).Append(',').AppendJoin(',', Experiment.Columns.Select(column => column.Key)).Append('\n');
        foreach (ResultRow row in Rows)
        {
            csv.Append(row.Family.Name()).Append(',')
                .AppendJoin(',', row.Values.Select(value => double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture) : "")).Append('\n');
        }
        return csv.ToString();
    }

    private HtmlPage Page()
    {
        HtmlPage page = new HtmlPage(Experiment.Title).AddText(Experiment.Summary)
            .AddTable(["", ""], [.. Facts.Select(fact => (string[])[fact.Name, fact.Value])]);
        if (Rows.Count == 0) return page.AddText("No part is done yet.");
        foreach (LineChart chart in Experiment.Charts(Rows)) page.AddChart(chart);
        if (Logs.Any(log => log.Steps.Count > 0))
        {
            page.AddChart(new LineChart
            {
                Title = "Training loss",
                XTitle = "step",
                YTitle = "nats per scored token",
                Series = [.. Logs.Select(log => new ChartSeries(log.Part, Curve(log.Steps)))],
            });
        }
        return page.AddTable(Header, Cells);
    }

    /// <summary>Means over groups of steps: a single step's loss is noise on small batches.</summary>
    private static List<(double X, double Y)> Curve(IReadOnlyList<StepReport> steps) =>
    [
        .. steps.Chunk(Math.Max(1, (steps.Count + CurvePoints - 1) / CurvePoints))
            .Select(group => ((double)group[^1].Step, group.Average(step => step.Loss))),
    ];

    private static void Write(string path, Action<Stream> content)
    {
        using AtomicFile file = AtomicFile.Create(path);
        content(file.Stream);
        file.Commit();
    }
}
