using Griffin.Bench.Cases;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench;

/// <summary>Times the cases of single ops, with the cache as it is in the modes of a result.</summary>
/// <param name="stream">Where they run.</param>
/// <param name="draw">Makes their inputs.</param>
/// <param name="timing">How long.</param>
/// <param name="cacheBytes">Size of the device's cache.</param>
internal sealed class KernelBench(GpuStream stream, DeviceDraw draw, TimingOptions timing, long cacheBytes) : IDisposable
{
    /// <summary>Nothing of a sample's operands is in the cache: buffers of several times its size take turns, or it is flushed before each sample.</summary>
    public const string Cold = "cold";

    /// <summary>The operands have just been used, as far as they fit the cache.</summary>
    public const string Chained = "chained";

    private const int CacheTimes = 4, MostCopies = 64;
    private const double MostOfFreeMemory = 0.5;

    private DeviceMemory? _flush;

    /// <summary>The modes in which a row is timed.</summary>
    public static IReadOnlyList<string> ModesOf(BenchRow row) => row.IsCeiling ? [Cold] : [Cold, Chained];

    /// <summary>Times a row in one mode.</summary>
    /// <param name="build">Its case.</param>
    /// <param name="row">The row.</param>
    /// <param name="mode">The mode.</param>
    /// <param name="touched">The bytes that the work touches at least: a large table of which few rows are read does not fill the cache.</param>
    /// <exception cref="GpuException">The device has not enough memory, or a kernel failed.</exception>
    public (Samples Times, string? Variant) Measure(CaseBuilder build, BenchRow row, string mode, double touched)
    {
        List<CaseMemory> copies = [];
        try
        {
            List<Workload> workloads = [Add()];
            long room = 1 + (long)(MostOfFreeMemory * stream.Device.MemoryInfo.Free / copies[0].Bytes);
            double each = Math.Min(touched, copies[0].Bytes), wanted = Math.Clamp(Math.Ceiling(CacheTimes * cacheBytes / each), 1, Math.Min(MostCopies, room));
            while (mode == Cold && workloads.Count < wanted) workloads.Add(Add());
            bool flushes = mode == Cold && each * wanted < CacheTimes * cacheBytes;
            using KernelTimer timer = new(stream);
            return (timer.Measure([.. workloads.Select(workload => workload.Run)], flushes ? Flush : null, timing), workloads[0].Variant);
        }
        finally
        {
            stream.Synchronize();
            foreach (CaseMemory memory in copies) memory.Dispose();
        }

        Workload Add()
        {
            copies.Add(new(stream, draw, row, isGate: false));
            return build(copies[^1], row);
        }
    }

    public void Dispose() => _flush?.Dispose();

    private void Flush(GpuStream on)
    {
        _flush ??= on.Device.AllocateBytes(CacheTimes * cacheBytes);
        on.Fill(_flush, 0, _flush.Bytes, 0);
    }
}
