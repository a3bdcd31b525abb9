using System.Diagnostics;
using Griffin.Bench.Inputs;
using Griffin.Bench.Results;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>Runs the rows that a results file lacks; what cannot be run gets a line that says why.</summary>
internal sealed class TorchRun : IDisposable
{
    private const string Peer = "torchsharp", Pipeline = "pipeline";
    private const int CacheTimes = 4, MostCopies = 64;

    private readonly BenchOptions _options;
    private readonly RowList _rows;
    private readonly ResultFile _file;
    private readonly TimingOptions _timing;
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly CardMonitor _card = new();
    private readonly string? _driver = CardMonitor.Driver();
    private GpuDevice? _ours;
    private GpuStream? _stream;
    private OurResults? _results;
    private TorchModelBench? _models;
    private Device? _device;

    public TorchRun(BenchOptions options, RowList rows)
    {
        (_options, _rows) = (options, rows);
        _file = new(options.Out);
        _timing = options.Scale == BenchScale.Tiny ? new() { LeastSamples = 5, MostSeconds = 0.1 } : new();
    }

    /// <summary>Runs.</summary>
    public void Run()
    {
        BenchRow[] left = [.. _rows.Matching(_options.Rows).Where(row => !row.IsCeiling && !ModesOf(row).All(mode => Has(row, mode)))];
        if (OpenLibrary() is { } missing)
        {
            foreach (BenchRow row in left) Refuse(row, missing);
            return;
        }

        foreach (BenchRow row in left.TakeWhile(_ => _clock.Elapsed < _options.Budget)) RunRow(row);
    }

    public void Dispose()
    {
        _card.Dispose();
        _stream?.Dispose();
        _ours?.Dispose();
    }

    private string? ScaleName => _options.Scale == BenchScale.Tiny ? "tiny" : null;

    private static IReadOnlyList<string> ModesOf(BenchRow row) => row.IsModel ? [Pipeline] : KernelBench.ModesOf(row);

    private bool Has(BenchRow row, string mode) => _file.Has(row.Id, Peer, mode, _options.Round, ScaleName);

    /// <summary>Opens our device, and libtorch on the same one.</summary>
    /// <returns>Why no row can run; null when all is there.</returns>
    private string? OpenLibrary()
    {
        _ours = GpuDevice.Open(_options.Device);
        Console.Error.WriteLine(_ours.Description);
        bool onGpu = _ours.Kind == GpuDeviceKind.Cuda;
        try
        {
            InitializeDeviceType(onGpu ? DeviceType.CUDA : DeviceType.CPU);
            if (onGpu && !cuda.is_available()) return "this libtorch sees no GPU";
        }
        catch (Exception e) when (e is NotSupportedException or DllNotFoundException or TypeInitializationException or EntryPointNotFoundException or BadImageFormatException or InvalidOperationException)
        {
            return $"libtorch was not found; build with -p:TorchSharpLibrary=TorchSharp-cuda-linux ({FirstLine(e)})";
        }

        backends.cuda.matmul.allow_tf32 = false;
        backends.cudnn.allow_tf32 = false;
        _device = onGpu ? CUDA : CPU;
        _stream = _ours.CreateStream();
        _ = _stream.Blas;
        _results = new(_stream, new DeviceDraw(_ours), _rows);
        _models = new(_ours, _device, _rows, RowList.Load(_options.ListFile, BenchScale.Tiny), _timing);
        return null;
    }

    private void RunRow(BenchRow row)
    {
        try
        {
            if (row.Op is "cost" or "throughput" or "decode_serial") throw new NotMeasuredException("the decode rows say how long its steps take");
            if (row.IsModel)
            {
                Append(row, Pipeline, _models!.Check(row), () => _models.Measure(row));
                return;
            }

            double distance = _results!.Compare(row, _device!);
            foreach (string mode in ModesOf(row).Where(mode => !Has(row, mode))) Append(row, mode, distance, () => Measure(row, mode));
        }
        catch (NotMeasuredException reason)
        {
            Refuse(row, reason.Message);
        }
        catch (Exception e) when (e is System.Runtime.InteropServices.ExternalException or GpuException or ArgumentException or NotSupportedException or InvalidOperationException)
        {
            Refuse(row, FirstLine(e));
        }
    }

    private Samples Measure(BenchRow row, string mode)
    {
        using DisposeScope scope = NewDisposeScope();
        TorchCase Copy() => TorchCases.Build(row, new TorchDraw(_rows, row, _device!));
        List<TorchCase> copies = [Copy()];
        long cache = _device!.type == DeviceType.CUDA ? CacheTimes * _ours!.Limits.L2CacheBytes : 0;
        long wanted = mode == KernelBench.Cold ? Math.Clamp((cache - 1) / Math.Max(1, copies[0].Bytes) + 1, 1, MostCopies) : 1;
        while (copies.Count < wanted) copies.Add(Copy());
        return TorchTimer.Measure([.. copies.Select(copy => copy.Bind(row.Pass))], _device, _timing);
    }

    private void Append(BenchRow row, string mode, double distance, Func<Samples> measure)
    {
        (double? clockBefore, double? powerBefore) = _card.Read();
        Samples times = measure();
        (double? clockAfter, double? powerAfter) = _card.Read();
        _file.Append(Line(row, mode) with
        {
            Variant = TorchTimer.Name,
            MedianUs = Math.Round(times.Median, 3),
            P10Us = Math.Round(times.P10, 3),
            P90Us = Math.Round(times.P90, 3),
            Samples = times.Count,
            SmClockMhz = [clockBefore, clockAfter],
            PowerW = [powerBefore, powerAfter],
            RelativeL2 = distance,
        });
        Console.Error.WriteLine(FormattableString.Invariant($"{row.Id} {mode}: {times.Median:F1} us"));
    }

    private void Refuse(BenchRow row, string reason)
    {
        foreach (string mode in ModesOf(row).Where(mode => !Has(row, mode))) _file.Append(Line(row, mode) with { Reason = ResultLine.NotMeasured + reason });
        Console.Error.WriteLine($"{row.Id}: {ResultLine.NotMeasured}{reason}");
    }

    private ResultLine Line(BenchRow row, string mode) => new()
    {
        Row = row.Id,
        Peer = Peer,
        Mode = mode,
        Round = _options.Round,
        Scale = ScaleName,
        Device = _ours!.Name,
        Driver = _driver,
        Date = DateTime.UtcNow.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture),
    };

    private static string FirstLine(Exception error) => error.GetBaseException().Message.Split('\n')[0].Trim();
}
