using System.Text.Json;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>What <c>griffin experiment</c> prints and refuses.</summary>
internal sealed class ExperimentVerbTests
{
    private const int Usage = 2;
    private const string Names = "selective-copying, induction-heads, phonebook, length-extrapolation, scaling, cost";

    [Test]
    public void People_get_a_table_and_the_facts()
    {
        using TempFolder folder = new();
        CliRun run = Tiny("induction-heads", folder, "--families", "hawk, mqa");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.Multiple(() =>
        {
            Assert.That(run.Output, Does.Contain("solved").And.Match("\n *hawk +10,832 +4 +16 +32 +10 ").And.Match("\n *mqa ").And.Not.Match("\n *griffin ")
                .And.Contain("\nscale: tiny: ").And.EndWith($"\ndone: 2 of 2 parts\npage: {folder.File("run/report.html")}\n"));
            Assert.That(run.ErrorLines[1], Is.EqualTo("hawk (1 of 2)"));
            Assert.That(run.ErrorLines[^1], Does.StartWith("step 4/4: loss "));
        });
    }

    [Test]
    public void Json_is_what_the_file_holds()
    {
        using TempFolder folder = new();
        CliRun run = Tiny("scaling", folder, "--json", "--data", TestData.Path("persuasion-65536.txt"), "--seed", "5", "--precision", "float32");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.ErrorLines, Has.Length.EqualTo(1));
        Assert.That(JsonElement.DeepEquals(run.Json, JsonDocument.Parse(File.ReadAllBytes(folder.File("run/result.json"))).RootElement));
        JsonElement facts = run.Json.GetProperty("facts");
        Assert.That((facts.GetProperty("seed").GetString(), facts.GetProperty("precision").GetString()), Is.EqualTo(("5", "float32")));
        Assert.That(run.Json.GetProperty("rows").GetArrayLength(), Is.EqualTo(6));
    }

    [Test]
    public void Interrupted_it_says_how_to_go_on_and_goes_on()
    {
        using TempFolder folder = new();
        using CancellationTokenSource cancelled = new();
        using InterruptingWriter error = new("hawk (2 of 3)", cancelled);
        CliRun first = CliRun.OfError(Args("selective-copying", folder), error, cancelled.Token);
        Assert.That((first.ExitCode, first.ErrorLines[^1]), Is.EqualTo((130, $"griffin: interrupted; the same command goes on with what is in {folder.File("run")}")));
        CliRun second = Tiny("selective-copying", folder);
        Assert.That(second.ExitCode, Is.Zero, second.Error);
        Assert.That(second.Error, Does.Not.Contain("griffin (1 of 3)").And.Contain("hawk (2 of 3)").And.Contain("mqa (3 of 3)"));
        Assert.That(second.Output, Does.Contain("done: 3 of 3 parts"));
    }

    [Test]
    public void A_wrong_command_line_is_refused_in_one_line()
    {
        Assert.Multiple(() =>
        {
            CliRun.AssertRefused(Usage, $"say which experiment: {Names}", "experiment");
            CliRun.AssertRefused(Usage, $"unknown experiment 'copying'; there are {Names}", "experiment", "copying");
            CliRun.AssertRefused(Usage, "--scale is 'huge': it must be tiny or small or full", "experiment", "cost", "--scale", "huge");
            CliRun.AssertRefused(Usage, "--families holds 'gpt': there are griffin, hawk, mqa", "experiment", "cost", "--families", "griffin,gpt");
            CliRun.AssertRefused(Usage, "--out is empty: give a path", "experiment", "cost", "--out", "");
            CliRun.AssertRefused(Usage, "cost makes its own data: leave --data out", "experiment", "cost", "--data", "x.txt");
            CliRun.AssertRefused(
                Usage, "scaling trains on text: name files with --data (text, .jsonl, or byte tokens; the last tenth of each document is held out)", "experiment", "scaling");
            CliRun.AssertRefused(Usage, "nothing takes the argument 'more' of experiment; see griffin experiment --help", "experiment", "cost", "more");
        });
    }

    [Test]
    public void A_missing_file_is_named()
    {
        using TempFolder folder = new();
        CliRun run = Tiny("scaling", folder, "--data", folder.File("no.txt"));
        Assert.That((run.ExitCode, run.ErrorLines[^1]), Is.EqualTo((1, $"griffin: {folder.File("no.txt")}: no such file")));
        Assert.That(Directory.Exists(folder.File("run")), Is.False);
    }

    private static CliRun Tiny(string name, TempFolder folder, params string[] more) => CliRun.Of([.. Args(name, folder), .. more]);

    private static string[] Args(string name, TempFolder folder) => ["experiment", name, "--scale", "tiny", "--out", folder.File("run"), "--device", CliRun.Device];
}
