using System.Runtime.InteropServices;

namespace Griffin.Cli;

internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        using CliStreams streams = CliStreams.OfProcess();
        using CancellationTokenSource cancellation = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
        using PosixSignalRegistration termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
        return await GriffinCommand.RunAsync(args, streams, cancellation.Token);

        // The first Ctrl-C, or the first order of a job scheduler, ends the work in good order, the second one the process.
        void End(PosixSignalContext signal)
        {
            signal.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        }
    }
}
