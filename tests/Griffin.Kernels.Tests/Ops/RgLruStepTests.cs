using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>A step is held against one call of <see cref="RgLru"/>, which is held against float64.</summary>
[TestFixture]
internal sealed class RgLruStepTests
{
    [Test]
    public void StepsGiveTheBitsOfOneCall([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(3, 20, 24)] int width)
    {
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new(
            [new(2, SequenceCase.From(0, 15)), new(0, [.. SequenceCase.From(3, 5), .. SequenceCase.From(0, 6)]), new(3, [-1, -1, .. SequenceCase.From(0, 2), .. SequenceCase.From(0, 9), -1])],
            [3, 0, 0, 0]);
        var (expected, expectedStates) = new LruCase(test, type, width, call).Run(RgLru.Sequential, call.Tokens);
        foreach (var variant in OpTest.VariantsOf<RgLruStep>(OpTest.Dimensions(width), type))
        {
            var (actual, states) = new LruCase(test, type, width, call).Run(variant, 1, steps: true);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(states, expectedStates, $"{variant}: states");
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 264;
        SequenceCase call = new([new(2, SequenceCase.From(0, 3)), new(0, SequenceCase.From(7, 2)), new(1, SequenceCase.From(0, 1))], [7, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<RgLruStep>(OpTest.Dimensions(width), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var (y, states) = new LruCase(test, type, width, call).Run(variant, 1, steps: true);
                return [.. y, .. states];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new RgLruStep(test.Device, type, 8);
        var state = new StateMemory(test, 2, 8 * sizeof(float)).State;
        var (z, gates, lambda) = (test.Output(2, 8, type), test.Output(2, 16, type), test.Output(1, 8, type));
        void Run(SequenceCase call, TensorView z, TensorView output, LayerState state) => op.Run(test.Stream, call.Upload(test), z, gates, z, TensorView.Empty, lambda, output, state);
        SequenceCase steps = new([new(0, 0), new(1, 0)], [0, 0]);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(new([new(0, 0, 1)], [0, 0]), z, z, state), Throws.ArgumentException.With.Message.Contains("a step takes one"));
            Assert.That(() => Run(steps, test.Output(3, 8, type), z, state), Throws.ArgumentException.With.Message.Contains("3 rows"));
            Assert.That(() => Run(steps, z, gates.ColumnRange(8, 8), state), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(steps, z, z, state with { Address = state.Address + 8 }), Throws.ArgumentException.With.Message.Contains("16"));
        });
    }
}
