using Griffin.Bench.Report;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class BenchReportTests
{
    private const string Row = "rms_norm.forward/m8192_w2560/bf16";

    private static readonly RowList rows = RowList.Load(RowList.DefaultPath, BenchScale.Full);

    private static ResultLine Line(string row, string peer, double? median, int? round = null, string mode = "cold") => new()
    {
        Row = row,
        Peer = peer,
        Mode = mode,
        MedianUs = median,
        Round = round,
        Device = "Card X",
        Reason = median is null ? "not measured: no room" : null,
    };

    private static ResultLine Ceiling(string name, double rate) => Line($"ceiling.{name}", "griffin", 1) with
    {
        At = "start",
        GbPerS = name == "matmul" ? null : rate,
        TflopPerS = name == "matmul" ? rate : null,
    };

    private static ResultLine[] Lines(params ResultLine[] more) => [Ceiling("copy", 3000), Ceiling("read", 2800), Ceiling("matmul", 800), .. more];

    [Test]
    public void RoundsAreAveragedAndTheFastestPeerIsCompared()
    {
        var comparison = new Comparison(Lines(Line(Row, "griffin", 30, 1), Line(Row, "griffin", 34, 2), Line(Row, "torch-eager", 96), Line(Row, "torch-compile", 48), Line(Row, "torch-compile", 20, mode: "chained")), rows);
        var row = rows.Rows.Single(row => row.Id == Row);
        Assert.That(comparison.Headline(row, "griffin")!.Microseconds, Is.EqualTo(32));
        Assert.That(comparison.BestPeer(row, "cold")!.Peer, Is.EqualTo("torch-compile"));
        Assert.That(comparison.LimitMicroseconds(row), Is.EqualTo(27.96).Within(0.01));
        var page = MarkdownReport.Write(comparison, "Card X", ["Date: today."], [("a.svg", "A")]);
        Assert.That(page, Does.Contain("| m8192_w2560 | cold | 32.00 | 87 % | 27.96 | 1.50× | 96.00 | 48.00 |"));
        Assert.That(page, Does.Contain("copy 3000 GB/s, read 2800 GB/s, bfloat16 product 800 TFLOP/s").And.Contain("![A](a.svg)").And.Contain("Date: today."));
    }

    [Test]
    public void WhatIsMissingSaysWhy()
    {
        var page = MarkdownReport.Write(new Comparison(Lines(Line(Row, "griffin", null), Line(Row, "torch-eager", 96)), rows), "Card X", [], []);
        Assert.That(page, Does.Contain($"- {Row}, griffin: not measured: no room\n"));
        Assert.That(page, Does.Contain("- adam_w.step/p500000000/bf16, griffin: not measured: no result in these files\n"));
        Assert.That(page, Does.Contain("| m8192_w2560 | cold | – | – | 27.96 | – | 96.00 |"));
    }

    [Test]
    public void WithoutCeilingsThereAreNoPercentages()
    {
        var comparison = new Comparison([Line(Row, "griffin", 30)], rows);
        Assert.That(comparison.Ceilings, Is.Null);
        Assert.That(MarkdownReport.Write(comparison, "Card X", [], []), Does.Contain("| cold | 30.00 | – | – | – |"));
    }

    [Test]
    public void RowsThatDifferInOneSizeMakeAChart()
    {
        var lines = Lines([.. rows.Matching(@"^window_attention\.forward/b1_t\d+_h10/").SelectMany(row => new[] { Line(row.Id, "griffin", row["tokens"]), Line(row.Id, "torch-flex", 2 * row["tokens"]) })]);
        var charts = ReportCharts.Of(new Comparison(lines, rows));
        Assert.That(charts, Has.Count.EqualTo(1));
        Assert.That(charts[0].File, Does.StartWith("window_attention.forward.tokens."));
        Assert.That(charts[0].Chart.Series.Select(series => series.Name), Is.EqualTo(new[] { "griffin", "torch-flex", "limit" }));
        Assert.That(charts[0].Chart.Series[0].Points, Is.EqualTo(new[] { 2048.0, 4096, 8192, 16384 }.Select(tokens => (tokens, tokens))));
    }

    [Test]
    public void TheVerbWritesAPageForEachDeviceAndKeepsRehearsalsApart()
    {
        using var folder = new TempFolder();
        var (path, output) = (Path.Combine(folder.Path, "r.jsonl"), Path.Combine(folder.Path, "out"));
        var file = new ResultFile(path);
        foreach (var line in Lines(Line(Row, "griffin", 30), Line(Row, "griffin", 7) with { Device = "Card Y" }, Line(Row, "griffin", 9999) with { Scale = "tiny" })) file.Append(line);
        Assert.That(ReportCommand.Run([path, "--out", output]), Is.Zero);
        Assert.That(Directory.GetFiles(output).Select(Path.GetFileName), Is.EquivalentTo(new[] { "card-x.md", "card-y.md" }));
        Assert.That(File.ReadAllText(Path.Combine(output, "card-x.md")), Does.Contain("| 30.00 |").And.Not.Contain("9,999"));
        Assert.That(() => ReportCommand.Run([path]), Throws.TypeOf<FormatException>());
    }
}
