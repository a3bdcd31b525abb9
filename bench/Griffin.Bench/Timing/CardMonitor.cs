using System.Diagnostics;
using System.Globalization;

namespace Griffin.Bench.Timing;

/// <summary>The card's clock and power, as nvidia-smi tells them several times a second; without nvidia-smi there are none.</summary>
public sealed class CardMonitor : IDisposable
{
    private const string Interval = "200";

    private readonly Process? _process;
    private volatile string _last = "";

    /// <summary>Starts listening.</summary>
    public CardMonitor()
    {
        _process = Start("--query-gpu=clocks.sm,power.draw", "--format=csv,noheader,nounits", $"--loop-ms={Interval}", "--id=0");
        if (_process is null) return;
        _process.OutputDataReceived += (_, line) => _last = line.Data ?? _last;
        _process.BeginOutputReadLine();
    }

    /// <summary>SM clock in MHz and power in watts, some of the last fifth of a second; null where unknown.</summary>
    public (double? Clock, double? Power) Read()
    {
        string[] parts = _last.Split(',');
        return (Number(parts, 0), Number(parts, 1));
    }

    /// <summary>The driver's version; null without nvidia-smi.</summary>
    public static string? Driver()
    {
        using Process? process = Start("--query-gpu=driver_version", "--format=csv,noheader", "--id=0");
        string? line = process?.StandardOutput.ReadLine();
        process?.WaitForExit();
        return process?.ExitCode == 0 ? line?.Trim() : null;
    }

    /// <summary>Stops listening.</summary>
    public void Dispose()
    {
        if (_process is null) return;
        if (!_process.HasExited) _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static double? Number(string[] parts, int index) =>
        index < parts.Length && double.TryParse(parts[index], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : null;

    private static Process? Start(params string[] arguments)
    {
        try
        {
            return Process.Start(new ProcessStartInfo("nvidia-smi", arguments) { RedirectStandardOutput = true, RedirectStandardError = true });
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
