using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>dx = dy · w against float64 loops on the same inputs: cuBLAS (or its look-alike) and every variant of ours.</summary>
[TestFixture]
internal sealed class MatMulInputGradientTests
{
    private const string Blas = "cuBLAS";

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var type in OpTest.Types)
        {
            foreach (var (m, n, k) in new[] { (1, 1, 1), (3, 5, 7), (1, 13, 31), (65, 63, 24), (31, 130, 67), (130, 24, 40) })
            {
                yield return new(type, Blas, m, n, k);
                yield return new(type, "general", m, n, k);
            }
        }

        foreach (var variant in new[] { "mma-64x64", "mma-128x128" })
        {
            foreach (var (m, n, k) in new[] { (1, 8, 8), (64, 32, 64), (63, 24, 56), (65, 40, 72), (127, 104, 136), (129, 200, 120), (13, 264, 8) })
                yield return new(ElementType.BFloat16, variant, m, n, k);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Gradient_matches_float64(ElementType type, string variant, int m, int n, int k)
    {
        var device = TestDevices.Checked;
        if (variant == Blas && !device.HasBlas)
            Assert.Ignore("there is no cuBLAS");
        var op = new MatMulInputGradient(device, type, n, k, variant: variant == Blas ? null : variant);
        Assert.That(op.VariantFor(m), Is.EqualTo(variant == Blas ? null : variant));
        var gap = variant.StartsWith("mma", StringComparison.Ordinal) ? 8 : 1;
        var problem = new MatMulGradientCase(type, m, n, k);
        using var test = new OpTest(device);
        var dx = test.Output(m, k, type, 3 * gap);
        op.Run(test.Stream, problem.Dy(test, gap), problem.W(test, 3 * gap), dx);
        problem.ExpectDx(test.Read(dx), variant);
    }

    [Test]
    public void Schedule_does_not_show([Values("general", "mma-64x64", "mma-128x128")] string variant)
    {
        foreach (var type in variant == "general" ? OpTest.Types : [ElementType.BFloat16])
        {
            var problem = new MatMulGradientCase(type, 70, 72, 136);
            Schedules.DoNotShow($"{variant}, {type}", test =>
            {
                var dx = test.Output(problem.Rows, problem.Inner, type);
                new MatMulInputGradient(test.Device, type, problem.Columns, problem.Inner, variant: variant).Run(test.Stream, problem.Dy(test), problem.W(test), dx);
                return test.Read(dx);
            });
        }
    }

    /// <summary>What lies beyond the operands does not leak into the gradient, whatever it holds.</summary>
    [Test]
    public void Neighbours_of_not_a_number_have_no_effect([Values("mma-64x64", "general", Blas)] string variant)
    {
        const ElementType type = ElementType.BFloat16;
        var problem = new MatMulGradientCase(type, 5, 24, 40);
        using var test = new OpTest(TestDevices.Checked);
        var dx = test.Output(problem.Rows, problem.Inner, type);
        new MatMulInputGradient(test.Device, type, problem.Columns, problem.Inner, variant: variant == Blas ? null : variant)
            .Run(test.Stream, problem.Dy(test, gap: 40), problem.W(test, gap: 48), dx);
        problem.ExpectDx(test.Read(dx), variant);
    }

    /// <summary>The traffic that matmul_input_gradient.cu promises.</summary>
    [TestCase("mma-64x64", 128, 512, 256, 4, 2)]
    [TestCase("mma-128x128", 128, 512, 256, 2, 1)]
    public void Traffic_is_what_the_contract_states(string variant, int m, int n, int k, int timesDy, int timesW)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        var problem = new MatMulGradientCase(ElementType.BFloat16, m, n, k);
        using var test = new OpTest(device);
        var (dy, w, dx) = (problem.Dy(test), problem.W(test), test.Output(m, k, ElementType.BFloat16));
        new MatMulInputGradient(device, ElementType.BFloat16, n, k, variant: variant).Run(test.Stream, dy, w, dx);
        test.Stream.Synchronize();
        var counters = device.TakeCounters().Single();
        Assert.Multiple(() =>
        {
            Assert.That(counters[dy.Owner].BytesRead, Is.EqualTo(2L * m * n * timesDy), "dy");
            Assert.That(counters[w.Owner].BytesRead, Is.EqualTo(2L * n * k * timesW), "w");
            Assert.That(counters[dx.Owner].BytesWritten, Is.EqualTo(2L * m * k), "dx");
            Assert.That(counters[dx.Owner].BytesRead, Is.Zero, "dx is not read");
            if (variant != "general")
                Assert.That(32 * counters[dx.Owner].RequestSectorsWritten, Is.EqualTo(counters[dx.Owner].BytesWritten), "whole sectors");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo((long)m * n * k));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }

    [Test]
    public void The_number_of_rows_chooses_the_tile()
    {
        var op = new MatMulInputGradient(TestDevices.Plain, ElementType.BFloat16, 64, 4096, useBlas: false);
        Assert.That(new[] { 1, 129, 4096 }.Select(op.VariantFor), Is.EqualTo(new[] { "mma-64x64", "mma-64x64", "mma-128x128" }));
        Assert.That(new MatMulInputGradient(TestDevices.Plain, ElementType.BFloat16, 63, 64, useBlas: false).VariantFor(9), Is.EqualTo("general"));
        Assert.That(new MatMulInputGradient(TestDevices.Plain, ElementType.BFloat16, 64, 64).UsesBlas, Is.EqualTo(TestDevices.Plain.HasBlas));
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var stream = test.Stream;
        var problem = new MatMulGradientCase(type, 4, 16, 32);
        var (dy, w, dx) = (problem.Dy(test, 8), problem.W(test), test.Output(4, 32, type));
        var op = new MatMulInputGradient(test.Device, type, 16, 32, variant: "mma-64x64");
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy.ColumnRange(0, 15), w, dx), "columns of dy");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, w.RowRange(0, 15), dx), "rows of w");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, w, dx.RowRange(0, 3)), "rows of dx");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, w, test.Output(4, 32, ElementType.Float32)), "type of dx");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dy, w, test.Output(4, 40, type).ColumnRange(1, 32)), "alignment");
            Assert.Throws<ArgumentException>(() => op.Run(stream, dx.ColumnRange(0, 16), w, dx), "overlap");
            Assert.Throws<ArgumentNullException>(() => op.Run(null!, dy, w, dx));
            Assert.Throws<ArgumentOutOfRangeException>(() => _ = new MatMulInputGradient(test.Device, type, 16, 0));
            Assert.Throws<ArgumentException>(() => _ = new MatMulInputGradient(test.Device, type, 15, 32, variant: "mma-64x64"));
            Assert.Throws<ArgumentException>(() => _ = new MatMulInputGradient(test.Device, ElementType.Float32, 16, 32, variant: "mma-64x64"));
        });
    }
}
