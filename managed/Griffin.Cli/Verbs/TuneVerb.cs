using System.CommandLine;
using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;
using Spectre.Console;

namespace Griffin.Cli.Verbs;

/// <summary>Measures on a device which of several kernels is the fastest for a model's sizes, and keeps the answers for every later run.</summary>
internal sealed class TuneVerb : Verb
{
    private readonly ModelOptions _model = new();
    private readonly Option<string?> _size;
    private readonly Option<bool> _again;

    internal TuneVerb() : base("tune", "measure which kernels are the fastest for a model on this device, and keep the answers for later runs")
    {
        Add(_model.Model);
        _size = Add(new Option<string?>("--size") { Description = "sizes of a preset instead of a checkpoint's", HelpName = "NAME" });
        _again = Add(new Option<bool>("--again") { Description = "also measure what is on record" });
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        string? size = parsed.GetValue(_size);
        GriffinConfig config = ModelOptions.ShapeOf(size is null ? _model.Path(parsed) : parsed.GetValue(_model.Model), size);
        ModelDimensions dimensions = config.Dimensions();
        using GpuDevice device = settings.OpenDevice();
        IReadOnlyList<TuningResult> results = settings.Work.Run(progress => KernelTuner.Run(
            device, dimensions, settings.Precision, parsed.GetValue(_again),
            new ProgressAdapter<(int Done, int Total)>(progress, report => new StageProgress("measuring", report.Done, report.Total)), cancellationToken));
        if (settings.Json) WriteJson(settings.Streams.Output, device, results);
        else WriteTable(settings.Streams.Output, device, results);
        return Task.FromResult(ExitCode.Success);
    }

    private static void WriteJson(TextWriter output, GpuDevice device, IReadOnlyList<TuningResult> results) => JsonOutput.Write(output, json =>
    {
        json.WriteString("device", device.Description);
        json.WriteString("file", device.Tuning.File);
        json.WriteStartArray("questions");
        foreach (TuningResult result in results)
        {
            json.WriteStartObject();
            json.WriteString("question", result.Question);
            json.WriteString("fastest", result.Record.Fastest(_ => true));
            json.WriteBoolean("measured_now", result.Measured);
            json.WriteStartObject("microseconds");
            foreach ((string candidate, double microseconds) in result.Record.Microseconds) json.WriteNumber(candidate, Math.Round(microseconds, 3));
            json.WriteEndObject();
            json.WriteStartArray("refused");
            foreach (string candidate in result.Refused) json.WriteStringValue(candidate);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    });

    private static void WriteTable(TextWriter output, GpuDevice device, IReadOnlyList<TuningResult> results)
    {
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string column in (string[])["question", "fastest", "microseconds"]) table.AddColumn(column);
        foreach (TuningResult result in results)
        {
            string times = string.Join(", ", result.Record.Microseconds.Select(time => string.Create(CultureInfo.InvariantCulture, $"{time.Key} {time.Value:F1}")));
            table.AddRow(new Text(result.Question), new Text(result.Record.Fastest(_ => true) ?? ""), new Text(times));
        }
        TextTables.Write(output, table);
        foreach (TuningResult result in results.Where(result => result.Refused.Count > 0)) output.WriteLine($"WRONG RESULT, not used: {string.Join(", ", result.Refused)} for {result.Question}");
        int measured = results.Count(result => result.Measured);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{measured} measured, {results.Count - measured} on record already: {device.Tuning.File}"));
    }
}
