using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>The order in which threads, blocks and streams run must not show in a result.</summary>
internal static class Schedules
{
    /// <summary>
    /// Runs an op on a plain device and under every seed of <see cref="TestDevices.Seeds"/> on checked ones: finite results of equal bits. On a GPU
    /// it is two runs.
    /// </summary>
    public static void DoNotShow(string what, Func<OpTest, float[]> run)
    {
        using var plain = new OpTest(TestDevices.Plain);
        var expected = run(plain);
        Assert.That(expected, Is.Not.Empty);
        Close.Finite(expected, what);
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var test = new OpTest(device);
            Close.Exact(run(test), expected, $"{what}, seed {seed}");
        }
    }
}
