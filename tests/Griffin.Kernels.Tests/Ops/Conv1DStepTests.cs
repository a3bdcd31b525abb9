using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>A step is held against one call of <see cref="Conv1D"/>, which is held against float64.</summary>
[TestFixture]
internal sealed class Conv1DStepTests
{
    [Test]
    public void StepsGiveTheBitsOfOneCall([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 4, 5)] int taps)
    {
        const int width = 24;
        using var test = new OpTest(TestDevices.Checked);
        var call = new SequenceCase([new(2, [.. SequenceCase.From(0, 6), .. SequenceCase.From(0, 5)]), new(0, SequenceCase.From(7, 11)), new(3, [-1, -1, .. SequenceCase.From(0, 9)])], [7, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<Conv1DStep>(OpTest.Dimensions(width, taps), type))
        {
            var whole = new ConvCase(test, type, width, taps, call);
            var (expected, expectedStates) = whole.Run(null, call.Tokens);
            var steps = new ConvCase(test, type, width, taps, call);
            var (actual, actualStates) = steps.Run(variant, 1, steps: true);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(actualStates, expectedStates, $"{variant}: states");
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 264, taps = 4;
        SequenceCase call = new([new(2, SequenceCase.From(0, 3)), new(0, SequenceCase.From(7, 2)), new(1, SequenceCase.From(0, 1))], [7, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<Conv1DStep>(OpTest.Dimensions(width, taps), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var (y, states) = new ConvCase(test, type, width, taps, call).Run(variant, 1, steps: true);
                return [.. y, .. states];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new Conv1DStep(test.Device, type, 8, 4);
        var state = new StateMemory(test, 2, 3 * 8 * sizeof(float)).State;
        var (x, weight, bias) = (test.Output(2, 8, type), test.Output(8, 4, type), test.Output(1, 8, type));
        void Run(SequenceCase call, TensorView x, LayerState state) => op.Run(test.Stream, call.Upload(test), x, TensorView.Empty, weight, bias, x, state);
        SequenceCase steps = new([new(0, 0), new(1, 0)], [0, 0]);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(new([new(0, 0, 1)], [0, 0]), x, state), Throws.ArgumentException.With.Message.Contains("a step takes one"));
            Assert.That(() => Run(steps, test.Output(3, 8, type), state), Throws.ArgumentException.With.Message.Contains("x has 3 rows"));
            Assert.That(() => Run(steps, x, state with { SlotStride = 80 }), Throws.ArgumentException.With.Message.Contains("96"));
            Assert.That(() => Run(new([], [0, 0]), x.RowRange(0, 0), state), Throws.Nothing, "zero rows");
        });
    }
}
