using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The laws of what a launch asks of memory, for operands of 64 KB and more.</summary>
internal static class TrafficLaws
{
    private const double Slack = 1.05;
    private const double Beside = 1.01;   // single elements read beside a stream, each with a sector of its own
    private const int SectorBytes = 32;

    /// <summary>What the only launch of an action did, on a device that counts.</summary>
    public static LaunchCounters Count(OpTest test, Action run) => CountAll(test, run).Single();

    /// <summary>What each launch of an action did.</summary>
    public static IReadOnlyList<LaunchCounters> CountAll(OpTest test, Action run)
    {
        test.Stream.Synchronize();
        test.Device.TakeCounters();
        run();
        test.Stream.Synchronize();
        return test.Device.TakeCounters();
    }

    /// <summary>A streamed tensor: at most 1.05 times so many times its size, in whole sectors: four for each 128 bytes where rows begin at one.</summary>
    public static void AssertStreamed(LaunchCounters launch, TensorView view, bool read, string variant, int times = 1)
    {
        AssertBytes(launch, view, read, variant, times);
        var counted = launch[view.Owner];
        var (requested, sectors) = read ? (counted.BytesRead, counted.RequestSectorsRead) : (counted.BytesWritten, counted.RequestSectorsWritten);
        // Rows of odd width start in mid-sector, and a warp reads 32 elements of 2 bytes where a variant moves them singly: one more sector per request.
        if (view.Columns % 32 == 0)
            Assert.That(sectors * SectorBytes, Is.InRange(requested, (long)(Beside * requested)), $"{launch.Kernel} ({variant}): sectors of a streamed tensor, in bytes");
        else
            Assert.That(sectors * SectorBytes, Is.LessThanOrEqualTo(2 * times * view.Length * view.Type.SizeOf()), $"{launch.Kernel} ({variant}): sectors of a streamed tensor");
    }

    /// <summary>The bytes of that law alone: for single threads, whose requests are of 16 bytes, and for the 4-byte pieces of a matrix fragment.</summary>
    public static void AssertBytes(LaunchCounters launch, TensorView view, bool read, string variant, int times = 1)
    {
        var bytes = view.Length * view.Type.SizeOf();
        Assert.That(bytes, Is.GreaterThanOrEqualTo(64 * 1024), "the law is about 64 KB and more");
        var requested = read ? launch[view.Owner].BytesRead : launch[view.Owner].BytesWritten;
        Assert.That(requested, Is.InRange(bytes, (long)(Slack * bytes * times)), $"{launch.Kernel} ({variant}): bytes of a streamed tensor");
    }

    /// <summary>A shared operand: read, and at most so many times.</summary>
    public static void AssertShared(LaunchCounters launch, TensorView view, int times, string variant) =>
        Assert.That(launch[view.Owner].BytesRead, Is.InRange(1, view.Length * view.Type.SizeOf() * times), $"{launch.Kernel} ({variant}): bytes of a shared operand");
}
