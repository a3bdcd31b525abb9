using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Emulator;

/// <summary>
/// Checked mode as a managed program sees it: a planted fault becomes one exception that names the kernel, the thread and the line.
/// Every kind of fault is planted in tests/native.
/// </summary>
public sealed class CheckedModeTests
{
    private const string Source = """
        #include "include/vec.cuh"
        #include "include/mma.cuh"
        struct CopyParams { const f32* x; f32* y; i64 length; i64 shift; };
        __global__ void copy(CopyParams p) {
            const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
            if (i < p.length) p.y[i] = p.x[i + p.shift];
        }
        __global__ void copy_vectors(CopyParams p) {
            const i64 i = 4 * (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x);
            if (i < p.length) store_vec<4>(p.y + i, load_vec<4>(p.x + i + p.shift));
        }
        __global__ void reverse(CopyParams p) {
            __shared__ f32 tile[64];
            tile[threadIdx.x] = p.x[threadIdx.x];
            if (p.shift == 0) __syncthreads();
            p.y[threadIdx.x] = tile[63 - threadIdx.x];
        }
        __global__ void tile(CopyParams p) {
            __shared__ Vec<bf16, 8> a[16][2];
            __shared__ Vec<bf16, 8> b[8][2];
            for (i32 i = threadIdx.x; i < p.length; i += 64) a[i / 2][i % 2] = Vec<bf16, 8>{};
            if (threadIdx.x < 16) b[threadIdx.x / 2][threadIdx.x % 2] = Vec<bf16, 8>{};
            __syncthreads();
            if (threadIdx.x >= 32) return;
            MmaAccumulator<1, 1> sum;
            sum.fill(0.0f);
            mma_tile<1>(sum, MmaRowsA{a[0][0].v, 16}, MmaRowsB{b[0][0].v + p.shift, 16});
            p.y[threadIdx.x] = sum.v[0][0][0];
        }
        __global__ void last(CopyParams p) {
            p.y[0] = p.x[blockIdx.x * blockDim.x + threadIdx.x];
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct CopyParams
    {
        public ulong X, Y;
        public long Length, Shift;
    }

    private static string Fault(string kernel, int written, long length, long shift)
    {
        TestDevices.RequireEmulator("plants faults");
        using var device = TestDevices.OpenChecked();
        using var stream = device.CreateStream();
        using var x = device.AllocateUninitialized<float>(100);
        using var y = device.AllocateUninitialized<float>(200);
        x.CopyFrom(new float[written]);
        var compiled = device.Compiler.Get<CopyParams>(new(KernelSource.FromText("faulty.cu", Source), kernel));
        stream.Launch(compiled, grid: 2, block: 64, new CopyParams { X = x.Address, Y = y.Address, Length = length, Shift = shift });
        return Assert.Throws<DeviceLostException>(stream.Synchronize)!.Message;
    }

    [Test]
    public void A_read_past_the_end_names_kernel_thread_line_and_allocation() => Assert.That(Fault("copy", 100, 101, 0),
        Does.Contain("kernel copy, block (1, 0, 0), thread (36, 0, 0), faulty.cu:6: invalid read of 4 bytes")
            .And.Contain("just past the end of an allocation of 400 bytes"));

    [Test]
    public void Memory_that_nobody_wrote_is_named() => Assert.That(Fault("copy", 90, 100, 0),
        Does.Contain("faulty.cu:6: uninitialised read of 4 bytes").And.Contain("of an allocation of 400 bytes"));

    [Test]
    public void A_misaligned_vector_is_named_with_the_line_of_the_kernel() => Assert.That(Fault("copy_vectors", 100, 4, 1),
        Does.Contain("faulty.cu:10").And.Contain("misaligned read of 16 bytes"));

    [Test]
    public void A_missing_barrier_is_named() => Assert.That(Fault("reverse", 100, 64, 1), Does.Contain("kernel reverse").And.Contain("'tile'"));

    [Test]
    public void A_matrix_tile_that_nobody_filled_is_named_with_the_line_of_the_kernel() => Assert.That(Fault("tile", 100, 30, 0),
        Does.Contain("faulty.cu:27 (mma_tile, ").And.Contain("uninitialised read of 16 bytes").And.Contain("shared array 'a' of 512 bytes"));

    [Test]
    public void A_matrix_tile_across_the_end_is_named_with_the_line_of_the_kernel() => Assert.That(Fault("tile", 100, 32, 16),
        Does.Contain("faulty.cu:27 (mma_tile, ").And.Contain("just past the end of shared array 'b' of 256 bytes"));

    [Test]
    public void The_order_of_threads_follows_the_seed()
    {
        TestDevices.RequireEmulator("shuffles schedules by seed");
        float Last(ulong seed)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var stream = device.CreateStream();
            using var x = device.Upload<float>([.. Enumerable.Range(0, 128).Select(i => (float)i)]);
            using var y = device.AllocateUninitialized<float>(1);
            var compiled = device.Compiler.Get<CopyParams>(new(KernelSource.FromText("faulty.cu", Source), "last"));
            stream.Launch(compiled, grid: 2, block: 64, new CopyParams { X = x.Address, Y = y.Address });
            stream.Synchronize();
            return y.ToArray()[0];
        }

        var results = Enumerable.Range(1, 8).Select(seed => Last((ulong)seed)).ToArray();
        Assert.That(results.Distinct().Count(), Is.GreaterThan(1));
    }

    [Test]
    public void Counts_do_not_depend_on_the_order()
    {
        TestDevices.RequireEmulator("counts accesses");
        LaunchCounters Count(ulong seed)
        {
            using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true, Seed = seed });
            using var stream = device.CreateStream();
            using var x = device.Upload<float>(new float[20_000]);
            using var y = device.AllocateUninitialized<float>(20_000);
            var compiled = device.Compiler.Get<CopyParams>(new(KernelSource.FromText("faulty.cu", Source), "copy_vectors"));
            stream.Launch(compiled, grid: 40, block: 128, new CopyParams { X = x.Address, Y = y.Address, Length = 20_000 });
            stream.Synchronize();
            var counters = device.TakeCounters().Single();
            Assert.Multiple(() =>
            {
                Assert.That(counters.Kernel, Is.EqualTo("copy_vectors"));
                Assert.That(counters[x.Memory], Is.EqualTo(new AllocationCounters(x.Address, 80_000, 80_000, 0, 2_500, 0, 2_500, 0)));
                Assert.That(counters[y.Memory], Is.EqualTo(new AllocationCounters(y.Address, 80_000, 0, 80_000, 0, 2_500, 0, 2_500)));
            });
            return counters;
        }

        Assert.That(Count(1).Allocations, Has.Count.EqualTo(2));
        Assert.That(Count(2).Allocations, Has.Count.EqualTo(2));
    }
}
