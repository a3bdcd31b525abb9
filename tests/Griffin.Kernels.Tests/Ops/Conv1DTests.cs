using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class Conv1DTests
{
    private static readonly object[] shapes = [new[] { 1, 4 }, new[] { 3, 4 }, new[] { 20, 4 }, new[] { 24, 4 }, new[] { 264, 4 }, new[] { 16, 1 }, new[] { 16, 2 }, new[] { 5, 7 }];

    [TestCaseSource(nameof(shapes))]
    public void MatchesFloat64OnRowsOfEveryKind(int width, int taps)
    {
        foreach (var type in OpTest.Types)
        {
            foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width, taps), type))
            {
                foreach (var seed in TestDevices.Seeds)
                {
                    using var device = TestDevices.OpenChecked(seed);
                    using var test = new OpTest(device);
                    var model = new ConvCase(test, type, width, taps, SequenceCase.Mixed(17), withInputBias: seed % 2 == 0);
                    model.RunAndCompare(variant);
                }
            }
        }
    }

    [Test]
    public void EveryLengthAroundTheTile([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 67)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        var model = new ConvCase(test, type, 16, 4, new SequenceCase([new(1, SequenceCase.From(5, length)), new(0, SequenceCase.From(0, length))], [0, 5]));
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(16), type))
            model.RunAndCompare(variant);
    }

    [Test]
    public void AnyChunkingGivesTheSameBits([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 5, 8)] int chunk)
    {
        const int width = 16;
        using var test = new OpTest(TestDevices.Checked);
        var call = new SequenceCase(
            [new(2, SequenceCase.From(0, 21)), new(0, [.. SequenceCase.From(3, 5), .. SequenceCase.From(0, 14)]), new(3, [.. SequenceCase.From(0, 2), .. SequenceCase.From(0, 1), .. SequenceCase.From(0, 9)])],
            [3, 0, 0, 0]);
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width), type))
        {
            var whole = new ConvCase(test, type, width, 4, call);
            var (expected, expectedStates) = whole.Run(variant, call.Tokens);
            var parts = new ConvCase(test, type, width, 4, call);
            var (actual, actualStates) = parts.Run(variant, chunk);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(actualStates, expectedStates, $"{variant}: states");
        }
    }

    [Test]
    public void FreshRowsNeedNoState([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 24, taps = 4;
        using var test = new OpTest(TestDevices.Checked);
        var mixed = SequenceCase.Mixed(17);
        var call = mixed with { Seen = new int[mixed.Slots] };
        var random = new CounterRandom(8);
        var rows = call.Upload(test);
        var x = test.Matrix(OpTest.Normals(random, type, call.Tokens * width), call.Tokens, width, type);
        var (weight, bias) = (test.Matrix(OpTest.Normals(random, type, width * taps), width, taps, type), test.Vector(OpTest.Normals(random, type, width), type));
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width, taps), type))
        {
            var op = new Conv1D(test.Device, type, width, taps, variant);
            var state = new StateMemory(test, call.Slots, (int)op.StateBytes);
            var (with, without) = (test.Output(call.Tokens, width, type), test.Output(call.Tokens, width, type));
            op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, with, state.State);
            op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, without, default);
            Close.Finite(test.Read(without), variant);
            Close.Exact(test.Read(without), test.Read(with), variant);
        }
    }

    [TestCase(new[] { 0, 1, 2, 3, 4 }, new[] { 4.5, 39.5, 11.5, 29.5, 20.5, -20.5, 30.5, 59.5, 40.5, 79.5 })]
    [TestCase(new[] { 0, 1, 0, 1, 2 }, new[] { 4.5, 39.5, 11.5, 29.5, 12.5, -40.5, 25.5, 49.5, 38.5, 79.5 })]
    public void SpecVector(int[] positions, double[] expected)
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var state = new StateMemory(test, 1, 3 * 2 * sizeof(float));
        var y = test.Output(5, 2, type);
        new Conv1D(test.Device, type, 2, 4).Run(test.Stream, new SequenceCase([new(0, positions)], [0]).Upload(test),
            test.Matrix([1, 1, 2, 0, 3, -1, 4, 2, 5, 1], 5, 2, type), TensorView.Empty, test.Matrix([1, 2, 3, 4, 10, 20, 30, 40], 2, 4, type),
            test.Vector([0.5f, -0.5f], type), y, state.State);
        Close.Absolute(test.Read(y), expected, 0);
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new Conv1D(test.Device, type, 8, 4);
        var state = new StateMemory(test, 1, (int)op.StateBytes).State;
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (x, weight, bias) = (test.Output(3, 8, type), test.Output(8, 4, type), test.Output(1, 8, type));
        void Run(TensorView x, TensorView weight, TensorView y, LayerState state) => op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, y, state);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(2, 8, type), weight, test.Output(3, 8, type), state), Throws.ArgumentException.With.Message.Contains("x has 2 rows"));
            Assert.That(() => Run(x, test.Output(8, 4, type, 1), test.Output(3, 8, type), state), Throws.ArgumentException.With.Message.Contains("adjacent"));
            Assert.That(() => Run(x, weight, x, state), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => op.UpdateState(test.Stream, rows, x, TensorView.Empty, default), Throws.ArgumentException.With.Message.Contains("memory"));
            Assert.That(() => Run(x, weight, test.Output(3, 8, type), state with { SlotStride = 80 }), Throws.ArgumentException.With.Message.Contains("96"));
            Assert.That(() => Run(x, weight, test.Output(3, 8, type), state with { Address = state.Address + 4 }), Throws.ArgumentException.With.Message.Contains("16"));
        });
    }
}
