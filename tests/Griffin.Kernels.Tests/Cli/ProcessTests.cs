using System.Diagnostics;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>What depends on the environment, seen from outside: the command as a process of its own.</summary>
internal sealed class ProcessTests
{
    [Test]
    public void Without_a_compiler_there_is_one_line()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        (int exitCode, string output, string[] errors) = Run(folder, ("PATH", folder.Path), ("CXX", ""), ("GRIFFIN_CXX", ""), ("GRIFFIN_CACHE", folder.File("cache")));
        Assert.That((exitCode, output), Is.EqualTo((1, "")));
        Assert.That(errors, Has.Length.EqualTo(2));
        Assert.That(errors[0], Does.StartWith("device: "));
        Assert.That(errors[1], Does.StartWith("griffin: ").And.Contains("no C++ compiler was found"));
    }

    [Test]
    public void An_unwritable_cache_is_one_warning()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        File.WriteAllText(folder.File("file"), "");
        (int exitCode, string output, string[] errors) = Run(folder, ("GRIFFIN_CACHE", folder.File("file/cache")));
        Assert.That(exitCode, Is.Zero, string.Join('\n', errors));
        Assert.That(output, Does.StartWith("5,6"));
        Assert.That(errors, Has.Length.EqualTo(2).And.One.StartsWith("device: ").And.One.StartsWith("warning: Kernel cache: "));
    }

    private static (int ExitCode, string Output, string[] Errors) Run(TempFolder model, params (string Name, string Value)[] environment)
    {
        TestDevices.RequireEmulator();
        string? host = Environment.ProcessPath;
        if (Path.GetFileNameWithoutExtension(host) != "dotnet") Assert.Ignore("a self-contained runner has no host for another program");
        ProcessStartInfo start = new(host!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[Path.Combine(AppContext.BaseDirectory, "griffin.dll"), "generate", "--model", model.Path, "--tokens", "5,6", "--max-tokens", "2", "--device", "emulator"])
            start.ArgumentList.Add(argument);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
