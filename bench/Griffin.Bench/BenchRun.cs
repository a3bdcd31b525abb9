using System.Diagnostics;
using System.Runtime.InteropServices;
using Griffin.Bench.Cases;
using Griffin.Bench.Gate;
using Griffin.Bench.Inputs;
using Griffin.Bench.Limits;
using Griffin.Bench.Models;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench;

/// <summary>Runs the rows that a results file lacks, the most informative first, until they are done or the time is over.</summary>
public sealed class BenchRun : IDisposable
{
    /// <summary>The exit code of a run that has to be started anew to go on: the device was lost.</summary>
    public const int StartAnew = 75;

    private const string Ours = "griffin", Pipeline = "pipeline";
    private const int Failed = 1;
    private const double MostDrift = 0.02;

    private static readonly TimingOptions tinyTiming = new() { LeastSamples = 5, MostSeconds = 0.1 };

    private readonly BenchOptions _options;
    private readonly RowList _rows;
    private readonly ResultFile _file;
    private readonly RowMarker _marker;
    private readonly GpuDevice _device;
    private readonly GpuStream _stream;
    private readonly CorrectnessGate _gate;
    private readonly ModelGate _modelGate;
    private readonly KernelBench _kernels;
    private readonly ModelBench _models;
    private readonly CardMonitor _card = new();
    private readonly string? _driver = CardMonitor.Driver();
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private Ceilings? _ceilings;
    private bool _failed;

    /// <summary>Opens the device and the results file.</summary>
    public BenchRun(BenchOptions options, RowList rows)
    {
        (_options, _rows) = (options, rows);
        _file = new(options.Out);
        _marker = new(options.Out);
        _device = GpuDevice.Open(options.Device);
        Console.Error.WriteLine(_device.Description);
        _stream = _device.CreateStream();
        _ = _stream.Blas;   // its workspace is set here, never during a capture
        DeviceDraw draw = new(_device);
        _gate = new(_stream, draw);
        _modelGate = new(_device);
        bool tiny = options.Scale == BenchScale.Tiny;
        TimingOptions timing = tiny ? tinyTiming : new();
        _kernels = new(_stream, draw, timing, tiny ? 1 << 16 : _device.Limits.L2CacheBytes);
        _models = new(_device, rows, timing);
    }

    /// <summary>Runs.</summary>
    /// <returns>0, 1 when a row was wrong or failed, or <see cref="StartAnew"/>.</returns>
    public int Run()
    {
        // Asked to stop is not stopped by a row: it may begin again.
        using PosixSignalRegistration stop = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => _marker.Clear());
        try
        {
            _ceilings = MeasureCeilings("start");
            NoteInterrupted();
            BenchRow[] left = [.. _rows.Matching(_options.Rows).Where(row => !row.IsCeiling && !IsDone(row))];
            int done = 0;
            foreach (BenchRow row in left.TakeWhile(_ => _clock.Elapsed < _options.Budget))
            {
                _marker.Set(row.Id);
                using (new RowWatchdog(row.Id, _options.RowTime)) RunRow(row);
                _marker.Clear();
                done++;
            }

            Console.Error.WriteLine($"{done} rows in {_clock.Elapsed.TotalSeconds:F0} s, {left.Length - done} left");
            CheckDrift(MeasureCeilings("end"));
            return _failed ? Failed : 0;
        }
        catch (DeviceLostException e)
        {
            Console.Error.WriteLine($"{e.Message}: start the run anew to go on");
            return StartAnew;
        }
    }

    /// <summary>Closes the device.</summary>
    public void Dispose()
    {
        _card.Dispose();
        try
        {
            _models.Dispose();
            _kernels.Dispose();
            _stream.Dispose();
            _device.Dispose();
        }
        catch (DeviceLostException)
        {
            // What a lost device held is gone with it.
        }
    }

    private string? ScaleName => _options.Scale == BenchScale.Tiny ? "tiny" : null;

    private static IReadOnlyList<string> ModesOf(BenchRow row) => row.IsModel ? [Pipeline] : KernelBench.ModesOf(row);

    private bool IsDone(BenchRow row) => ModesOf(row).All(mode => _file.Has(row.Id, Ours, mode, _options.Round, ScaleName));

    private void NoteInterrupted()
    {
        if (_marker.Interrupted is not { } id || _rows.Rows.FirstOrDefault(row => row.Id == id) is not { } row) return;
        Refuse(row, "the run ended in this row");
        _marker.Clear();
    }

    private void RunRow(BenchRow row)
    {
        try
        {
            if (row.IsModel) RunModel(row);
            else if (CaseTable.Of(row) is { } build) RunKernel(row, build);
            else Refuse(row, "no kernel of ours does just this");
        }
        catch (DeviceLostException e)
        {
            _failed = true;
            Refuse(row, e.Message);
            _marker.Clear();
            throw;
        }
        catch (GpuException e) when (e.Result == CudaResult.OutOfMemory)
        {
            Refuse(row, "it needs more memory than the device has");
        }
        catch (Exception e) when (e is GpuException or ArgumentException or KernelCompilationException or InvalidDataException or OverflowException)
        {
            _failed = true;
            Refuse(row, e.Message.ReplaceLineEndings(" "));
        }
    }

    private void RunKernel(BenchRow row, CaseBuilder build)
    {
        GateResult gate = _gate.Check(build, row);
        if (IsRefused(row, gate)) return;
        foreach (string mode in ModesOf(row).Where(mode => !_file.Has(row.Id, Ours, mode, _options.Round, ScaleName)))
            Append(row, mode, () => _kernels.Measure(build, row, mode, RowWork.Of(row, _rows)?.Bytes ?? double.MaxValue), gate.RelativeL2);
    }

    private void RunModel(BenchRow row)
    {
        GateResult gate = _modelGate.Check(_rows.Models[row.Model!]);
        if (IsRefused(row, gate)) return;
        Append(row, Pipeline, () =>
        {
            ModelResult result = _models.Measure(row);
            return (result.Times, result.Variant);
        }, gate.RelativeL2);
    }

    // What is wrong is not timed.
    private bool IsRefused(BenchRow row, GateResult gate)
    {
        if (gate.Failure is not { } failure) return false;
        _failed = true;
        Refuse(row, $"wrong: {failure}");
        return true;
    }

    private void Append(BenchRow row, string mode, Func<(Samples Times, string? Variant)> measure, double distance)
    {
        (double? clockBefore, double? powerBefore) = _card.Read();
        (Samples times, string? variant) = measure();
        (double? clockAfter, double? powerAfter) = _card.Read();
        Work? work = RowWork.Of(row, _rows);
        double seconds = times.Median * 1e-6;
        ResultLine line = Line(row, mode) with
        {
            Variant = variant,
            MedianUs = Round(times.Median),
            P10Us = Round(times.P10),
            P90Us = Round(times.P90),
            Samples = times.Count,
            SmClockMhz = [clockBefore, clockAfter],
            PowerW = [powerBefore, powerAfter],
            RelativeL2 = distance,
            Bytes = work?.Bytes,
            Flops = work?.Flops,
            LimitUs = Round(work?.Seconds(_ceilings!) * 1e6),
            PercentOfLimit = Round(work?.Percent(_ceilings!, seconds)),
            PercentOfDatasheet = Ceilings.Datasheet(_device.Name) is { } sheet ? Round(work?.Percent(sheet, seconds)) : null,
        };
        _file.Append(line);
        Console.Error.WriteLine(FormattableString.Invariant($"{row.Id} {mode}: {line.MedianUs} us, {line.PercentOfLimit:F0} % of the limit"));
    }

    private void Refuse(BenchRow row, string reason)
    {
        foreach (string mode in ModesOf(row).Where(mode => !_file.Has(row.Id, Ours, mode, _options.Round, ScaleName)))
            _file.Append(Line(row, mode) with { Reason = ResultLine.NotMeasured + reason });
        Console.Error.WriteLine($"{row.Id}: {ResultLine.NotMeasured}{reason}");
    }

    private ResultLine Line(BenchRow row, string mode) => new()
    {
        Row = row.Id,
        Peer = Ours,
        Mode = mode,
        Round = _options.Round,
        Scale = ScaleName,
        Device = _device.Name,
        Driver = _driver,
        Date = DateTime.UtcNow.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture),
    };

    private Ceilings MeasureCeilings(string at)
    {
        Dictionary<string, double> rates = [];
        foreach (BenchRow row in _rows.Rows.Where(row => row.IsCeiling))
        {
            Work work = RowWork.Of(row, _rows)!.Value;
            Samples times;
            string? variant;
            try
            {
                (times, variant) = _kernels.Measure(CaseTable.Of(row)!, row, KernelBench.Cold, work.Bytes);
            }
            catch (Exception e) when (e is (GpuException and not DeviceLostException) or KernelCompilationException)
            {
                // The other rows have times all the same, and no percentages.
                _failed = true;
                rates[row.Op] = double.NaN;
                _file.Append(Line(row, KernelBench.Cold) with { At = at, Reason = ResultLine.NotMeasured + e.Message.ReplaceLineEndings(" ") });
                continue;
            }

            bool products = work.Flops > 0;
            rates[row.Op] = (products ? work.Flops : work.Bytes) / (times.Median * 1e-6);
            _file.Append(Line(row, KernelBench.Cold) with
            {
                At = at,
                Variant = variant,
                MedianUs = Round(times.Median),
                P10Us = Round(times.P10),
                P90Us = Round(times.P90),
                Samples = times.Count,
                Bytes = work.Bytes,
                Flops = work.Flops,
                GbPerS = products ? null : Round(rates[row.Op] * 1e-9),
                TflopPerS = products ? Round(rates[row.Op] * 1e-12) : null,
            });
        }

        return new(rates["copy"], rates["read"], rates["matmul"]);
    }

    private void CheckDrift(Ceilings end)
    {
        (string Name, double Start, double End)[] pairs = [("copy", _ceilings!.CopyBytes, end.CopyBytes), ("read", _ceilings.ReadBytes, end.ReadBytes), ("matmul", _ceilings.Flops, end.Flops)];
        foreach ((string name, double before, double after) in pairs.Where(pair => Math.Abs(pair.End / pair.Start - 1) > MostDrift))
            Console.Error.WriteLine(FormattableString.Invariant($"the ceiling of {name} moved by {100 * (after / before - 1):F1} % during the run"));
    }

    private static double? Round(double? value) => value is { } number && double.IsFinite(number) ? double.Parse(number.ToString("G6", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture) : null;
}
