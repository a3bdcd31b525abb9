using System.Runtime.InteropServices;

namespace Griffin.Cli;

internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        using CliStreams streams = CliStreams.OfProcess();
        using CancellationTokenSource cancellation = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal =>
        {
            // The first Ctrl-C ends the work in good order, the second one the process.
            signal.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        });
        return await GriffinCommand.RunAsync(args, streams, cancellation.Token);
    }
}
