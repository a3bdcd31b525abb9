using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// include/mma.cuh and include/async_copy.cuh by themselves: every operand form, fragment layout and odd tile count, against float64. The device layer has
/// two implementations of them, so these are the tests that prove the one for GPUs when they run on a GPU.
/// </summary>
[TestFixture]
public sealed class MatrixInstructionTests
{
    // Stages A [16·MT][16·KT] and B in shared memory by asynchronous copies; the second of two warps multiplies. FORM: where the operands lie.
    private const string Source = """
        #include "include/async_copy.cuh"
        #include "include/mma.cuh"
        struct TileParams { const bf16* a; const bf16* b; f32* c; i32 fault; };

        template <i32 ROWS, i32 COLUMNS>
        GK_DEVICE void stage(bf16* tile, const bf16* source) {
            for (i32 i = threadIdx.x; i < ROWS * COLUMNS / 8; i += 64)
                async_copy_16(tile + i / (COLUMNS / 8) * mma_stride(COLUMNS) + i % (COLUMNS / 8) * 8, source + 8 * i);
        }

        template <i32 MT, i32 NT>
        GK_DEVICE void store(f32* c, i32 stride, const MmaAccumulator<MT, NT>& sum) {
            for (i32 mt = 0; mt < MT; ++mt)
                for (i32 nt = 0; nt < NT; ++nt)
                    for (i32 e = 0; e < 4; ++e) c[sum.row(mt, e) * stride + sum.column(nt, e)] = sum.v[mt][nt][e];
        }

        enum { ROWS_B, COLUMNS_B, REGISTER_A, COLUMNS_A, CHAINED };

        template <i32 MT, i32 NT, i32 KT, i32 FORM>
        __global__ void __launch_bounds__(64) tile(TileParams p) {
            constexpr i32 M = 16 * MT, N = 8 * NT, K = 16 * KT;
            constexpr i32 B_ROWS = FORM == COLUMNS_B ? K : N, B_COLUMNS = FORM == COLUMNS_B ? N : K;
            constexpr i32 A_ROWS = FORM == COLUMNS_A ? K : M, A_COLUMNS = FORM == COLUMNS_A ? M : K;
            __shared__ Vec<bf16, 8> a_tile[A_ROWS * mma_stride(A_COLUMNS) / 8];
            __shared__ Vec<bf16, 8> b_tile[B_ROWS * mma_stride(B_COLUMNS) / 8];
            stage<A_ROWS, A_COLUMNS>(a_tile[0].v, p.a);
            stage<B_ROWS, B_COLUMNS>(b_tile[0].v, p.b);
            async_commit();
            if (p.fault != 1) async_wait<0>();
            __syncthreads();
            if (warp_id() == 0) return;
            const MmaRowsA a{a_tile[0].v, mma_stride(K)};
            MmaAccumulator<MT, NT> sum;
            sum.fill(0.0f);
            if constexpr (FORM == COLUMNS_B) {
                mma_tile<KT>(sum, a, MmaColumnsB{b_tile[0].v, mma_stride(N)});
            } else if constexpr (FORM == COLUMNS_A) {
                mma_tile<KT>(sum, MmaColumnsA{a_tile[0].v, mma_stride(M)}, MmaRowsB{b_tile[0].v, mma_stride(K)});
            } else if constexpr (FORM == REGISTER_A) {
                mma_tile<KT>(sum, mma_load_a<MT, KT>(a), MmaRowsB{b_tile[0].v, mma_stride(K)});
            } else {
                mma_tile<KT>(sum, a, MmaRowsB{b_tile[0].v + (p.fault == 2 ? lane_id() / 16 * 8 : 0), mma_stride(K)});
            }
            if constexpr (FORM == CHAINED) {   // round(A · Bᵀ) · B, as attention does with its probabilities
                MmaAccumulator<MT, 2 * KT> chained;
                chained.fill(0.0f);
                mma_tile<NT / 2>(chained, mma_pack_a(sum), MmaColumnsB{b_tile[0].v, mma_stride(K)});
                store(p.c, K, chained);
            } else {
                store(p.c, N, sum);
            }
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct TileParams
    {
        public ulong A, B, C;
        public int Fault;
    }

    [Test]
    public void Tiles_match_float64(
        [Values("ROWS_B", "COLUMNS_B", "REGISTER_A", "COLUMNS_A")] string form,
        [Values("1, 1, 1", "1, 2, 2", "2, 3, 3", "1, 8, 4", "4, 4, 2", "3, 5, 1")] string counts,
        [Values] bool isChecked)
    {
        var device = isChecked ? TestDevices.Checked : TestDevices.Plain;
        var (m, n, k) = Sizes(counts);
        var random = new CounterRandom((ulong)((m * n) + k));
        var (a, b) = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        var actual = Run(device, $"tile<{counts}, {form}>", a, b, m * n);
        var expected = new double[m * n];
        for (var i = 0; i < expected.Length; i++)
        {
            for (var p = 0; p < k; p++)
                expected[i] += (double)a[form == "COLUMNS_A" ? (p * m) + (i / n) : (i / n * k) + p] * b[form == "COLUMNS_B" ? (p * n) + (i % n) : (i % n * k) + p];
        }

        Close.Absolute(actual, expected, 1e-6 * k);
    }

    /// <summary>Small integers are exact everywhere, so the rounding between the two products changes nothing.</summary>
    [Test]
    public void Accumulators_become_operands([Values("1, 2, 1", "2, 4, 2", "1, 8, 4")] string counts, [Values] bool isChecked)
    {
        var device = isChecked ? TestDevices.Checked : TestDevices.Plain;
        var (m, n, k) = Sizes(counts);
        var random = new CounterRandom(77);
        float[] Small(int count) => Array.ConvertAll(random.Integers(count, -1, 2), value => (float)value);
        var (a, b) = (Small(m * k), Small(n * k));
        var actual = Run(device, $"tile<{counts}, CHAINED>", a, b, m * k);
        var expected = new double[m * k];
        for (var row = 0; row < m; row++)
        {
            for (var j = 0; j < n; j++)
            {
                var between = 0.0;
                for (var p = 0; p < k; p++)
                    between += a[(row * k) + p] * b[(j * k) + p];
                for (var p = 0; p < k; p++)
                    expected[(row * k) + p] += between * b[(j * k) + p];
            }
        }

        Close.Absolute(actual, expected, 1e-6);
    }

    [Test]
    public void A_missing_wait_and_operands_that_differ_between_lanes_are_caught([Values(1, 2)] int fault)
    {
        TestDevices.RequireEmulator("plants faults");
        using var device = TestDevices.OpenChecked();
        Assert.Throws<DeviceLostException>(() => Run(device, "tile<1, 2, 2, ROWS_B>", new float[512], new float[512], 256, fault));
    }

    private static (int M, int N, int K) Sizes(string counts)
    {
        var numbers = counts.Split(", ").Select(int.Parse).ToArray();
        return (16 * numbers[0], 8 * numbers[1], 16 * numbers[2]);
    }

    private static float[] Run(GpuDevice device, string name, float[] a, float[] b, int outputs, int fault = 0)
    {
        using var stream = device.CreateStream();
        using var deviceA = device.Upload<BFloat16>(Array.ConvertAll(a, BFloat16.FromSingle));
        using var deviceB = device.Upload<BFloat16>(Array.ConvertAll(b, BFloat16.FromSingle));
        using var deviceC = device.Upload<float>(Poison.Floats(outputs));
        var kernel = device.Compiler.Get<TileParams>(new(KernelSource.FromText("tile.cu", Source), name));
        stream.Launch(kernel, grid: 1, block: 64, new TileParams { A = deviceA.Address, B = deviceB.Address, C = deviceC.Address, Fault = fault });
        stream.Synchronize();
        return deviceC.ToArray();
    }
}
