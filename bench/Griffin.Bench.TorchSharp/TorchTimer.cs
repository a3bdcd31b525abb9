using System.Diagnostics;
using Griffin.Bench.Timing;
using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>
/// Times calls by the host's clock, as TorchSharp has neither events nor graphs: a sample is as many calls as take a millisecond, between two
/// synchronisations, each in a dispose scope of its own. Short ops are therefore timed with their launches, which is what a program sees.
/// </summary>
internal static class TorchTimer
{
    private const double SampleMicroseconds = 1000;
    private const int MostCalls = 1000;

    /// <summary>How a result names this way of timing.</summary>
    public const string Name = "host clock";

    /// <summary>Times one of several calls of the same work, which take turns.</summary>
    public static Samples Measure(IReadOnlyList<Func<Tensor[]>> calls, Device device, TimingOptions options)
    {
        int turn = 0;
        double Time(int count)
        {
            Synchronize(device);
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < count; i++)
            {
                using DisposeScope scope = NewDisposeScope();
                calls[turn++ % calls.Count]();
            }

            Synchronize(device);
            return Stopwatch.GetElapsedTime(start).TotalMicroseconds / count;
        }

        Time(calls.Count);
        int each = (int)Math.Clamp(Math.Ceiling(SampleMicroseconds / Time(1)), 1, MostCalls);
        WarmUp.Run(() => Time(each), options.MostSeconds / 2);
        List<double> times = [];
        double spent = 0;
        while (times.Count < options.LeastSamples && (times.Count < 3 || spent < options.MostSeconds))
        {
            times.Add(Time(each));
            spent += times[^1] * each * 1e-6;
        }

        return new(times);
    }

    /// <summary>Waits for a GPU; on the processor calls are done when they return.</summary>
    public static void Synchronize(Device device)
    {
        if (device.type == DeviceType.CUDA) cuda.synchronize(device);
    }
}
