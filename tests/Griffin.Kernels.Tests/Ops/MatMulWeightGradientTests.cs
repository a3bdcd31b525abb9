using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>dw += dyᵀ · x against float64 loops on the same inputs: cuBLAS (or its look-alike) and every variant of ours, with one slice and several.</summary>
[TestFixture]
internal sealed class MatMulWeightGradientTests
{
    private const string Blas = "cuBLAS";

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var type in OpTest.Types)
        {
            foreach (var (m, n, k) in new[] { (1, 1, 1), (3, 5, 7), (31, 13, 1), (24, 65, 63), (67, 31, 130), (601, 3, 5), (1031, 11, 2) })
            {
                yield return new(type, Blas, m, n, k);
                yield return new(type, "general", m, n, k);
            }
        }

        foreach (var variant in new[] { "mma-64x64", "mma-128x128" })
        {
            foreach (var (m, n, k) in new[] { (1, 8, 8), (32, 64, 64), (31, 56, 72), (33, 136, 120), (100, 128, 24), (257, 8, 72), (769, 72, 8), (1300, 16, 16) })
                yield return new(ElementType.BFloat16, variant, m, n, k);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Gradient_matches_float64(ElementType type, string variant, int m, int n, int k)
    {
        var device = TestDevices.Checked;
        if (variant == Blas && !device.HasBlas)
            Assert.Ignore("there is no cuBLAS");
        var op = new MatMulWeightGradient(device, type, n, k, variant: variant == Blas ? null : variant);
        Assert.That(op.Variant, Is.EqualTo(variant == Blas ? null : variant));
        var gap = variant.StartsWith("mma", StringComparison.Ordinal) ? 8 : 1;
        var problem = new MatMulGradientCase(type, m, n, k);
        using var test = new OpTest(device);
        var dw = problem.Dw(test, gap: 1);
        op.Run(test.Stream, problem.Dy(test, gap), problem.X(test, 3 * gap), dw, Workspace(test, op, m));
        problem.ExpectDw(test.Read(dw), variant, Slices(op, m));
    }

    /// <summary>Long sums of few outputs are cut; the cases above cover the tails of slices.</summary>
    [Test]
    public void Long_sums_are_sliced()
    {
        TestDevices.RequireEmulator("depends on the number of multiprocessors");
        var op = new MatMulWeightGradient(TestDevices.Plain, ElementType.BFloat16, 16, 16, useBlas: false);
        Assert.That(new[] { 1, 256, 257, 1300, 1 << 20 }.Select(rows => Slices(op, rows)), Is.EqualTo(new[] { 1, 1, 2, 6, 216 }));
        Assert.That(Slices(new MatMulWeightGradient(TestDevices.Plain, ElementType.BFloat16, 4096, 4096, useBlas: false), 1 << 20), Is.EqualTo(1));
    }

    [Test]
    public void Schedule_does_not_show([Values("general", "mma-64x64", "mma-128x128")] string variant, [Values(70, 600)] int rows)
    {
        foreach (var type in variant == "general" ? OpTest.Types : [ElementType.BFloat16])
        {
            var problem = new MatMulGradientCase(type, rows, 72, 40);
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var op = new MatMulWeightGradient(test.Device, type, problem.Columns, problem.Inner, variant: variant);
                var dw = problem.Dw(test);
                op.Run(test.Stream, problem.Dy(test), problem.X(test), dw, Workspace(test, op, rows));
                return test.Read(dw);
            });
        }
    }

    [Test]
    public void Neighbours_of_not_a_number_have_no_effect([Values("mma-64x64", "general", Blas)] string variant)
    {
        const ElementType type = ElementType.BFloat16;
        var problem = new MatMulGradientCase(type, 300, 24, 40);
        using var test = new OpTest(TestDevices.Checked);
        var op = new MatMulWeightGradient(test.Device, type, problem.Columns, problem.Inner, variant: variant == Blas ? null : variant);
        var dw = problem.Dw(test, gap: 3);
        op.Run(test.Stream, problem.Dy(test, gap: 40), problem.X(test, gap: 48), dw, Workspace(test, op, problem.Rows));
        problem.ExpectDw(test.Read(dw), variant, Slices(op, problem.Rows));
    }

    /// <summary>The traffic that matmul_weight_gradient.cu promises.</summary>
    [TestCase("mma-64x64", 4, 4)]
    [TestCase("mma-128x128", 2, 2)]
    public void Traffic_is_what_the_contract_states(string variant, int timesDy, int timesX)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        const int m = 512, n = 256, k = 256;
        var problem = new MatMulGradientCase(ElementType.BFloat16, m, n, k);
        using var test = new OpTest(device);
        var op = new MatMulWeightGradient(device, ElementType.BFloat16, n, k, variant: variant);
        var (dy, x, dw, workspace) = (problem.Dy(test), problem.X(test), problem.Dw(test), Workspace(test, op, m));
        op.Run(test.Stream, dy, x, dw, workspace);
        test.Stream.Synchronize();
        var launches = device.TakeCounters();
        Assert.That(launches, Has.Count.EqualTo(2));
        Assert.Multiple(() =>
        {
            Assert.That(launches[0][dy.Owner].BytesRead, Is.EqualTo(2L * m * n * timesDy), "dy");
            Assert.That(launches[0][x.Owner].BytesRead, Is.EqualTo(2L * m * k * timesX), "x");
            Assert.That(launches[0][workspace.Owner].BytesWritten, Is.EqualTo(op.WorkspaceBytes(m)), "the sums of the slices");
            Assert.That(launches[0].MatrixMultiplyAdds, Is.EqualTo((long)m * n * k));
            Assert.That(launches[0].BankConflicts, Is.Zero);
            Assert.That(launches[1][workspace.Owner].BytesRead, Is.EqualTo(op.WorkspaceBytes(m)), "the workspace comes back once");
            Assert.That(launches[1][dw.Owner].BytesRead, Is.EqualTo(4L * n * k), "dw in");
            Assert.That(launches[1][dw.Owner].BytesWritten, Is.EqualTo(4L * n * k), "dw out");
        });
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var stream = test.Stream;
        var problem = new MatMulGradientCase(type, 600, 16, 32);
        var op = new MatMulWeightGradient(test.Device, type, 16, 32, variant: "mma-64x64");
        var (dy, x, dw, workspace) = (problem.Dy(test, 8), problem.X(test, 8), problem.Dw(test), Workspace(test, op, 600));
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy.ColumnRange(0, 15), x, dw, workspace), "columns of dy");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, x.RowRange(0, 599), dw, workspace), "rows of x");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, x, dw.RowRange(0, 15), workspace), "rows of dw");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, x, problem.W(test), workspace), "type of dw");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, problem.X(test, 9), dw, workspace), "alignment");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, x, dw, TensorView.Empty), "no workspace");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, x, dw, workspace.ColumnRange(0, workspace.Columns - 1)), "a short workspace");
            Assert.Throws<ArgumentNullException>(() => op.Run(null!, dy, x, dw, workspace));
            Assert.Throws<ArgumentOutOfRangeException>(() => _ = new MatMulWeightGradient(test.Device, type, 0, 32));
            Assert.Throws<ArgumentException>(() => _ = new MatMulWeightGradient(test.Device, type, 15, 32, variant: "mma-64x64"));
        });
    }

    private static TensorView Workspace(OpTest test, MatMulWeightGradient op, int rows)
    {
        var bytes = op.WorkspaceBytes(rows);
        return bytes == 0 ? TensorView.Empty : TensorView.Of(test.Allocate(bytes), 0, ElementType.UInt8, 1, bytes);
    }

    private static int Slices(MatMulWeightGradient op, int rows) => (int)Math.Max(1, op.WorkspaceBytes(rows) / (sizeof(float) * (long)op.Columns * op.Inner));
}
