using System.CommandLine;
using System.Globalization;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Spectre.Console;

namespace Griffin.Cli.Verbs;

/// <summary>Lists every op's kernels for a model's sizes and, where NVRTC is found, what they need on a GPU.</summary>
internal sealed class KernelsVerb : Verb
{
    private const string DefaultSize = "recurrentgemma-2b";

    private static readonly string[] architectures = ["sm_80", "sm_90"];

    private readonly Option<string?> _size;
    private readonly Option<string?> _model;
    private readonly Option<string?> _op;
    private readonly Option<bool> _list;

    internal KernelsVerb() : base("kernels", "list each kernel's variants and, with NVRTC present, their registers, spills and shared memory")
    {
        _size = Add(new Option<string?>("--size") { Description = $"sizes of a preset (default: {DefaultSize})", HelpName = "NAME" });
        _model = Add(new Option<string?>("--model", "-m") { Description = "sizes of a checkpoint folder", HelpName = "DIR" }.NotEmpty());
        _op = Add(new Option<string?>("--op") { Description = "only this op", HelpName = "NAME" });
        _list = Add(new Option<bool>("--list") { Description = "compile nothing" });
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        GriffinConfig config = ModelOptions.ShapeOf(parsed.GetValue(_model), parsed.GetValue(_size) ?? (parsed.GetValue(_model) is null ? DefaultSize : null));
        IReadOnlyList<CatalogueEntry> entries = Entries(config, settings.Precision, parsed.GetValue(_op));
        Nvrtc? nvrtc = parsed.GetValue(_list) ? null : settings.Provider?.Nvrtc ?? LibrarySearch.TryOpenNvrtc(new SearchTrace());
        settings.Streams.Error.WriteLine(nvrtc is null
            ? parsed.GetValue(_list) ? "device: none, nothing is compiled" : "device: none; NVRTC was not found, so nothing is compiled (griffin doctor shows where it was sought)"
            : $"device: none; compiled by {nvrtc.Identity}");
        List<Row> rows = nvrtc is null
            ? [.. entries.Select(entry => new Row(entry, "", null, null))]
            : settings.Work.Run(progress => Compile(nvrtc, entries, progress, cancellationToken));
        if (settings.Json) WriteJson(settings.Streams.Output, rows);
        else WriteTable(settings.Streams.Output, rows);
        return Task.FromResult(rows.Any(row => row.Failure is not null) ? ExitCode.Failure : ExitCode.Success);
    }

    private static IReadOnlyList<CatalogueEntry> Entries(GriffinConfig config, ElementType type, string? op)
    {
        IReadOnlyList<CatalogueEntry> all = KernelCatalogue.All(config.Dimensions(), type);
        if (op is null) return all;
        IReadOnlyList<CatalogueEntry> chosen = [.. all.Where(entry => string.Equals(entry.Op, op, StringComparison.OrdinalIgnoreCase))];
        return chosen.Count > 0 ? chosen : throw new CliException($"--op is '{op}': there are {string.Join(", ", all.Select(entry => entry.Op).Distinct())}");
    }

    private static List<Row> Compile(Nvrtc nvrtc, IReadOnlyList<CatalogueEntry> entries, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        (CatalogueEntry Entry, string Architecture)[] work =
            [.. entries.SelectMany(entry => entry.Spec.Architecture is { } own ? [own] : architectures, (entry, architecture) => (entry, architecture))];
        List<Row> rows = [];
        // One after another: some of the compiler's choices follow where its own objects lie in memory, which threads would scatter.
        foreach ((CatalogueEntry entry, string architecture) in work)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                rows.Add(new Row(entry, architecture, KernelCompiler.CompileOffline(nvrtc, entry.Spec, architecture).Resources, null));
            }
            catch (KernelCompilationException error)
            {
                rows.Add(new Row(entry, architecture, null, error.Message.Split('\n')[0].Trim()));
            }
            progress.Report(new StageProgress("compiling kernels", rows.Count, work.Length));
        }
        return rows;
    }

    private static void WriteJson(TextWriter output, List<Row> rows) => JsonOutput.Write(output, json =>
    {
        json.WriteStartArray("kernels");
        foreach (Row row in rows)
        {
            json.WriteStartObject();
            json.WriteString("op", row.Entry.Op);
            json.WriteString("variant", row.Entry.Variant);
            json.WriteString("kernel", row.Entry.Spec.NameExpression);
            json.WriteNumber("threads", row.Entry.Threads);
            json.WriteNumber("dynamic_shared_bytes", row.Entry.SharedBytes);
            if (row.Architecture.Length > 0) json.WriteString("architecture", row.Architecture);
            if (row.Resources is { } resources)
            {
                json.WriteNumber("registers", resources.Registers);
                json.WriteNumber("spill_bytes", resources.SpillStoreBytes + resources.SpillLoadBytes);
                json.WriteNumber("stack_bytes", resources.StackBytes);
                json.WriteNumber("static_shared_bytes", resources.StaticSharedBytes);
            }
            if (row.Failure is not null) json.WriteString("failure", row.Failure);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    });

    private static void WriteTable(TextWriter output, List<Row> rows)
    {
        bool compiled = rows.Any(row => row.Architecture.Length > 0);
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string column in (string[])["op", "variant", "kernel", "threads", "dynamic shared"]) table.AddColumn(column);
        if (compiled)
        {
            foreach (string column in (string[])["target", "registers", "spill bytes", "static shared"]) table.AddColumn(column);
        }
        foreach (Row row in rows)
        {
            List<string> cells = [row.Entry.Op, row.Entry.Variant, row.Entry.Spec.NameExpression, Text(row.Entry.Threads), Text(row.Entry.SharedBytes)];
            if (compiled)
            {
                cells.AddRange(row.Resources is { } resources
                    ? [row.Architecture, Text(resources.Registers), Text(resources.SpillStoreBytes + resources.SpillLoadBytes), Text(resources.StaticSharedBytes)]
                    : [row.Architecture, row.Failure ?? "not reported", "", ""]);
            }
            table.AddRow(cells.Select(cell => new Text(cell)).ToArray<Spectre.Console.Rendering.IRenderable>());
        }
        TextTables.Write(output, table);
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private sealed record Row(CatalogueEntry Entry, string Architecture, KernelResources? Resources, string? Failure);
}
