using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class PartialSumsTests
{
    private const ElementType Type = ElementType.Float32;

    [Test]
    public void AddsInOrder([Values(1, 4, 31, 260, 1024)] int width, [Values(1, 2, 7, 8, 9, 33)] int count)
    {
        using var test = new OpTest(TestDevices.Checked);
        var random = new CounterRandom((ulong)(width + count));
        var (parts, start) = (random.Normals(count * width), random.Normals(width));
        foreach (var variant in OpTest.VariantsOf<PartialSums>(OpTest.Dimensions(width), Type))
        {
            // Parts go to slices in turn; a slice adds up its own, in order, and the first then adds the others.
            var slices = variant == "sliced" ? 8 : 1;
            var expected = new float[width];
            for (var c = 0; c < width; c++)
            {
                var totals = new float[slices];
                for (var n = 0; n < count; n++)
                    totals[n % slices] += parts[(n * width) + c];
                for (var slice = 1; slice < slices; slice++)
                    totals[0] += totals[slice];
                expected[c] = start[c] + totals[0];
            }

            var sum = test.Vector(start, Type);
            new PartialSums(test.Device, width, variant).Run(test.Stream, test.Matrix(parts, count, width, Type, 4), sum);
            Close.Exact(test.Read(sum), expected, variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([Values("sliced", "vector", "general")] string variant) => Schedules.DoNotShow("sums", test =>
    {
        var random = new CounterRandom(1);
        var sum = test.Vector(random.Normals(300), Type);
        new PartialSums(test.Device, 300, variant).Run(test.Stream, test.Matrix(random.Normals(5 * 300), 5, 300, Type), sum);
        return test.Read(sum);
    });

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new PartialSums(test.Device, 8);
        var (parts, sum) = (test.Output(3, 8, Type), test.Output(1, 8, Type));
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, test.Output(3, 7, Type), sum), Throws.ArgumentException.With.Message.Contains("parts has 7 columns"));
            Assert.That(() => op.Run(test.Stream, parts, test.Output(1, 7, Type)), Throws.ArgumentException.With.Message.Contains("sum has 7"));
            Assert.That(() => op.Run(test.Stream, parts, parts.RowRange(1, 1)), Throws.ArgumentException.With.Message.Contains("overlap"));
        });
    }
}
