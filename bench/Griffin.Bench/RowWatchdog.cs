using System.Diagnostics;

namespace Griffin.Bench;

/// <summary>Ends the process when a row does not end: a kernel that hangs cannot be stopped otherwise. The row's marker then says which one it was.</summary>
internal sealed class RowWatchdog : IDisposable
{
    private readonly Timer _timer;

    public RowWatchdog(string row, TimeSpan most) => _timer = new(_ =>
    {
        Console.Error.WriteLine($"{row} did not end in {most.TotalSeconds:F0} s: the run ends here; start it anew to go on");
        Process.GetCurrentProcess().Kill();
    }, null, most, Timeout.InfiniteTimeSpan);

    public void Dispose() => _timer.Dispose();
}
