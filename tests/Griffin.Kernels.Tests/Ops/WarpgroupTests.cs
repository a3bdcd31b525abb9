using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// include/warpgroup.cuh by itself, against float64: every number of columns, operands in registers and in shared memory, both majors, with and without
/// a swizzle. The tiles are written here by their own arithmetic, and the device reads them by the descriptors.
/// </summary>
[TestFixture]
public sealed class WarpgroupTests
{
    // C[64, N] = A[64, K] · B[K, N]. The bytes of both tiles come as they are to lie in shared memory.
    private const string Source = """
        #include "include/bulk_copy.cuh"
        #include "include/mma.cuh"
        #include "include/vec.cuh"
        #include "include/warpgroup.cuh"
        struct ProductParams {
            const u8* a; const u8* b; f32* c; i32 a_bytes; i32 b_bytes; i32 a_leading; i32 a_stride; i32 b_leading; i32 b_stride; i32 a_step; i32 b_step; i32 swizzle; i32 k;
        };
        enum { NO_FAULT, NO_WAIT, NO_FENCE, NO_PROXY_FENCE, NEVER_WAITED };

        template <i32 N, bool TRANSPOSED_A, bool TRANSPOSED_B, bool REGISTERS, i32 FAULT>
        __global__ void __launch_bounds__(128) product(ProductParams p) {
            extern __shared__ Vec<u8, 16> shared[];
            u8* const a = shared[0].v + (1024 - static_cast<u32>(__cvta_generic_to_shared(shared)) % 1024) % 1024;
            u8* const b = a + (p.a_bytes + 1023) / 1024 * 1024;
            for (i32 i = 16 * threadIdx.x; i < p.a_bytes; i += 16 * 128) store_vec<16>(a + i, load_vec<16>(p.a + i));
            for (i32 i = 16 * threadIdx.x; i < p.b_bytes; i += 16 * 128) store_vec<16>(b + i, load_vec<16>(p.b + i));
            if (FAULT != NO_PROXY_FENCE) shared_proxy_fence();
            __syncthreads();
            const WarpgroupSwizzle swizzle = static_cast<WarpgroupSwizzle>(p.swizzle);
            MmaAccumulator<1, N / 8> sum;
            sum.fill(1.0f);   // not counted: the first product overwrites it
            const u64 at_a = warpgroup_descriptor(a, p.a_leading, p.a_stride, swizzle), at_b = warpgroup_descriptor(b, p.b_leading, p.b_stride, swizzle);
            if constexpr (REGISTERS) {   // plain rows of A, 64 of k
                u32 fragments[4][4];
                #pragma unroll
                for (i32 i = 0; i < 16; ++i) {
                    const i32 row = 16 * warp_id() + lane_id() / 4 + 8 * (i % 2), k = 16 * (i / 4) + 2 * (lane_id() % 4) + 8 * (i / 2 % 2);
                    fragments[i / 4][i % 4] = *reinterpret_cast<const u32*>(a + 2 * (row * p.k + k));
                }
                warpgroup_fence();
                #pragma unroll
                for (i32 step = 0; step < 4; ++step) warpgroup_product<TRANSPOSED_B>(sum.v[0], fragments[step], warpgroup_advance(at_b, step * p.b_step), step != 0);
            } else {
                if (FAULT != NO_FENCE) warpgroup_fence();
                for (i32 step = 0; step < p.k / 16; ++step)
                    warpgroup_product<TRANSPOSED_A, TRANSPOSED_B>(sum.v[0], warpgroup_advance(at_a, step * p.a_step), warpgroup_advance(at_b, step * p.b_step), step != 0);
            }
            warpgroup_commit();
            if (FAULT == NEVER_WAITED) return;
            if (FAULT != NO_WAIT) warpgroup_wait<0>();
            warpgroup_settle(sum.v[0]);
            for (i32 nt = 0; nt < N / 8; ++nt)
                for (i32 e = 0; e < 4; ++e) p.c[(16 * warp_id() + sum.row(0, e)) * N + sum.column(nt, e)] = sum.v[0][nt][e];
            if (FAULT == NO_WAIT) warpgroup_wait<0>();
        }
        """;

    public enum Fault
    {
        None,
        NoWait,
        NoFence,
        NoProxyFence,
        NeverWaited,
    }

    /// <summary>Rows of an operand as wgmma is to find them: 16-byte pieces of eight elements along k, or along the rows where it is transposed.</summary>
    /// <param name="Leading">Distance to the next pieces along k, or along the rows of a transposed operand.</param>
    /// <param name="Stride">Distance to the next eight rows, or eight of k.</param>
    /// <param name="Step">Distance of the next 16 of k.</param>
    private sealed record Tile(byte[] Bytes, int Leading, int Stride, int Step);

    [StructLayout(LayoutKind.Sequential)]
    private struct ProductParams
    {
        public ulong A, B, C;
        public int ABytes, BBytes, ALeading, AStride, BLeading, BStride, AStep, BStep, Swizzle, K;
    }

    [Test]
    public void Products_match_float64([Values(64, 80, 128, 256)] int n, [Values] bool transposedA, [Values] bool transposedB, [Values(0, 32, 64, 128)] int swizzle) =>
        Check(n, swizzle / 2 is 0 ? 32 : Math.Max(16, swizzle / 2), transposedA, transposedB, swizzle);

    [Test]
    public void Products_of_registers_match_float64([Values(64, 80, 128, 256)] int n, [Values] bool transposedB) => Check(n, 64, false, transposedB, 128, registers: true);

    /// <summary>What a GPU would show only now and then: registers looked at early, writes that the products may not see yet.</summary>
    [TestCase(Fault.NoFence, "without wgmma.fence")]
    [TestCase(Fault.NoProxyFence, "has executed no proxy fence")]
    [TestCase(Fault.NeverWaited, "nobody has waited for a product")]
    public void What_is_missing_is_named(Fault fault, string message)
    {
        TestDevices.RequireEmulator("plants faults");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions);
        Assert.That(Assert.Throws<DeviceLostException>(() => Run(device, 64, 64, false, false, 128, false, fault, out _))!.Message, Does.Contain(message));
    }

    [Test]
    public void Registers_hold_nothing_before_the_wait()
    {
        TestDevices.RequireEmulator("plants a fault");
        Assert.That(Run(TestDevices.Hopper, 64, 64, false, false, 128, false, Fault.NoWait, out _), Has.All.NaN);
    }

    /// <summary>Devices of other compute capabilities have no such products.</summary>
    [Test]
    public void Older_devices_refuse_them()
    {
        TestDevices.RequireEmulator("plants a fault");
        using var device = TestDevices.OpenChecked();
        Assert.That(device.Limits.WarpgroupProducts, Is.False);
        Assert.That(Assert.Throws<DeviceLostException>(() => Run(device, 64, 64, false, false, 128, false, Fault.None, out _))!.Message, Does.Contain("compute capability 9.0"));
    }

    private static void Check(int n, int k, bool transposedA, bool transposedB, int swizzle, bool registers = false)
    {
        var actual = Run(TestDevices.Hopper, n, k, transposedA, transposedB, swizzle, registers, Fault.None, out var operands);
        var (a, b) = operands;
        var expected = new double[64 * n];
        for (var i = 0; i < expected.Length; i++)
        {
            for (var p = 0; p < k; p++)
                expected[i] += (double)a[(i / n * k) + p] * b[(i % n * k) + p];
        }

        Close.Absolute(actual, expected, 1e-6 * k);
    }

    private static float[] Run(GpuDevice device, int n, int k, bool transposedA, bool transposedB, int swizzle, bool registers, Fault fault, out (float[] A, float[] B) operands)
    {
        const int m = 64;
        var random = new CounterRandom((ulong)((n * 8) + k + swizzle));
        operands = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        var a = registers ? new Tile(Plain(operands.A), 0, 0, 0) : Lay(operands.A, m, k, transposedA, swizzle);
        var b = Lay(operands.B, n, k, transposedB, swizzle);
        using var test = new OpTest(device);
        var (deviceA, deviceB, c) = (test.Bytes(a.Bytes), test.Bytes(b.Bytes), test.Output(m, n, ElementType.Float32));
        var name = $"product<{n}, {(transposedA ? "true" : "false")}, {(transposedB ? "true" : "false")}, {(registers ? "true" : "false")}, {(int)fault}>";
        var kernel = device.Compiler.Get<ProductParams>(new(KernelSource.FromText("product.cu", Source), name) { Architecture = device.Limits.WarpgroupProducts ? "sm_90a" : null });
        var bytes = ((a.Bytes.Length + 1023) / 1024 * 1024) + b.Bytes.Length + 1024;
        kernel.SetMaxDynamicSharedBytes(bytes);
        test.Stream.Launch(kernel, grid: 1, block: 128, new ProductParams
        {
            A = deviceA.Address,
            B = deviceB.Address,
            C = c.Address,
            ABytes = a.Bytes.Length,
            BBytes = b.Bytes.Length,
            ALeading = a.Leading,
            AStride = a.Stride,
            BLeading = b.Leading,
            BStride = b.Stride,
            AStep = a.Step,
            BStep = b.Step,
            Swizzle = swizzle switch { 128 => 1, 64 => 2, 32 => 3, _ => 0 },
            K = k,
        }, bytes);
        return test.Read(c);
    }

    private static byte[] Plain(float[] values) => [.. values.SelectMany(value => BitConverter.GetBytes(Bf16.Bits(value)))];

    // Element (row, k) of [rows, k] at the byte where the documented layout has it; distances that a layout does not need get more than the least.
    private static Tile Lay(float[] values, int rows, int k, bool transposed, int swizzle)
    {
        var (outer, inner) = transposed ? (k, rows) : (rows, k);   // inner: the contiguous index
        var tile = swizzle == 0
            ? transposed ? new Tile(new byte[outer / 8 * (inner * 16)], inner * 16, 128, 2 * inner * 16) : new Tile(new byte[(outer / 8 * ((inner / 8 * 128) + 16))], 128, (inner / 8 * 128) + 16, 256)
            : transposed ? new Tile(new byte[outer * ((inner + (swizzle / 2) - 1) / (swizzle / 2)) * swizzle], outer * swizzle, 8 * swizzle, 16 * swizzle) : new Tile(new byte[outer * inner * 2], 16, 8 * swizzle, 32);
        for (var row = 0; row < rows; row++)
        {
            for (var p = 0; p < k; p++)
            {
                var (line, along) = transposed ? (p, row) : (row, p);
                int at;
                if (swizzle == 0)
                {
                    at = (transposed ? (line / 8 * tile.Leading) + (along / 8 * tile.Stride) : (line / 8 * tile.Stride) + (along / 8 * tile.Leading)) + (line % 8 * 16) + (along % 8 * 2);
                }
                else
                {
                    var (span, place) = (along / (swizzle / 2), along % (swizzle / 2));
                    var start = (span * outer * swizzle) + (line * swizzle) + (place / 8 * 16);
                    var turn = swizzle switch { 128 => line % 8, 64 => line / 2 % 4, _ => line / 4 % 2 };   // lines of 128 bytes decide
                    at = (start ^ (turn * 16)) + (place % 8 * 2);
                }

                BitConverter.TryWriteBytes(tile.Bytes.AsSpan(at), Bf16.Bits(values[(row * k) + p]));
            }
        }

        return tile;
    }
}
