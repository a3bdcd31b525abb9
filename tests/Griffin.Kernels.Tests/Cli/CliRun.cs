using System.Text.Json;
using Griffin.Cli;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>One run of the command inside the test process: exit code and captured streams.</summary>
internal sealed record CliRun(int ExitCode, string Output, string Error)
{
    /// <summary>The value of <c>--device</c> that stands for the device of this test run.</summary>
    public static string Device => TestDevices.IsEmulator ? "emulator" : "cuda";

    /// <summary>The command line, with this run's provider where it names this run's device.</summary>
    public static string[] WithProvider(string[] args)
    {
        int option = Array.IndexOf(args, "--device");
        bool usesDevice = option >= 0 && option + 1 < args.Length && args[option + 1] == Device;
        return usesDevice && TestDevices.ProviderName != Providers.Direct ? [.. args, "--provider", TestDevices.ProviderName] : args;
    }

    /// <summary>The lines on the error stream.</summary>
    public string[] ErrorLines => Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The object on the output stream, which must be the only thing there.</summary>
    public JsonElement Json => JsonDocument.Parse(Output).RootElement;

    /// <summary>Runs a command line.</summary>
    public static CliRun Of(params string[] args) => Of(args, CancellationToken.None);

    /// <summary>Runs a command line that may be interrupted.</summary>
    public static CliRun Of(string[] args, CancellationToken cancellationToken)
    {
        using StringWriter output = new() { NewLine = "\n" };
        return Of(args, output, cancellationToken);
    }

    /// <summary>Runs a command line whose output goes to a writer of the caller's.</summary>
    public static CliRun Of(string[] args, StringWriter output, CancellationToken cancellationToken) => Of(args, output, interactive: false, cancellationToken);

    /// <summary>Runs a command line as one whose error stream somebody watches.</summary>
    public static CliRun Watched(params string[] args)
    {
        Environment.SetEnvironmentVariable("TERM", "xterm"); // bars need a terminal that can move its cursor
        using StringWriter output = new() { NewLine = "\n" };
        return Of(args, output, interactive: true, CancellationToken.None);
    }

    /// <summary>Runs a command line whose error stream goes to a writer of the caller's.</summary>
    public static CliRun OfError(string[] args, StringWriter error, CancellationToken cancellationToken)
    {
        using StringWriter output = new() { NewLine = "\n" };
        return Of(args, output, error, interactive: false, cancellationToken);
    }

    private static CliRun Of(string[] args, StringWriter output, bool interactive, CancellationToken cancellationToken)
    {
        using StringWriter error = new() { NewLine = "\n" };
        return Of(args, output, error, interactive, cancellationToken);
    }

    private static CliRun Of(string[] args, StringWriter output, StringWriter error, bool interactive, CancellationToken cancellationToken)
    {
        using CliStreams streams = new(output, error, interactive);
        int exitCode = GriffinCommand.RunAsync(WithProvider(args), streams, cancellationToken).GetAwaiter().GetResult();
        return new CliRun(exitCode, output.ToString(), error.ToString());
    }

    /// <summary>Asserts that nothing went to the output and the given line, alone, to the error stream.</summary>
    public static void AssertRefused(int exitCode, string line, params string[] args)
    {
        CliRun run = Of(args);
        Assert.That((run.ExitCode, run.Output, run.Error), Is.EqualTo((exitCode, "", $"griffin: {line}\n")));
    }
}
