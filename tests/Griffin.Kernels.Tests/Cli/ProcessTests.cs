using System.Diagnostics;
using System.Text.Json;
using Griffin.Kernels.Tests.Nvrtc;
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
        (int exitCode, string output, string[] errors) = Generate(folder, ("PATH", folder.Path), ("CXX", ""), ("GRIFFIN_CXX", ""), ("GRIFFIN_CACHE", folder.File("cache")));
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
        (int exitCode, string output, string[] errors) = Generate(folder, ("GRIFFIN_CACHE", folder.File("file/cache")));
        Assert.That(exitCode, Is.Zero, string.Join('\n', errors));
        Assert.That(output, Does.StartWith("5,6"));
        Assert.That(errors, Has.Length.EqualTo(2).And.One.StartsWith("device: ").And.One.StartsWith("warning: Kernel cache: "));
    }

    [Test]
    public void Kernels_reports_what_the_resource_table_says()
    {
        const string version = "12.4";
        (int exitCode, string output, string[] errors) = Run(
            ["kernels", "--size", "recurrentgemma-2b", "--op", "RmsNorm", "--json"], ("GRIFFIN_LIBRARY_PATH", NvrtcLibraries.FolderOf(version)));
        Assert.That(exitCode, Is.Zero, string.Join('\n', errors));
        Assert.That(errors, Has.Length.EqualTo(1).And.All.StartsWith($"device: none; compiled by NVRTC {version}"));
        string[][] table = [.. File.ReadLines(ResourceTable.PathOf(version)).Select(line => line.Split('\t'))];
        JsonElement[] kernels = [.. JsonDocument.Parse(output).RootElement.GetProperty("kernels").EnumerateArray()];
        Assert.That(kernels.Select(kernel => kernel.GetProperty("architecture").GetString()).Distinct(), Is.EquivalentTo(new[] { "sm_80", "sm_90" }));
        Assert.Multiple(() =>
        {
            foreach (JsonElement kernel in kernels)
            {
                string name = kernel.GetProperty("kernel").GetString()!, architecture = kernel.GetProperty("architecture").GetString()!;
                string[] row = table.Single(cells => cells[0] == $"rms_norm.cu: {name}");
                string needs = $"{kernel.GetProperty("registers")}/{kernel.GetProperty("static_shared_bytes")}";
                string recorded = row[Array.IndexOf(table[0], architecture)];
                Assert.That(ResourceTable.Agrees(needs, recorded), Is.True, $"{name}, {architecture}: {needs}, recorded {recorded}");
                Assert.That((kernel.GetProperty("spill_bytes").GetInt32(), kernel.GetProperty("stack_bytes").GetInt32()), Is.EqualTo((0, 0)), $"{name}, {architecture}");
            }
        });
    }

    private static (int ExitCode, string Output, string[] Errors) Generate(TempFolder model, params (string Name, string Value)[] environment)
    {
        TestDevices.RequireEmulator();
        return Run(["generate", "--model", model.Path, "--tokens", "5,6", "--max-tokens", "2", "--device", "emulator"], environment);
    }

    private static (int ExitCode, string Output, string[] Errors) Run(string[] args, params (string Name, string Value)[] environment)
    {
        using Process process = GriffinProcess.Start(args, environment);
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
