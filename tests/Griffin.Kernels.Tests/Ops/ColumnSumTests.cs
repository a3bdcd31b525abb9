using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class ColumnSumTests
{
    // The last is past 512 parts of 32 rows, with a ragged part of 33.
    private static readonly object[] shapes = [new[] { 1, 1 }, new[] { 31, 3 }, new[] { 32, 8 }, new[] { 33, 24 }, new[] { 67, 257 }, new[] { 100, 1032 }, new[] { (512 * 33) - 5, 8 }];

    [TestCaseSource(nameof(shapes))]
    public void AddsToWhatIsThere(int rows, int width)
    {
        using var test = new OpTest(rows > 1000 ? TestDevices.Plain : TestDevices.Checked);
        foreach (var type in OpTest.Types)
        {
            var random = new CounterRandom((ulong)((rows * 7) + width));
            var (x, start) = (OpTest.Normals(random, type, rows * width), random.Normals(width, 3));
            var expected = Array.ConvertAll(start, value => (double)value);
            var magnitude = Array.ConvertAll(start, value => Math.Abs((double)value));
            for (var i = 0; i < x.Length; i++)
            {
                expected[i % width] += x[i];
                magnitude[i % width] += Math.Abs(x[i]);
            }

            foreach (var variant in OpTest.VariantsOf<ColumnSum>(OpTest.Dimensions(width), type))
            {
                var op = new ColumnSum(test.Device, type, width, variant);
                var sum = test.Matrix(start, 1, width, ElementType.Float32, 4);
                op.Run(test.Stream, test.Matrix(x, rows, width, type, 8), sum, test.Workspace(op.WorkspaceBytes(rows)));
                var parts = (int)(op.WorkspaceBytes(rows) / sizeof(float) / width);
                Close.Within(test.Read(sum), expected, c => OpTest.Units(((rows + parts - 1) / parts) + parts + 1) * magnitude[c], $"{variant}, {type}");
            }
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 100, width = 72;
        foreach (var variant in OpTest.VariantsOf<ColumnSum>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var random = new CounterRandom(6);
                var (x, sum) = (test.Matrix(OpTest.Normals(random, type, rows * width), rows, width, type), test.Vector(random.Normals(width), ElementType.Float32));
                var op = new ColumnSum(test.Device, type, width, variant);
                op.Run(test.Stream, x, sum, test.Workspace(op.WorkspaceBytes(rows)));
                return test.Read(sum);
            });
        }
    }

    [Test]
    public void InfinitiesAndNansComeThrough()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var sum = test.Vector([0, 0, 0, 0], type);
        var op = new ColumnSum(test.Device, type, 4);
        op.Run(test.Stream, test.Matrix([1, float.PositiveInfinity, float.NaN, 2, 3, 4, 5, 6], 2, 4, type), sum, test.Workspace(op.WorkspaceBytes(2)));
        Assert.That(test.Read(sum), Is.EqualTo(new[] { 4, float.PositiveInfinity, float.NaN, 8 }));
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new ColumnSum(test.Device, type, 8);
        var (x, sum, workspace) = (test.Output(40, 8, type), test.Output(1, 8, ElementType.Float32), test.Workspace(op.WorkspaceBytes(40)));
        Assert.Multiple(() =>
        {
            Assert.That(op.WorkspaceBytes(40), Is.EqualTo(2 * 8 * sizeof(float)));
            Assert.That(() => op.Run(test.Stream, test.Output(40, 7, type), sum, workspace), Throws.ArgumentException.With.Message.Contains("x has 7 columns"));
            Assert.That(() => op.Run(test.Stream, x, test.Output(1, 8, type), workspace), Throws.ArgumentException.With.Message.Contains("Float32"));
            Assert.That(() => op.Run(test.Stream, x, sum, test.Workspace(op.WorkspaceBytes(32))), Throws.ArgumentException.With.Message.Contains("workspace"));
            Assert.That(() => op.Run(test.Stream, x, sum, TensorView.Empty), Throws.ArgumentException.With.Message.Contains("workspace"));
        });
    }
}
