using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>y = x · wᵀ against float64 loops on the same inputs: cuBLAS (or its look-alike) and every variant of ours.</summary>
[TestFixture]
public sealed class MatMulTests
{
    private const string Blas = "cuBLAS";
    private static readonly string[] skinny = ["skinny-1", "skinny-2", "skinny-4", "skinny-8"];
    private static readonly string[] tiled = ["mma-16x64", "mma-64x64", "mma-128x128"];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var type in new[] { ElementType.BFloat16, ElementType.Float32 })
        {
            foreach (var (m, n, k) in new[] { (1, 1, 1), (3, 5, 7), (1, 13, 31), (65, 63, 24), (31, 130, 40) })
            {
                yield return new(type, type, Blas, m, n, k);
                yield return new(type, type, "general", m, n, k);
            }
        }

        foreach (var variant in skinny)
        {
            foreach (var (m, n, k) in new[] { (1, 1, 8), (2, 17, 264), (3, 15, 256), (5, 4, 504), (8, 33, 40), (9, 16, 1032) })
            {
                yield return new(ElementType.BFloat16, ElementType.BFloat16, variant, m, n, k);
                yield return new(ElementType.Float32, ElementType.Float32, variant, m, n, k - 4);
            }
        }

        foreach (var variant in tiled)
        {
            foreach (var (m, n, k) in new[] { (1, 1, 8), (16, 64, 32), (15, 63, 24), (17, 65, 40), (64, 128, 64), (63, 7, 72), (65, 129, 104), (129, 127, 200) })
                yield return new(ElementType.BFloat16, ElementType.BFloat16, variant, m, n, k);
        }

        foreach (var variant in new[] { Blas, "general", "skinny-4", "mma-16x64", "mma-64x64", "mma-128x128" })
            yield return new(ElementType.BFloat16, ElementType.Float32, variant, 4, 67, 48);
    }

    [TestCaseSource(nameof(Cases))]
    public void Product_matches_float64(ElementType type, ElementType output, string variant, int m, int n, int k)
    {
        var device = TestDevices.Checked;
        if (variant == Blas && !device.HasBlas)
            Assert.Ignore("there is no cuBLAS");
        var random = new CounterRandom((ulong)((m * 1000) + n + k));
        var (x, w) = (OpTest.Normals(random, type, m * k), OpTest.Normals(random, type, n * k));
        var gap = variant is Blas or "general" ? 1 : 16 / type.SizeOf();
        using var test = new OpTest(device);
        var y = test.Output(m, n, output, gap: 1);
        var op = new MatMul(device, type, n, k, output, variant: variant == Blas ? null : variant);
        Assert.That(op.VariantFor(m), Is.EqualTo(variant == Blas ? null : variant));
        op.Run(test.Stream, test.Matrix(x, m, k, type, gap), test.Matrix(w, n, k, type, 3 * gap), y);
        Expect(test.Read(y), x, w, m, n, k, output);
    }

    /// <summary>The warpgroup tile: ragged in every direction, one step of k and many.</summary>
    [TestCase(1, 1, 8)]
    [TestCase(127, 255, 64)]
    [TestCase(128, 256, 128)]
    [TestCase(129, 257, 72)]
    [TestCase(300, 520, 520)]
    public void Warpgroup_tiles_match_float64(int m, int n, int k)
    {
        var device = TestDevices.Hopper;
        var random = new CounterRandom((ulong)((m * 1000) + n + k));
        var (x, w) = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        using var test = new OpTest(device);
        foreach (var output in OpTest.Types)
        {
            foreach (var gap in new[] { 2, 8 })   // where strides are multiples of 8, so are the stores
            {
                var y = test.Output(m, n, output, gap);
                new MatMul(device, ElementType.BFloat16, n, k, output, variant: "warpgroup-128x256")
                    .Run(test.Stream, test.Matrix(x, m, k, ElementType.BFloat16, 8), test.Matrix(w, n, k, ElementType.BFloat16, 24), y);
                Expect(test.Read(y), x, w, m, n, k, output);
            }
        }
    }

    /// <summary>More tiles than blocks: a block takes several, in the order that shares rows in the cache, and its stages go on from one to the next.</summary>
    [Test]
    public void Warpgroup_blocks_take_tile_after_tile()
    {
        TestDevices.RequireEmulator("needs no second opinion");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { ComputeCapability = (9, 0) });
        const int m = 2300, n = 2060, k = 136;   // 18 x 9 tiles, of which sixteen rows go together
        var random = new CounterRandom(9);
        using var test = new OpTest(device);
        var (x, w) = (test.Matrix(random.Bf16Normals(m * k), m, k, ElementType.BFloat16), test.Matrix(random.Bf16Normals(n * k), n, k, ElementType.BFloat16));
        var (tiles, warpgroups) = (test.Output(m, n, ElementType.Float32), test.Output(m, n, ElementType.Float32));
        new MatMul(device, ElementType.BFloat16, n, k, ElementType.Float32, variant: "mma-128x128").Run(test.Stream, x, w, tiles);
        new MatMul(device, ElementType.BFloat16, n, k, ElementType.Float32, variant: "warpgroup-128x256").Run(test.Stream, x, w, warpgroups);
        Close.Exact(test.Read(warpgroups), test.Read(tiles));
    }

    /// <summary>Aligned, even outputs are stored in pairs: the other path of the tile kernels.</summary>
    [Test]
    public void Pairs_are_stored_whole([ValueSource(nameof(tiled))] string variant, [Values] bool isChecked)
    {
        var device = isChecked ? TestDevices.Checked : TestDevices.Plain;
        const int m = 19, n = 70, k = 56;
        var random = new CounterRandom(5);
        var (x, w) = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        using var test = new OpTest(device);
        var y = test.Output(m, n, ElementType.BFloat16, gap: 2);
        new MatMul(device, ElementType.BFloat16, n, k, variant: variant)
            .Run(test.Stream, test.Matrix(x, m, k, ElementType.BFloat16), test.Matrix(w, n, k, ElementType.BFloat16), y);
        Expect(test.Read(y), x, w, m, n, k, ElementType.BFloat16);
    }

    /// <summary>Factors that are powers of two stand for as much in x, exactly.</summary>
    [Test]
    public void Row_factors_multiply_the_sums([Values("general", "mma-16x64", "mma-64x64", "mma-128x128", "warpgroup-128x256", null)] string? variant, [Values] bool toFloat32, [Values(35, 40)] int n)
    {
        const ElementType type = ElementType.BFloat16;
        const int m = 67, k = 72;
        var output = toFloat32 ? ElementType.Float32 : type;
        var random = new CounterRandom(4);
        var (x, w) = (OpTest.Normals(random, type, m * k), OpTest.Normals(random, type, n * k));
        float[] factors = [.. Enumerable.Range(0, m).Select(row => MathF.ScaleB(1, (row % 5) - 2))];
        using var test = new OpTest(variant == "warpgroup-128x256" ? TestDevices.Hopper : TestDevices.Checked);
        var (with, without, weight) = (test.Output(m, n, output), test.Output(m, n, output), test.Matrix(w, n, k, type));
        var op = new MatMul(test.Device, type, n, k, output, variant: variant, rowFactors: true);
        op.Run(test.Stream, test.Matrix(x, m, k, type), weight, with, test.Vector(factors, ElementType.Float32));
        float[] scaled = [.. x.Select((value, i) => value * factors[i / k])];
        new MatMul(test.Device, type, n, k, output, variant: op.VariantFor(m)).Run(test.Stream, test.Matrix(scaled, m, k, type), weight, without);
        Close.Exact(test.Read(with), test.Read(without), op.VariantFor(m)!);
    }

    [Test]
    public void Schedule_does_not_show([Values("general", "skinny-1", "skinny-2", "skinny-4", "skinny-8", "mma-16x64", "mma-64x64", "mma-128x128")] string variant)
    {
        const int m = 19, n = 70, k = 56;
        foreach (var type in variant.StartsWith("mma", StringComparison.Ordinal) ? [ElementType.BFloat16] : OpTest.Types)
        {
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var random = new CounterRandom(13);
                var y = test.Output(m, n, type);
                var x = test.Matrix(OpTest.Normals(random, type, m * k), m, k, type);
                new MatMul(test.Device, type, n, k, variant: variant).Run(test.Stream, x, test.Matrix(OpTest.Normals(random, type, n * k), n, k, type), y);
                return test.Read(y);
            });
        }
    }

    /// <summary>The law of BatchInvariant: a row alone has the bits that it has among others, through every tile shape.</summary>
    [TestCase(ElementType.BFloat16, 72)]
    [TestCase(ElementType.BFloat16, 71)]
    [TestCase(ElementType.Float32, 40)]
    public void A_rows_bits_do_not_depend_on_the_other_rows(ElementType type, int k)
    {
        var device = TestDevices.Checked;
        const int most = 130, n = 33;
        var random = new CounterRandom(11);
        var (x, w) = (OpTest.Normals(random, type, most * k), OpTest.Normals(random, type, n * k));
        using var test = new OpTest(device);
        var (deviceX, deviceW) = (test.Matrix(x, most, k, type), test.Matrix(w, n, k, type));
        var op = new MatMul(device, type, n, k, batchInvariant: true);
        Assert.That(op.UsesBlas, Is.False);
        var all = Run(most, 0);
        foreach (var (start, count) in new[] { (0, 1), (129, 1), (3, 2), (7, 8), (5, 17), (60, 64) })
            Close.Exact(Run(count, start), all.AsSpan(start * n, count * n), $"{count} rows from {start}");

        if (type == ElementType.BFloat16 && k % 8 == 0)
        {
            foreach (var variant in tiled)
            {
                var y = test.Output(most, n, type);
                new MatMul(device, type, n, k, variant: variant).Run(test.Stream, deviceX, deviceW, y);
                Close.Exact(test.Read(y), all, variant);
            }
        }

        float[] Run(int rows, int start)
        {
            var y = test.Output(rows, n, type);
            op.Run(test.Stream, deviceX.RowRange(start, rows), deviceW, y);
            return test.Read(y);
        }
    }

    /// <summary>Rows outside the product do not leak into it, whatever they hold.</summary>
    [Test]
    public void Neighbouring_rows_of_not_a_number_have_no_effect([Values("skinny-4", "mma-64x64", "general", Blas)] string variant)
    {
        var device = TestDevices.Checked;
        const int m = 3, n = 9, k = 40;
        var random = new CounterRandom(23);
        var (x, w) = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        using var test = new OpTest(device);
        var deviceX = test.Matrix([.. Poison.Floats(k), .. x, .. Poison.Floats(k)], m + 2, k, ElementType.BFloat16);
        var deviceW = test.Matrix([.. Poison.Floats(k), .. w, .. Poison.Floats(k)], n + 2, k, ElementType.BFloat16);
        var y = test.Output(m, n, ElementType.BFloat16);
        new MatMul(device, ElementType.BFloat16, n, k, variant: variant == Blas ? null : variant).Run(test.Stream, deviceX.RowRange(1, m), deviceW.RowRange(1, n), y);
        Expect(test.Read(y), x, w, m, n, k, ElementType.BFloat16);
    }

    [Test]
    public void Rows_past_two_to_the_31_elements_are_reached([Values("skinny-2", "mma-16x64", "general", Blas)] string variant)
    {
        TestDevices.RequireEmulator("needs a sparse allocation");
        using var device = TestDevices.OpenPlain();
        const int m = 2, n = 3, k = 64;
        const long far = (1L << 31) + 64;
        var random = new CounterRandom(31);
        var (x, w) = (random.Bf16Normals(m * k), random.Bf16Normals(n * k));
        using var test = new OpTest(device);
        var sparse = test.Allocate((far + k) * sizeof(ushort));
        for (var r = 0; r < m; r++)
            test.Stream.CopyToDevice<ushort>(Array.ConvertAll(x[(r * k)..((r + 1) * k)], Bf16.Bits), sparse, r * far * sizeof(ushort));
        var view = TensorView.Of(sparse, 0, ElementType.BFloat16, m, k, far);
        var (deviceW, y) = (test.Matrix(w, n, k, ElementType.BFloat16), test.Output(m, n, ElementType.BFloat16));
        var op = new MatMul(device, ElementType.BFloat16, n, k, variant: variant == Blas ? null : variant);
        if (variant == Blas)
        {
            Assert.Throws<OverflowException>(() => op.Run(test.Stream, view, deviceW, y), "cuBLAS counts a row stride in 32 bits");
            return;
        }

        op.Run(test.Stream, view, deviceW, y);
        Expect(test.Read(y), x, w, m, n, k, ElementType.BFloat16);
    }

    /// <summary>The traffic that matmul.cu promises: the streamed weight once, x once per tile of columns.</summary>
    [TestCase("mma-16x64", 16, 512, 256, 8, 1)]
    [TestCase("mma-64x64", 64, 512, 256, 8, 1)]
    [TestCase("mma-128x128", 128, 512, 256, 4, 1)]
    [TestCase("skinny-8", 8, 512, 256, 128, 1)]
    [TestCase("warpgroup-128x256", 256, 512, 256, 2, 2)]
    public void Traffic_is_what_the_contract_states(string variant, int m, int n, int k, int timesX, int timesW)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator(TestDevices.HopperOptions with { CountAccesses = true });
        var random = new CounterRandom(41);
        using var test = new OpTest(device);
        var x = test.Matrix(random.Bf16Normals(m * k), m, k, ElementType.BFloat16);
        var w = test.Matrix(random.Bf16Normals(n * k), n, k, ElementType.BFloat16);
        var y = test.Output(m, n, ElementType.BFloat16);
        new MatMul(device, ElementType.BFloat16, n, k, variant: variant).Run(test.Stream, x, w, y);
        test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        Assert.Multiple(() =>
        {
            Assert.That(counters[w.Owner].BytesRead, Is.InRange(2L * n * k * timesW, 2L * n * k * timesW * 105 / 100), "w");
            Assert.That(counters[x.Owner].BytesRead, Is.EqualTo(2L * m * k * timesX), "x");
            Assert.That(counters[y.Owner].BytesWritten, Is.EqualTo(2L * m * n), "y");
            Assert.That(counters[y.Owner].BytesRead, Is.Zero, "y is not read");
            if (variant is "mma-128x128" or "mma-64x64" or "warpgroup-128x256")
                Assert.That(32 * counters[y.Owner].RequestSectorsWritten, Is.EqualTo(counters[y.Owner].BytesWritten), "whole sectors");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(variant.StartsWith("skinny", StringComparison.Ordinal) ? 0 : (long)m * n * k));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void The_number_of_rows_chooses_the_kernel()
    {
        var device = TestDevices.Plain;
        var op = new MatMul(device, ElementType.BFloat16, 4096, 64, batchInvariant: true);
        Assert.That(new[] { 1, 16, 17, 64, 4096 }.Select(op.VariantFor), Is.EqualTo(new[] { "mma-16x64", "mma-16x64", "mma-64x64", "mma-64x64", "mma-128x128" }));
        Assert.That(new MatMul(device, ElementType.BFloat16, 64, 63, batchInvariant: true).VariantFor(1), Is.EqualTo("general"));
        Assert.That(new MatMul(device, ElementType.BFloat16, 64, 64).UsesBlas, Is.EqualTo(device.HasBlas));
        var ours = new MatMul(device, ElementType.BFloat16, 4096, 64, useBlas: false);
        Assert.That(new[] { 1, 2, 3, 8, 9, 40 }.Select(ours.VariantFor), Is.EqualTo(new[] { "skinny-1", "skinny-2", "skinny-4", "skinny-8", "mma-16x64", "mma-64x64" }));
    }

    [Test]
    public void No_rows_launch_nothing()
    {
        var device = TestDevices.Checked;
        using var test = new OpTest(device);
        var x = test.Matrix([], 0, 16, ElementType.BFloat16);
        var w = test.Matrix(new float[8 * 16], 8, 16, ElementType.BFloat16);
        var y = test.Output(0, 8, ElementType.BFloat16);
        foreach (var variant in new[] { null, "general", "mma-16x64" })
            new MatMul(device, ElementType.BFloat16, 8, 16, variant: variant).Run(test.Stream, x, w, y);
        device.Synchronize();
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        var device = TestDevices.Checked;
        using var test = new OpTest(device);
        var stream = test.Stream;
        var x = test.Matrix(new float[128], 4, 32, ElementType.BFloat16);
        var w = test.Matrix(new float[128], 8, 16, ElementType.BFloat16);
        var (y, wide) = (test.Output(4, 8, ElementType.BFloat16), test.Output(4, 8, ElementType.Float32));
        var op = new MatMul(device, ElementType.BFloat16, 8, 16, variant: "mma-16x64");
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(stream, x, w, y), "x too wide");
            Assert.Throws<ArgumentException>(() => op.Run(stream, x.ColumnRange(0, 16), w, wide), "type of y");
            Assert.Throws<ArgumentException>(() => op.Run(stream, x.ColumnRange(0, 16).RowRange(0, 3), w, y), "rows");
            Assert.Throws<ArgumentException>(() => op.Run(stream, x.ColumnRange(1, 16), w, y), "alignment");
            Assert.Throws<ArgumentException>(() => op.Run(stream, x.ColumnRange(0, 16), w, x.ColumnRange(8, 8)), "overlap");
            Assert.Throws<ArgumentNullException>(() => op.Run(null!, x, w, y));
            Assert.Throws<ArgumentOutOfRangeException>(() => _ = new MatMul(device, ElementType.BFloat16, 0, 16));
            Assert.Throws<ArgumentException>(() => _ = new MatMul(device, ElementType.Float32, 8, 16, ElementType.BFloat16));
            Assert.Throws<ArgumentException>(() => _ = new MatMul(device, ElementType.Float32, 8, 16, variant: "mma-16x64"));
            Assert.Throws<ArgumentException>(() => _ = new MatMul(device, ElementType.BFloat16, 8, 15, variant: "skinny-1"));
            Assert.Throws<ArgumentException>(() => _ = new MatMul(device, ElementType.BFloat16, 8, 16, variant: "none"));
        });
    }

    private static void Expect(float[] actual, float[] x, float[] w, int m, int n, int k, ElementType output)
    {
        var (expected, bound) = (new double[m * n], new double[m * n]);
        for (var r = 0; r < m; r++)
        {
            for (var c = 0; c < n; c++)
            {
                var magnitude = 0.0;
                for (var i = 0; i < k; i++)
                {
                    var term = (double)x[(r * k) + i] * w[(c * k) + i];
                    expected[(r * n) + c] += term;
                    magnitude += Math.Abs(term);
                }

                bound[(r * n) + c] = Math.ScaleB(k * magnitude, -23);
            }
        }

        OpTest.Compare(output, actual, expected, i => bound[i]);
    }
}
