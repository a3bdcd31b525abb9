using Griffin.Bench.Results;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class ResultFileTests
{
    private static ResultLine Line(string row, double? median, int? round = null) =>
        new() { Row = row, Peer = "griffin", Mode = "cold", MedianUs = median, Round = round, Reason = median is null ? ResultLine.NotMeasured + "why" : null };

    [Test]
    public void WhatIsThereIsDoneAlsoWhereItWasNotMeasured()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "r.jsonl");
        var first = new ResultFile(path);
        first.Append(Line("a", 1.5));
        first.Append(Line("b", null));
        first.Append(Line("c", 2, round: 1));
        var again = new ResultFile(path);
        Assert.That(again.Has("a", "griffin", "cold", null, null));
        Assert.That(again.Has("b", "griffin", "cold", null, null));
        Assert.That(again.Has("a", "griffin", "chained", null, null), Is.False);
        Assert.That(again.Has("a", "torch", "cold", null, null), Is.False);
        Assert.That(again.Has("a", "griffin", "cold", 1, null), Is.False);
        Assert.That(again.Has("a", "griffin", "cold", null, "tiny"), Is.False);
        Assert.That(again.Has("c", "griffin", "cold", 1, null));
    }

    [Test]
    public void ALineThatWasCutOffIsRunAgain()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "r.jsonl");
        new ResultFile(path).Append(Line("a", 1.5));
        File.AppendAllText(path, """{"row":"b","peer":"grif""");
        var again = new ResultFile(path);
        Assert.That(again.Has("b", "griffin", "cold", null, null), Is.False);
        again.Append(Line("b", 3));
        Assert.That(ResultFile.Read(path).Select(line => (line.Row, line.MedianUs)), Is.EqualTo(new (string, double?)[] { ("a", 1.5), ("b", 3) }));
    }

    [Test]
    public void AWholeLineThatIsNoResultIsRefused()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "r.jsonl");
        File.WriteAllText(path, "nonsense\n");
        Assert.That(() => new ResultFile(path), Throws.TypeOf<InvalidDataException>().With.Message.Contains("nonsense"));
    }

    [Test]
    public void LinesOfOthersAreReadWithFieldsThatWeDoNotKnow()
    {
        var line = ResultLine.FromJson("""{"row":"a","peer":"torch-eager","mode":"cold","median_us":12.5,"sm_clock_mhz":[1755,null],"checksum":7,"more":[1]}""");
        Assert.That((line.Peer, line.MedianUs, line.SmClockMhz![0], line.SmClockMhz[1]), Is.EqualTo(("torch-eager", 12.5, 1755.0, (double?)null)));
        Assert.That(Line("a", null).ToJson(), Does.Contain("\"median_us\":null").And.Contain("\"reason\":\"not measured: why\""));
    }
}
