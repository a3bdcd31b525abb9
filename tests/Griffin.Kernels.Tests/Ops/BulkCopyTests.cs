using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>include/bulk_copy.cuh by itself: boxes of tensors of every rank, at their edges and swizzled; phases of mbarriers; barriers of some of the warps.</summary>
[TestFixture]
public sealed class BulkCopyTests
{
    private const string Source = """
        #include "include/bulk_copy.cuh"
        #include "include/vec.cuh"
        #include "include/warp.cuh"

        struct BoxParams { TensorMap map; u8* y; i32 at[5]; i32 bytes; };
        template <i32 RANK>
        GK_DEVICE void copy_box(u8* tile, const BoxParams& p, Mbarrier* landed, i32 first) {
            if constexpr (RANK == 1) tensor_copy(tile, p.map, landed, first);
            if constexpr (RANK == 2) tensor_copy(tile, p.map, landed, first, p.at[1]);
            if constexpr (RANK == 3) tensor_copy(tile, p.map, landed, first, p.at[1], p.at[2]);
            if constexpr (RANK == 4) tensor_copy(tile, p.map, landed, first, p.at[1], p.at[2], p.at[3]);
            if constexpr (RANK == 5) tensor_copy(tile, p.map, landed, first, p.at[1], p.at[2], p.at[3], p.at[4]);
        }
        // Three boxes, each eight elements further along the innermost dimension, through the same memory.
        template <i32 RANK>
        __global__ void __launch_bounds__(64) boxes(const __grid_constant__ BoxParams p) {
            extern __shared__ Vec<u8, 16> shared[];
            __shared__ Mbarrier landed;
            u8* const tile = shared[0].v + (1024 - static_cast<u32>(__cvta_generic_to_shared(shared)) % 1024) % 1024;
            if (threadIdx.x == 0) {
                mbarrier_init(&landed, 1);
                mbarrier_init_fence();
                tensor_map_prefetch(p.map);
            }
            __syncthreads();
            for (i32 round = 0; round < 3; ++round) {
                if (threadIdx.x == 32) {
                    mbarrier_arrive_expect(&landed, p.bytes);
                    copy_box<RANK>(tile, p, &landed, p.at[0] + 8 * round);
                }
                mbarrier_wait(&landed, round & 1);
                for (i32 i = 16 * threadIdx.x; i < p.bytes; i += 16 * 64) store_vec<16>(p.y + round * p.bytes + i, load_vec<16>(tile + i));
                __syncthreads();
            }
        }

        struct RingParams { const f32* x; f32* y; i32 tiles; i32 fault; };
        enum { NO_FAULT, NO_FULL_WAIT, NO_EMPTY_WAIT, EARLY_ARRIVAL, MISSING_BYTES, NO_INIT_FENCE, NEVER_WAITED, NO_GROUP_BARRIER };
        // One warp copies tiles of 128 through a ring of two stages, four warps add them up; each sum is stored by the opposite thread.
        __global__ void __launch_bounds__(160) ring(RingParams p) {
            __shared__ alignas(128) f32 stages[2][128];
            __shared__ f32 sums[128];
            __shared__ Mbarrier full[2], empty[2];
            if (threadIdx.x == 0) {
                for (i32 stage = 0; stage < 2; ++stage) {
                    mbarrier_init(&full[stage], 1);
                    mbarrier_init(&empty[stage], 4);
                }
                if (p.fault != NO_INIT_FENCE) mbarrier_init_fence();
            }
            __syncthreads();
            if (warp_id() == 0) {
                if (lane_id() != 0) return;
                for (i32 tile = 0; tile < p.tiles; ++tile) {
                    const i32 stage = tile % 2;
                    if (p.fault != NO_EMPTY_WAIT) mbarrier_wait(&empty[stage], tile / 2 % 2 ^ 1);
                    mbarrier_arrive_expect(&full[stage], p.fault == MISSING_BYTES ? 528 : 512);
                    bulk_copy(stages[stage], p.x + 128 * tile, 512, &full[stage]);
                }
                return;
            }
            const i32 own = threadIdx.x - 32;
            f32 sum = 0.0f;
            for (i32 tile = 0; tile < p.tiles; ++tile) {
                const i32 stage = tile % 2;
                if (p.fault == NEVER_WAITED) return;
                if (p.fault != NO_FULL_WAIT) mbarrier_wait(&full[stage], tile / 2 % 2);
                if (p.fault == EARLY_ARRIVAL && lane_id() == 0) mbarrier_arrive(&empty[stage]);
                sum += stages[stage][own];
                __syncwarp();
                if (p.fault != EARLY_ARRIVAL && lane_id() == 0) mbarrier_arrive(&empty[stage]);
            }
            sums[own] = sum;
            if (p.fault != NO_GROUP_BARRIER) named_barrier_sync(1, 128);
            p.y[127 - own] = sums[127 - own];
        }

        // Every warpgroup wants more than the launch gives.
        __global__ void __launch_bounds__(384) greedy(RingParams p) {
            registers_increase<176>();
            if (threadIdx.x < 128) p.y[threadIdx.x] = p.x[threadIdx.x];
        }

        // The second warp hands over to the first by a barrier that it does not wait at.
        __global__ void __launch_bounds__(96) hand_over(RingParams p) {
            __shared__ f32 passed[32];
            if (warp_id() == 2) return;
            if (warp_id() == 1) {
                passed[lane_id()] = p.x[lane_id()];
                named_barrier_arrive(3, 64);
                return;
            }
            named_barrier_sync(3, 64);
            p.y[lane_id()] = passed[31 - lane_id()];
        }
        """;

    [StructLayout(LayoutKind.Sequential, Size = 192)]
    private unsafe struct BoxParams
    {
        public TensorMap Map;
        public ulong Y;
        public fixed int At[5];
        public int Bytes;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct RingParams
    {
        public ulong X, Y;
        public int Tiles, Fault;
    }

    private static IEnumerable<TestCaseData> Boxes()
    {
        foreach (var swizzle in Enum.GetValues<TensorSwizzle>())
        {
            var width = swizzle == TensorSwizzle.None ? 16 : 8 << (int)swizzle;
            yield return new(new[] { 3 * width - 3 }, new[] { width }, new[] { 2 * width }, swizzle);
            yield return new(new[] { 2 * width + 5, 21 }, new[] { width, 19 }, new[] { 0, 0 }, swizzle);
            yield return new(new[] { 2 * width + 5, 21 }, new[] { width, 8 }, new[] { -5, 17 }, swizzle);
            yield return new(new[] { 24, 5, 7 }, new[] { width, 3, 4 }, new[] { 16, -1, 5 }, swizzle);
            yield return new(new[] { 24, 8, 2, 5 }, new[] { width, 8, 2, 3 }, new[] { 3, 0, 0, 3 }, swizzle);
        }

        yield return new(new[] { 200, 80 }, new[] { 64, 64 }, new[] { 100, 30 }, TensorSwizzle.Bytes128);
        yield return new(new[] { 70, 3, 2, 3, 4 }, new[] { 64, 2, 2, 2, 2 }, new[] { 2, 2, 0, -1, 3 }, TensorSwizzle.Bytes128);
    }

    /// <summary>Rows have a gap between them, which no box brings.</summary>
    [TestCaseSource(nameof(Boxes))]
    public unsafe void Boxes_of_tensors_arrive_where_the_map_says(int[] dimensions, int[] box, int[] at, TensorSwizzle swizzle)
    {
        var device = TestDevices.Hopper;
        using var test = new OpTest(device);
        var (rows, boxRows) = (dimensions[1..].Aggregate(1, (product, size) => product * size), box[1..].Aggregate(1, (product, size) => product * size));
        var stride = (dimensions[0] + 8 + 7) / 8 * 8;
        var values = Enumerable.Range(1, rows * dimensions[0]).Select(i => (float)(i % 250)).ToArray();
        var x = test.Matrix(values, rows, dimensions[0], ElementType.BFloat16, stride - dimensions[0]);
        long[] strides = [.. Enumerable.Range(1, dimensions.Length - 1).Select(d => dimensions[1..d].Aggregate((long)stride, (product, size) => product * size))];
        var bytes = box[0] * boxRows * sizeof(ushort);
        var y = test.Output(3, bytes / sizeof(ushort), ElementType.BFloat16);
        BoxParams parameters = new() { Map = TensorMap.Of(device, ElementType.BFloat16, x.Address, [.. dimensions.Select(size => (long)size)], strides, box, swizzle), Y = y.Address, Bytes = bytes };
        for (var d = 0; d < at.Length; d++)
            parameters.At[d] = at[d];
        var kernel = device.Compiler.Get<BoxParams>(Spec($"boxes<{dimensions.Length}>"));
        test.Stream.Launch(kernel, grid: 1, block: 64, parameters, bytes + 1024);
        Close.Exact(test.Read(y), [.. Enumerable.Range(0, 3).SelectMany(round => Expected([at[0] + (8 * round), .. at[1..]]))]);

        float[] Expected(int[] from)
        {
            var expected = new float[box[0] * boxRows];
            for (var i = 0; i < expected.Length; i++)
            {
                var (inside, index, rest, scale) = (true, 0, i, 1);
                for (var d = 0; d < box.Length; d++)
                {
                    var place = from[d] + (rest % box[d]);
                    inside &= place >= 0 && place < dimensions[d];
                    index += place * scale;
                    (rest, scale) = (rest / box[d], scale * dimensions[d]);
                }

                var turn = (i * 2 / 128) & ((8 << (int)swizzle) / 8 - 1);
                expected[(i * 2 ^ (turn * 16)) / 2] = inside ? values[index] : 0;
            }

            return expected;
        }
    }

    [Test]
    public void A_ring_of_stages_goes_round([Values(1, 2, 3, 9)] int tiles)
    {
        var x = new CounterRandom(3).Integers(128 * tiles, -50, 50).Select(i => (float)i).ToArray();
        float[] sums = [.. Enumerable.Range(0, 128).Select(i => Enumerable.Range(0, tiles).Sum(t => x[(128 * t) + i]))];
        Assert.That(Ring(TestDevices.Hopper, "ring", x, tiles, 160, 0), Is.EqualTo(sums));
    }

    [Test]
    public void Schedule_does_not_show()
    {
        TestDevices.RequireEmulator("shuffles schedules by seed");
        var x = Enumerable.Range(0, 128 * 7).Select(i => (float)(i % 91)).ToArray();
        float[] sums = [.. Enumerable.Range(0, 128).Select(i => Enumerable.Range(0, 7).Sum(t => x[(128 * t) + i]))];
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions with { Seed = seed });
            Assert.That(Ring(device, "ring", x, 7, 160, 0), Is.EqualTo(sums));
        }

        using var plain = TestDevices.OpenEmulator(new EmulatorOptions { ComputeCapability = (9, 0) });
        Assert.That(Ring(plain, "ring", x, 7, 160, 0), Is.EqualTo(sums));
    }

    [Test]
    public void A_warp_may_arrive_without_waiting()
    {
        var x = Enumerable.Range(0, 128).Select(i => (float)i).ToArray();
        Assert.That(Ring(TestDevices.Hopper, "hand_over", x, 1, 96, 0)[..32], Is.EqualTo(x[..32].Reverse()));
    }

    [TestCase("NO_FULL_WAIT", 1, "shared array 'stages'")]
    [TestCase("NO_EMPTY_WAIT", 2, "more arrivals at an mbarrier")]
    [TestCase("EARLY_ARRIVAL", 3, "race: write of 512 bytes")]
    [TestCase("MISSING_BYTES", 4, "16 bytes are missing")]
    [TestCase("NO_INIT_FENCE", 5, "no fence has made known")]
    [TestCase("NEVER_WAITED", 6, "nobody has waited for a bulk copy")]
    [TestCase("NO_GROUP_BARRIER", 7, "shared array 'sums'")]
    public void What_is_missing_is_named(string name, int fault, string message)
    {
        TestDevices.RequireEmulator("plants faults");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions);
        var lost = Assert.Throws<DeviceLostException>(() => Ring(device, "ring", new float[128 * 4], name == "NEVER_WAITED" ? 2 : 4, 160, fault));
        Assert.That(lost!.Message, Does.Contain(message).And.Contain("kernel ring"));
    }

    [Test]
    public void Registers_that_no_warpgroup_gives_are_named()
    {
        TestDevices.RequireEmulator("plants a fault");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions);
        Assert.That(Assert.Throws<DeviceLostException>(() => Ring(device, "greedy", new float[128], 1, 384, 0))!.Message, Does.Contain("528 registers in sum where its launch gives 504"));
    }

    [Test]
    public void A_map_of_what_copies_cannot_bring_is_refused()
    {
        var device = TestDevices.Hopper;
        using var test = new OpTest(device);
        var x = test.Matrix(new float[64 * 16], 16, 64, ElementType.BFloat16);
        Assert.Multiple(() =>
        {
            Assert.DoesNotThrow(() => TensorMap.Of(device, TensorView.Of(x.Owner, 0, x.Type, 1, 64, 67), 8, 64, TensorSwizzle.Bytes128), "one row has no distance to the next");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, x.ColumnRange(1, 32), 8, 32, TensorSwizzle.None), "address");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, x, 8, 12, TensorSwizzle.None), "a row of the box is a multiple of 16 bytes");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, x, 8, 64, TensorSwizzle.Bytes64), "wider than the swizzle");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, x, 8, 32, TensorSwizzle.Bytes128), "narrower than the swizzle");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, x, 257, 64, TensorSwizzle.None), "rows of the box");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, ElementType.BFloat16, x.Address, [64, 16], [60], [64, 16], TensorSwizzle.None), "stride");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, ElementType.BFloat16, x.Address, [64, 16], [], [64, 16], TensorSwizzle.None), "strides");
            Assert.Throws<ArgumentException>(() => TensorMap.Of(device, ElementType.Int32, x.Address, [64], [], [4], TensorSwizzle.None), "type");
        });
    }

    private static KernelSpec Spec(string name) => new(KernelSource.FromText("copies.cu", Source), name) { Architecture = "sm_90a" };

    private static float[] Ring(GpuDevice device, string kernelName, float[] x, int tiles, int threads, int fault)
    {
        using var test = new OpTest(device);
        var y = test.Output(1, 128, ElementType.Float32);
        test.Stream.Launch(device.Compiler.Get<RingParams>(Spec(kernelName)), grid: 1, block: threads,
            new RingParams { X = test.Vector(x, ElementType.Float32).Address, Y = y.Address, Tiles = tiles, Fault = fault });
        return test.Read(y);
    }
}
