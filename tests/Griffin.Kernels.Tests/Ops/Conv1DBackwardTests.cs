using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class Conv1DBackwardTests
{
    private static readonly object[] shapes = [new[] { 1, 4 }, new[] { 3, 4 }, new[] { 20, 4 }, new[] { 24, 4 }, new[] { 264, 4 }, new[] { 16, 1 }, new[] { 16, 2 }, new[] { 5, 7 }, new[] { 2, 3 }];

    [Test]
    public void FormulaIsTheDerivative([Values(1, 3, 4)] int taps)
    {
        const int width = 2;
        var rows = Fresh(SequenceCase.Mixed(7)).Rows;
        var tokens = rows.Sum(row => row.Positions.Length);
        var random = new CounterRandom((ulong)taps);
        double[] Draw(int count) => Array.ConvertAll(random.Normals(count), value => (double)value);
        var (z, dy, weight, bias) = (Draw(tokens * width), Draw(tokens * width), Draw(width * taps), Draw(width));

        double Loss()
        {
            Conv1DReference reference = new(width, taps, weight, bias);
            var (loss, token) = (0.0, 0);
            foreach (var row in rows)
            {
                foreach (var position in row.Positions)
                {
                    var (y, _) = reference.Step(row.Slot, position, z[(token * width)..((token + 1) * width)]);
                    loss += FiniteDifferences.Dot(y, dy.AsSpan(token++ * width, width));
                }
            }

            return loss;
        }

        var gradient = Conv1DGradient.Of(rows.Select(row => row.Positions), width, taps, weight, z, dy);
        FiniteDifferences.AssertSame(gradient.Dz, FiniteDifferences.Gradient(z, Loss), "dz");
        FiniteDifferences.AssertSame(gradient.Dweight, FiniteDifferences.Gradient(weight, Loss), "dweight");
        FiniteDifferences.AssertSame(gradient.Dbias, FiniteDifferences.Gradient(bias, Loss), "dbias");
    }

    [TestCaseSource(nameof(shapes))]
    public void MatchesFloat64OnRowsOfEveryKind(int width, int taps)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var type in OpTest.Types)
        {
            foreach (var withInputBias in new[] { false, true })
            {
                var operands = new Operands(type, width, taps, Fresh(SequenceCase.Mixed(17)), withInputBias);
                foreach (var variant in OpTest.VariantsOf<Conv1DBackward>(OpTest.Dimensions(width, taps), type))
                    operands.RunAndCompare(test, variant);
            }
        }
    }

    [Test]
    public void EveryLengthAroundThePart([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 4, 5, 29, 30, 31, 32, 33, 63, 64, 65, 67, 97)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        var operands = new Operands(type, 16, 4, new SequenceCase([new(1, SequenceCase.From(5, length)), new(0, SequenceCase.From(0, length))], [0, 0]), withInputBias: true);
        foreach (var variant in OpTest.VariantsOf<Conv1DBackward>(OpTest.Dimensions(16), type))
            operands.RunAndCompare(test, variant);
    }

    [Test]
    public void ManyTokensShareParts([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Plain);
        const int length = 277, rows = (512 * 65 / length) + 1;
        var call = new SequenceCase([.. Enumerable.Range(0, rows).Select(row => new SequenceRow(row, [.. SequenceCase.From(0, row), .. SequenceCase.From(0, length - row)]))], new int[rows]);
        foreach (var variant in OpTest.VariantsOf<Conv1DBackward>(OpTest.Dimensions(8), type))
            new Operands(type, 8, 4, call, withInputBias: true).RunAndCompare(test, variant);
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in OpTest.VariantsOf<Conv1DBackward>(OpTest.Dimensions(72), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var operands = new Operands(type, 72, 4, Fresh(SequenceCase.Mixed(40)), withInputBias: true);
                var (dx, dweight, dbias) = operands.Run(test, variant);
                return [.. test.Read(dx), .. test.Read(dweight), .. test.Read(dbias)];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new Conv1DBackward(test.Device, type, 8, 4);
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (x, dy, dx, weight) = (test.Output(3, 8, type), test.Output(3, 8, type), test.Output(3, 8, type), test.Output(8, 4, type));
        var (dweight, dbias, workspace) = (test.Output(8, 4, type), test.Output(1, 8, type), test.Workspace(op.WorkspaceBytes(3)));
        void Run(TensorView dy, TensorView dx, TensorView dweight, TensorView workspace) =>
            op.Run(test.Stream, rows, x, TensorView.Empty, weight, dy, dx, dweight, dbias, workspace);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(2, 8, type), dx, dweight, workspace), Throws.ArgumentException.With.Message.Contains("dy has 2 rows"));
            Assert.That(() => Run(dy, x, dweight, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dy, dy, dweight, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dy, dx, test.Output(8, 4, type, 4), workspace), Throws.ArgumentException.With.Message.Contains("adjacent"));
            Assert.That(() => Run(dy, dx, dweight, test.Workspace(op.WorkspaceBytes(3) - 4)), Throws.ArgumentException.With.Message.Contains("workspace"));
        });
    }

    private static SequenceCase Fresh(SequenceCase call) => call with { Seen = new int[call.Slots] };

    /// <summary>One call's operands; x and dy of padding are NaN.</summary>
    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _width;
        private readonly int _taps;
        private readonly SequenceCase _call;
        private readonly float[] _x;
        private readonly float[] _dy;
        private readonly float[]? _inputBias;
        private readonly float[] _weight;
        private readonly float[] _weightBefore;
        private readonly float[] _biasBefore;

        public Operands(ElementType type, int width, int taps, SequenceCase call, bool withInputBias)
        {
            (_type, _width, _taps, _call) = (type, width, taps, call);
            var random = new CounterRandom((ulong)((width * 16) + taps));
            _x = OpTest.Normals(random, type, call.Tokens * width);
            _dy = OpTest.Normals(random, type, call.Tokens * width);
            foreach (var (token, _) in call.Positions.Index().Where(entry => entry.Item < 0))
            {
                Array.Fill(_x, Poison.Float, token * width, width);
                Array.Fill(_dy, Poison.Float, token * width, width);
            }

            _inputBias = withInputBias ? OpTest.Normals(random, type, width, 0.5) : null;
            _weight = OpTest.Normals(random, type, width * taps, 0.6);
            (_weightBefore, _biasBefore) = (random.Normals(width * taps), random.Normals(width));
        }

        public (TensorView Dx, TensorView Dweight, TensorView Dbias) Run(OpTest test, string variant)
        {
            var (op, tokens) = (new Conv1DBackward(test.Device, _type, _width, _taps, variant), _call.Tokens);
            var (dx, dweight, dbias) = (test.Output(tokens, _width, _type, 16), test.Matrix(_weightBefore, _width, _taps, ElementType.Float32), test.Vector(_biasBefore, ElementType.Float32));
            op.Run(test.Stream, _call.Upload(test), test.Matrix(_x, tokens, _width, _type, 8), _inputBias is null ? TensorView.Empty : test.Vector(_inputBias, _type),
                test.Matrix(_weight, _width, _taps, _type), test.Matrix(_dy, tokens, _width, _type, 24), dx, dweight, dbias, test.Workspace(op.WorkspaceBytes(tokens)));
            return (dx, dweight, dbias);
        }

        public void RunAndCompare(OpTest test, string variant)
        {
            var (dx, dweight, dbias) = Run(test, variant);
            var z = new double[_x.Length];
            for (var i = 0; i < z.Length; i++)
            {
                var sum = _x[i] + (_inputBias?[i % _width] ?? 0);
                z[i] = _type == ElementType.BFloat16 ? Bf16.Round(sum) : sum;
            }

            var expected = Conv1DGradient.Of(_call.Rows.Select(row => row.Positions), _width, _taps, Array.ConvertAll(_weight, value => (double)value), z, Array.ConvertAll(_dy, value => (double)value));
            var what = $"{variant}, {_type}, width {_width}, taps {_taps}";
            OpTest.Compare(_type, test.Read(dx), expected.Dz, i => 2 * _taps * OpTest.Units(1) * expected.DzSize[i], $"{what}: dx");
            var parts = (_call.Tokens + 63) / 64;
            CompareSums(test.Read(dweight), _weightBefore, expected.Dweight, expected.DweightSize, parts, $"{what}: dweight");
            CompareSums(test.Read(dbias), _biasBefore, expected.Dbias, expected.DbiasSize, parts, $"{what}: dbias");
        }

        private static void CompareSums(float[] actual, float[] before, double[] expected, double[] sizes, int parts, string what)
        {
            double[] sums = [.. expected.Zip(before, (gradient, old) => gradient + old)];
            Close.Within(actual, sums, i => OpTest.Units((2 * 66) + Math.Min(parts, 512) + 2) * (sizes[i] + Math.Abs(before[i])), what);
        }
    }
}
