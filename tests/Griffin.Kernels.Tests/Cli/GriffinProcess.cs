using System.Diagnostics;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>The command as a process of its own.</summary>
internal static class GriffinProcess
{
    /// <summary>Starts it with its streams redirected. Where the tests are a program without .NET beside it, the test is ignored.</summary>
    public static Process Start(string[] args, params (string Name, string Value)[] environment)
    {
        string? host = Environment.ProcessPath;
        if (Path.GetFileNameWithoutExtension(host) != "dotnet") Assert.Ignore("a self-contained runner has no host for another program");
        ProcessStartInfo start = new(host!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[Path.Combine(AppContext.BaseDirectory, "griffin.dll"), .. CliRun.WithProvider(args)])
            start.ArgumentList.Add(argument);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }
}
