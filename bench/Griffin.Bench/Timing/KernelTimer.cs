using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Timing;

/// <summary>How long and how often is measured.</summary>
public sealed record TimingOptions
{
    /// <summary>Fewest samples, unless <see cref="MostSeconds"/> are over after three.</summary>
    public int LeastSamples { get; init; } = 30;

    /// <summary>Measured time after which no further sample begins; the warm-up may take half as much before.</summary>
    public double MostSeconds { get; init; } = 3;

    /// <summary>Work shorter than this is timed as replays of a graph of many copies.</summary>
    public double GraphBelowMicroseconds { get; init; } = 50;

    /// <summary>Fewest copies in such a graph.</summary>
    public int GraphCopies { get; init; } = 20;
}

/// <summary>
/// Times work queued on a stream by events. Each sample follows other work on the stream, so that the host is ahead of the device when the first event
/// is reached and no launch latency is in the sample.
/// </summary>
public sealed class KernelTimer : IDisposable
{
    private const int LeastSamplesEver = 3;

    private readonly GpuStream _stream;
    private readonly GpuEvent _start;
    private readonly GpuEvent _end;

    /// <summary>Makes a timer of a stream.</summary>
    public KernelTimer(GpuStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        _stream = stream;
        _start = stream.Device.CreateEvent(timing: true);
        _end = stream.Device.CreateEvent(timing: true);
    }

    /// <summary>Times one run of any of several copies of the same work, which take turns.</summary>
    /// <param name="copies">Queue the work; each on buffers of its own.</param>
    /// <param name="before">Queued before each sample, outside of it: a flush of the cache; null for none.</param>
    /// <param name="options">How long.</param>
    public Samples Measure(IReadOnlyList<Action<GpuStream>> copies, Action<GpuStream>? before, TimingOptions options)
    {
        ArgumentNullException.ThrowIfNull(copies);
        ArgumentNullException.ThrowIfNull(options);
        foreach (Action<GpuStream> copy in copies) copy(_stream);
        _stream.Synchronize();
        double first = Enumerable.Range(0, LeastSamplesEver).Min(i => Time(copies[i % copies.Count], copies[(i + 1) % copies.Count], before));
        if (first >= options.GraphBelowMicroseconds)
        {
            int turn = 0;
            return Sample(() => Time(copies[turn++ % copies.Count], copies[turn % copies.Count], before), options);
        }

        // A flush empties the cache once a sample: then each copy may be run only once.
        int count = before is null ? (options.GraphCopies + copies.Count - 1) / copies.Count * copies.Count : copies.Count;
        using GpuGraph graph = Capture(copies, count);
        return Sample(() => Time(stream => stream.Launch(graph), stream => stream.Launch(graph), before) / count, options);
    }

    /// <summary>Destroys the events.</summary>
    public void Dispose()
    {
        _start.Dispose();
        _end.Dispose();
    }

    private static Samples Sample(Func<double> sample, TimingOptions options)
    {
        WarmUp.Run(sample, options.MostSeconds / 2);
        List<double> times = [];
        double spent = 0;
        while (times.Count < options.LeastSamples && (spent < options.MostSeconds || times.Count < LeastSamplesEver))
        {
            times.Add(sample());
            spent += times[^1] * 1e-6;
        }

        return new(times);
    }

    private double Time(Action<GpuStream> work, Action<GpuStream> other, Action<GpuStream>? before)
    {
        other(_stream);
        before?.Invoke(_stream);
        _stream.Record(_start);
        work(_stream);
        _stream.Record(_end);
        _stream.Synchronize();
        return _end.ElapsedSince(_start).TotalMicroseconds;
    }

    private GpuGraph Capture(IReadOnlyList<Action<GpuStream>> copies, int count)
    {
        _stream.BeginCapture();
        try
        {
            for (int i = 0; i < count; i++) copies[i % copies.Count](_stream);
            return _stream.EndCapture();
        }
        catch
        {
            _stream.AbandonCapture();
            throw;
        }
    }
}
