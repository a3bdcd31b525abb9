using System.Text;
using System.Text.Json;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Tests.Training;

internal sealed class TrainingLogTests
{
    private static StepReport Step(long step) =>
        new(step, step * 4096, 5.25 / step, 0.1 + step, 1e-3 / 3, 1.5, 2730.6666666666665, step % 2 == 0 ? 0.375 : null, step % 3 == 0 ? 2.5 : null);

    private static void Write(string path, IEnumerable<StepReport> steps, long resumed = 0)
    {
        using TrainingLog log = TrainingLog.Open(path, resumed);
        foreach (StepReport step in steps) log.Write(step);
    }

    [Test]
    public void Steps_are_read_back_to_the_last_bit()
    {
        using TempFolder folder = new();
        StepReport[] steps = [.. Enumerable.Range(1, 7).Select(step => Step(step))];
        Write(folder.File("log.jsonl"), steps);
        Assert.That(TrainingLog.Read(folder.File("log.jsonl")), Is.EqualTo(steps));
        JsonElement third = JsonDocument.Parse(File.ReadAllLines(folder.File("log.jsonl"))[2]).RootElement;
        Assert.That(third.EnumerateObject().Select(member => member.Name), Is.EqualTo(
            new[] { "step", "tokens", "loss", "gradient_norm", "learning_rate", "seconds", "tokens_per_second", "held_out_loss" }));
        Assert.That(third.GetProperty("held_out_loss").GetDouble(), Is.EqualTo(2.5));
    }

    [Test]
    public void What_is_not_finite_is_null()
    {
        using TempFolder folder = new();
        Write(folder.File("log.jsonl"), [Step(1) with { Loss = double.NaN, GradientNorm = double.PositiveInfinity, HeldOutLoss = double.NaN }]);
        StepReport step = TrainingLog.Read(folder.File("log.jsonl")).Single();
        Assert.That((step.Loss, step.GradientNorm, step.HeldOutLoss), Is.EqualTo((double.NaN, double.NaN, (double?)double.NaN)));
    }

    [TestCase(0, 0)]
    [TestCase(3, 3)]
    [TestCase(6, 6)]
    [TestCase(100, 7)]
    public void Resuming_cuts_off_what_came_after_the_checkpoint(long resumed, int kept)
    {
        using TempFolder folder = new();
        StepReport[] steps = [.. Enumerable.Range(1, 7).Select(step => Step(step))];
        Write(folder.File("log.jsonl"), steps);
        StepReport[] more = [Step(resumed + 1) with { Loss = 9 }, Step(resumed + 2) with { Loss = 9 }];
        Write(folder.File("log.jsonl"), more, resumed);
        Assert.That(TrainingLog.Read(folder.File("log.jsonl")), Is.EqualTo(steps.Take(kept).Concat(more)));
    }

    [Test]
    public void A_line_torn_anywhere_is_as_good_as_not_written()
    {
        using TempFolder folder = new();
        Write(folder.File("log.jsonl"), [Step(1), Step(2)]);
        byte[] whole = File.ReadAllBytes(folder.File("log.jsonl"));
        int second = Array.IndexOf(whole, (byte)'\n') + 1;
        for (int length = second; length < whole.Length; length++)
        {
            File.WriteAllBytes(folder.File("log.jsonl"), whole[..length]);
            Assert.That(TrainingLog.Read(folder.File("log.jsonl")), Is.EqualTo(new[] { Step(1) }));
            Write(folder.File("log.jsonl"), [Step(2), Step(3)], resumed: 5);
            Assert.That(TrainingLog.Read(folder.File("log.jsonl")), Is.EqualTo(new[] { Step(1), Step(2), Step(3) }), $"torn at {length}");
        }
    }

    [Test]
    public void Lines_are_in_the_file_before_it_is_closed()
    {
        using TempFolder folder = new();
        using TrainingLog log = TrainingLog.Open(folder.File("log.jsonl"));
        log.Write(Step(1));
        using FileStream other = new(folder.File("log.jsonl"), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Assert.That(new StreamReader(other, Encoding.UTF8).ReadToEnd(), Does.EndWith("}\n"));
    }

    [Test]
    public void The_progress_line_says_what_is_known()
    {
        ProgressLine progress = new(steps: 100);
        Assert.That(progress.Add(Step(1) with { Seconds = 2 }), Is.EqualTo("step 1/100: loss 5.2500, 2731 tokens/s, 3 min left"));
        Assert.That(progress.Add(Step(3) with { Seconds = 2, ModelFlopsUtilization = 0.375 }), Is.EqualTo("step 3/100: loss 1.7500, held out 2.5000, 2731 tokens/s, MFU 37.5 %, 3 min left"));
        Assert.That(progress.Add(Step(100) with { Seconds = 2, ModelFlopsUtilization = null }), Is.EqualTo("step 100/100: loss 0.0525, held out 2.5000, 2731 tokens/s, 0 s left"));
    }

    [TestCase(0.5, "50 s")]
    [TestCase(30, "50 min")]
    [TestCase(360, "10.0 h")]
    [TestCase(8640, "10.0 days")]
    public void Time_left_has_a_fitting_unit(double seconds, string left) =>
        Assert.That(new ProgressLine(101).Add(Step(1) with { Seconds = seconds }), Does.EndWith($", {left} left"));

    [Test]
    public void The_pace_follows_the_last_steps()
    {
        ProgressLine progress = new(steps: 1100);
        progress.Add(Step(1) with { Seconds = 1000 });
        string line = "";
        for (int step = 2; step <= 1000; step++) line = progress.Add(Step(step) with { Seconds = 0.5 });
        Assert.That(line, Does.EndWith(", 50 s left"));
    }
}
