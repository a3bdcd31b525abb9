using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>include/cluster.cuh by itself: blocks that read each other's shared memory.</summary>
[TestFixture]
internal sealed class ClusterTests
{
    // y[block, i] = Σ of what the blocks of the cluster have at i: 100 · block + i.
    private const string Source = """
        #include "include/cluster.cuh"
        #include "include/look_back.cuh"
        struct ClusterParams { f32* y; u32* again; i32 fault; };
        enum { NO_FAULT, NEVER_WRITTEN, NO_FIRST_SYNC, WRITTEN_AGAIN };

        template <i32 BLOCKS>
        __global__ void __cluster_dims__(BLOCKS) __launch_bounds__(64) gather(ClusterParams p) {
            __shared__ f32 own[128];
            const i32 rank = cluster_rank(), i = 2 * static_cast<i32>(threadIdx.x);
            if (p.fault != NEVER_WRITTEN || rank != 0) {
                own[i] = 100.0f * blockIdx.x + i;
                own[i + 1] = 100.0f * blockIdx.x + i + 1;
            }
            if (p.fault != NO_FIRST_SYNC) cluster_sync(); else __syncthreads();
            if (p.fault == WRITTEN_AGAIN && rank == 0) {
                own[i] = 1.0f;
                __syncthreads();
                raise_flag(p.again);
            } else if (p.fault == WRITTEN_AGAIN) {
                await_flag(p.again);
            }
            f32 sum[2] = {};
            for (i32 other = 0; other < BLOCKS && (p.fault == NO_FAULT || rank != 0); ++other) {
                f32 their[2];
                cluster_load(own + i, other, their);
                sum[0] += their[0];
                sum[1] += their[1];
            }
            cluster_sync();
            p.y[128 * blockIdx.x + i] = sum[0];
            p.y[128 * blockIdx.x + i + 1] = sum[1];
        }
        """;

    public enum Fault
    {
        None,
        NeverWritten,
        NoFirstSync,
        WrittenAgain,
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ClusterParams
    {
        public ulong Y;
        public ulong Again;
        public int Fault;
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(8)]
    public void Blocks_read_each_other(int blocks)
    {
        const int clusters = 5;
        var read = Run(TestDevices.Hopper, blocks, clusters * blocks, Fault.None);
        for (var block = 0; block < clusters * blocks; block++)
        {
            var first = block / blocks * blocks;
            for (var i = 0; i < 128; i++)
                Assert.That(read[(128 * block) + i], Is.EqualTo(Enumerable.Range(first, blocks).Sum(other => (100f * other) + i)), $"block {block}, element {i}");
        }
    }

    [TestCase(Fault.NeverWritten, "that block wrote nothing there")]
    [TestCase(Fault.NoFirstSync, "may not have begun: no barrier of the cluster lies before")]
    [TestCase(Fault.WrittenAgain, "a write by that block with no barrier of the cluster between them")]
    public void What_is_missing_is_named(Fault fault, string message)
    {
        TestDevices.RequireEmulator("plants faults");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions);
        Assert.That(() => Run(device, 2, 2, fault), Throws.TypeOf<DeviceLostException>().With.Message.Matches(message));
    }

    [Test]
    public void A_grid_holds_whole_clusters() =>
        Assert.That(() => Run(TestDevices.Hopper, 2, 3, Fault.None), Throws.TypeOf<GpuException>());

    [Test]
    public void Older_devices_refuse_them()
    {
        TestDevices.RequireEmulator("names its compute capability");
        Assert.That(() => Run(TestDevices.Checked, 2, 2, Fault.None), Throws.InstanceOf<GpuException>());
    }

    private static float[] Run(GpuDevice device, int blocks, int grid, Fault fault)
    {
        using var test = new OpTest(device);
        var y = test.Output(grid, 128, ElementType.Float32);
        KernelSpec spec = new(KernelSource.FromText("gather.cu", Source), $"gather<{blocks}>");
        var kernel = device.Compiler.Get<ClusterParams>(spec);
        test.Stream.Launch(kernel, grid, 64, new ClusterParams { Y = y.Address, Again = test.Integers(0).Address, Fault = (int)fault });
        return test.Read(y);
    }
}
