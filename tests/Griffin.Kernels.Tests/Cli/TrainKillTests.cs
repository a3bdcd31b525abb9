using System.Diagnostics;
using System.Runtime.InteropServices;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>A run that is killed without warning, or told to end, as a process of its own.</summary>
internal sealed class TrainKillTests
{
    private const int Kills = 6;
    private const int Termination = 15; // SIGTERM

    private const string Recipe =
        """
        {
          "model": {"vocab_size": 260, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "attention_window_size": 8},
          "data": ["a.txt"], "validation": ["a.txt"], "validation_tokens": 100, "context": 16, "rows": 2, "accumulation_steps": 2, "steps": 100, "learning_rate": 0.01,
          "evaluate_every": 10, "checkpoint_every": 3, "keep_last": 2
        }
        """;

    [Test]
    public void Killed_at_any_moment_it_goes_on_to_the_same_bits()
    {
        using TempFolder folder = MakeInputs();
        Run(folder, "whole", TimeSpan.MaxValue);
        Stopwatch watch = Stopwatch.StartNew();
        Assert.That(Run(folder, "again", TimeSpan.MaxValue), Is.True);
        double seconds = watch.Elapsed.TotalSeconds;

        CounterRandom random = new((ulong)Environment.ProcessId);
        int killed = 0;
        for (int i = 0; i < Kills; i++) killed += Run(folder, "killed", TimeSpan.FromSeconds(random.Uniform(0.2, 0.8) * seconds)) ? 0 : 1;
        Assert.That(killed, Is.GreaterThan(0), "every run was faster than its killer");
        Assert.That(Run(folder, "killed", TimeSpan.MaxValue), Is.True);

        Assert.That(Log(folder, "again"), Is.EqualTo(Log(folder, "whole")));
        Assert.That(Log(folder, "killed"), Is.EqualTo(Log(folder, "whole")));
        string[] files = Files(folder, "whole");
        Assert.That(files, Has.Some.StartsWith("model/").And.Some.StartsWith("checkpoints/step-00000100/"));
        Assert.That(Files(folder, "killed"), Is.EqualTo(files));
        foreach (string file in files)
            Assert.That(File.ReadAllBytes(folder.File($"killed/{file}")), Is.EqualTo(File.ReadAllBytes(folder.File($"whole/{file}"))), file);
    }

    // By SIGTERM: processes in a shell's background do not hear SIGINT, which goes the same way.
    [Test]
    [Platform(Exclude = "Win")]
    public void Told_to_end_it_keeps_the_step()
    {
        using TempFolder folder = MakeInputs();
        using Process process = GriffinProcess.Start(
            ["train", "--config", folder.File("r.json"), "--out", folder.File("run"), "--steps", "1000000", "--checkpoint-every", "1000000", "--device", CliRun.Device]);
        Task<string> errors = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
        bool ended;
        try
        {
            Assert.That(() => process.HasExited || Steps() > 0, Is.True.After(300_000, 50), "it takes a step");
            Assert.That(process.HasExited, Is.False, () => errors.Result);
            Assert.That(Kill(process.Id, Termination), Is.Zero);
            ended = process.WaitForExit(60_000);
        }
        finally
        {
            process.Kill();
        }

        Assert.That(ended, Is.True, "it ends");
        output.Wait();
        Assert.That(errors.Result.TrimEnd(), Does.EndWith($"griffin: interrupted; step {Steps()} is kept in a checkpoint: go on with --resume"));
        Assert.That(process.ExitCode, Is.EqualTo(130));
        Assert.That(Directory.Exists(folder.File($"run/checkpoints/step-{Steps():D8}")), Is.True);

        int Steps() => File.Exists(folder.File("run/log.jsonl")) ? Log(folder, "run").Length : 0;
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Kill(int process, int signal);

    private static TempFolder MakeInputs()
    {
        TempFolder folder = new();
        File.WriteAllBytes(folder.File("a.txt"), File.ReadAllBytes(TestData.Path("persuasion-65536.txt"))[..3000]);
        File.WriteAllText(folder.File("r.json"), Recipe);
        return folder;
    }

    /// <summary>Begins or goes on with a run, for so long.</summary>
    /// <returns>Whether it ended by itself, which it must do well.</returns>
    private static bool Run(TempFolder folder, string run, TimeSpan life)
    {
        using Process process = GriffinProcess.Start(["train", "--config", folder.File("r.json"), "--out", folder.File(run), "--resume", "--device", CliRun.Device]);
        Task<string> errors = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
        bool ended = life == TimeSpan.MaxValue || process.WaitForExit(life);
        if (!ended) process.Kill();
        process.WaitForExit();
        string said = errors.Result + output.Result;
        if (ended) Assert.That(process.ExitCode, Is.Zero, said);
        return ended;
    }

    private static StepReport[] Log(TempFolder folder, string run) =>
        [.. TrainingLog.Read(folder.File($"{run}/log.jsonl")).Select(step => step with { Seconds = 0, TokensPerSecond = 0 })];

    /// <summary>What a run leaves of its model and its state.</summary>
    private static string[] Files(TempFolder folder, string run) =>
        [.. new[] { "model", "checkpoints" }.SelectMany(part => Directory.GetFiles(folder.File($"{run}/{part}"), "*", SearchOption.AllDirectories))
            .Select(path => Path.GetRelativePath(folder.File(run), path)).Order(StringComparer.Ordinal)];
}
