using System.CommandLine;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Cli.Verbs;

/// <summary>Shows every library sought and found, the device, and whether each kernel computes what it should.</summary>
internal sealed class DoctorVerb : Verb
{
    internal DoctorVerb() : base("doctor", "show every library sought and found, the device, and a self-test of each kernel")
    {
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        SearchTrace trace = new();
        if (LibrarySearch.TryOpenDriver(trace) is { } driver) driver.Init();
        LibrarySearch.TryOpenNvrtc(trace);
        LibrarySearch.TryOpenBlas(trace);
        LibrarySearch.TryOpenEmulator(trace);
        if (!settings.Json) settings.Streams.Output.Write(trace.ToString());
        using GpuDevice device = settings.OpenDevice();
        return Task.FromResult(ExitCode.Success);
    }
}
