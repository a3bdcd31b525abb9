using Griffin.Bench;
using Griffin.Bench.Gate;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class BenchRunTests
{
    private const string Norms = @"^(rms_norm\.forward/m8192_w2560|linear_scan\.forward/b1_)";

    private static int Run(string path, TimeSpan? budget = null)
    {
        var options = new BenchOptions { Device = TestDevices.IsEmulator ? "emulator" : "cuda", Scale = BenchScale.Tiny, Rows = Norms, Out = path, Budget = budget ?? TimeSpan.MaxValue };
        using var run = new BenchRun(options, RowList.Load(options.ListFile, options.Scale));
        return run.Run();
    }

    [Test]
    public void ARunGoesOnWhereTheBudgetEndedAndRepeatsNothing()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "r.jsonl");
        Assert.That(Run(path, TimeSpan.Zero), Is.Zero);
        Assert.That(ResultFile.Read(path).Select(line => line.At), Is.EquivalentTo(new[] { "start", "start", "start", "end", "end", "end" }), "ceilings alone");

        Assert.That(Run(path), Is.Zero);
        var lines = ResultFile.Read(path).Where(line => line.At is null).ToArray();
        Assert.That(lines.Select(line => (line.Row.Split('.')[0], line.Mode)), Is.EquivalentTo(new[] { ("rms_norm", "cold"), ("rms_norm", "chained"), ("linear_scan", "cold"), ("linear_scan", "chained") }));
        foreach (var line in lines.Where(line => line.Row.StartsWith("rms_norm", StringComparison.Ordinal)))
        {
            Assert.That(line.MedianUs, Is.GreaterThan(0));
            Assert.That(line.RelativeL2, Is.InRange(1e-4, 5e-3));
            Assert.That(line.PercentOfLimit, Is.GreaterThan(0));
            Assert.That(line.Scale, Is.EqualTo("tiny"));
        }

        Assert.That(lines.Where(line => line.Row.StartsWith("linear_scan", StringComparison.Ordinal)).Select(line => line.Reason), Has.All.StartsWith(ResultLine.NotMeasured));

        Assert.That(Run(path), Is.Zero);
        Assert.That(ResultFile.Read(path).Count(line => line.At is null), Is.EqualTo(lines.Length));
    }

    [Test]
    public void ARowThatEndedARunIsNotBegunAgain()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "r.jsonl");
        var row = RowList.Load(RowList.DefaultPath, BenchScale.Tiny).Matching(@"^rms_norm\.forward/m8192_w2560").Single().Id;
        new RowMarker(path).Set(row);
        Assert.That(Run(path), Is.Zero);
        Assert.That(ResultFile.Read(path).Where(line => line.Row == row).Select(line => line.Reason), Has.All.EqualTo("not measured: the run ended in this row"));
        Assert.That(new RowMarker(path).Interrupted, Is.Null);
    }

    [Test]
    public void ChecksAloneWriteNothing()
    {
        var options = BenchOptions.Parse(["--check", "--scale", "tiny", "--device", TestDevices.IsEmulator ? "emulator" : "cuda", "--rows", Norms]);
        Assert.That(CheckRun.Run(options, RowList.Load(options.ListFile, options.Scale)), Is.Zero);
        Assert.That(CheckRun.Run(options with { Rows = "^nothing$" }, RowList.Load(options.ListFile, options.Scale)), Is.EqualTo(1), "nothing checked is not right");
        Assert.That(File.Exists(options.Out), Is.False);
    }

    [Test]
    public void NaNIsNoSmallDistance()
    {
        Assert.That(RelativeL2.Of([3, 4], [3, 4]), Is.Zero);
        Assert.That(RelativeL2.Of([0, 0], [3, 4]), Is.EqualTo(1));
        Assert.That(RelativeL2.Of([double.NaN], [1]), Is.NaN);
        Assert.That(RelativeL2.Of([1], [0]), Is.EqualTo(double.PositiveInfinity));
        Assert.That(() => RelativeL2.Of([1], [1, 2]), Throws.ArgumentException);
    }

    [Test]
    public void SamplesHaveQuantiles()
    {
        var samples = new Samples([5, 1, 3, 2, 4, 6, 7, 8, 9, 10, 11]);
        Assert.That((samples.P10, samples.Median, samples.P90, samples.Count), Is.EqualTo((2.0, 6.0, 10.0, 11)));
    }

    [Test]
    public void TheWarmUpEndsOnceThreeMediansAgree()
    {
        var falling = new Queue<double>(Enumerable.Range(0, 100).Select(i => i < 20 ? 100.0 - i : 50));
        Assert.That(WarmUp.Run(falling.Dequeue, 1));
        Assert.That(falling, Has.Count.EqualTo(65), "15 equal samples after 20 falling ones");
        var endless = 1.0;
        Assert.That(WarmUp.Run(() => endless *= 1.1, 1), Is.False);
    }

    [TestCase("90s", 90)]
    [TestCase("8m", 480)]
    [TestCase("0.5m", 30)]
    public void TimesAreSecondsOrMinutes(string text, double seconds) => Assert.That(BenchOptions.ParseTime(text).TotalSeconds, Is.EqualTo(seconds));

    [TestCase("--bogus", "1")]
    [TestCase("--budget", "8")]
    [TestCase("--scale", "small")]
    [TestCase("--out")]
    public void WhatIsNotUnderstoodIsSaid(params string[] args) => Assert.That(() => BenchOptions.Parse(args), Throws.TypeOf<FormatException>());
}
