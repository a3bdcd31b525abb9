using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The RG-LRU scan by clusters, on devices that have them.</summary>
[TestFixture]
internal sealed class RgLruClusterTests
{
    [Test]
    public void MatchesFloat64OnRowsOfEveryKind([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(24, 136)] int width, [Values] bool withState)
    {
        using var test = new OpTest(TestDevices.Hopper);
        new LruCase(test, type, width, SequenceCase.Mixed(19), withBias: withState).RunAndCompare(RgLru.Cluster, withState);
        new LruCase(test, type, width, SequenceCase.Mixed(140)).RunAndCompare(RgLru.Cluster, withState);
    }

    /// <summary>Rows that fill a cluster, begin the next, end in each of its blocks, and need several. The sums are the look-back's, in its order.</summary>
    [Test]
    public void RowsAroundTheClusters([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 72, most = 3;
        var tile = ScanTiles.Warps * 16 / type.SizeOf();
        var cluster = ScanTiles.ClusterTiles * tile;
        int[] lengths = [1, tile, tile + 1, (2 * tile) - 1, cluster - 1, cluster, cluster + 1, (2 * cluster) + 1, (most * cluster) - (5 * tile) + 3];
        SequenceCase call = new(
            [.. lengths.Select((length, row) => new SequenceRow(row, row % 2 == 0 ? SequenceCase.From(5, length) : [.. SequenceCase.From(7, length / 2), .. SequenceCase.From(0, length - (length / 2))]))],
            [.. lengths.Select((_, row) => row % 2 == 0 ? 5 : 7)]);
        using var test = new OpTest(TestDevices.Hopper);
        LruCase scan = new(test, type, width, call);
        scan.RunAndCompare(RgLru.Cluster);
        var (y, states) = scan.Run(RgLru.Cluster, most * cluster);
        var (expected, expectedStates) = scan.Run(RgLru.LookBack, most * cluster);
        Close.Exact(y, expected, "output");
        Close.Exact(states, expectedStates, "states");
    }

    [Test]
    public void DevicesWithoutClustersRefuseIt()
    {
        using var test = new OpTest(TestDevices.Checked);
        if (test.Device.Limits.WarpgroupProducts) Assert.Ignore("this device has them");
        Assert.That(() => new RgLru(test.Device, ElementType.BFloat16, 64, RgLru.Cluster), Throws.ArgumentException.With.Message.Contains(RgLru.Cluster));
    }
}
