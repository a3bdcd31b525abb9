using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RgLruBackwardTests
{
    [Test]
    public void FormulaIsTheDerivative()
    {
        const int width = 2;
        var rows = SequenceCase.Mixed(6).Rows;
        var positions = rows.SelectMany(row => row.Positions).ToArray();
        var random = new CounterRandom(5);
        double[] Draw(int count, double spread = 1) => Wide(random.Normals(count, spread));
        var (z, gates, branch, dout) = (Draw(positions.Length * width), Draw(positions.Length * 2 * width, 2), Draw(positions.Length * width, 1.5), Draw(positions.Length * width));
        double[] lambda = [-3.5, -1];
        var hidden = new double[z.Length];

        double Loss()
        {
            RgLruReference reference = new(width, lambda);
            var (loss, token) = (0.0, 0);
            foreach (var row in rows)
            {
                foreach (var position in row.Positions)
                {
                    var (from, to) = (token * width, (token + 1) * width);
                    var (output, _) = reference.Step(row.Slot, position, z.AsSpan(from, width), gates.AsSpan(2 * from, width), gates.AsSpan((2 * from) + width, width), branch.AsSpan(from, width));
                    loss += FiniteDifferences.Dot(output, dout.AsSpan(from, width));
                    if (position >= 0)
                        reference.State(row.Slot).CopyTo(hidden, from);
                    token = to / width;
                }
            }

            return loss;
        }

        _ = Loss();
        var gradient = RgLruGradient.Of(rows.Select(row => row.Positions), lambda, z, gates, branch, [.. hidden], dout);
        FiniteDifferences.AssertSame(gradient.Dz, FiniteDifferences.Gradient(z, Loss), "dz");
        FiniteDifferences.AssertSame(gradient.Dgates, FiniteDifferences.Gradient(gates, Loss), "dgates");
        FiniteDifferences.AssertSame(gradient.Dy, FiniteDifferences.Gradient(branch, Loss), "dy");
        FiniteDifferences.AssertSame(gradient.Dlambda, FiniteDifferences.Gradient(lambda, Loss), "dlambda");
    }

    [Test]
    public void MatchesFloat64OnRowsOfEveryKind([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 20, 24, 264)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(width), type))
        {
            foreach (var seed in TestDevices.Seeds)
            {
                using var device = TestDevices.OpenChecked(seed);
                using var test = new OpTest(device);
                new Operands(type, width, SequenceCase.Mixed(19), withBias: seed % 2 == 0).RunAndCompare(test, variant);
            }
        }
    }

    [Test]
    public void EveryLengthAroundTheTiles([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(8), type))
            new Operands(type, 8, new SequenceCase([new(0, SequenceCase.From(0, length)), new(1, SequenceCase.From(3, length))], [0, 0])).RunAndCompare(test, variant);
    }

    [Test]
    public void ResetsAtEveryPosition([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int length = 23;
        using var test = new OpTest(TestDevices.Checked);
        var rows = Enumerable.Range(0, length).Select(reset => new SequenceRow(reset, [.. SequenceCase.From(0, reset), .. SequenceCase.From(0, length - reset)]));
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(8), type))
            new Operands(type, 8, new SequenceCase([.. rows], new int[length])).RunAndCompare(test, variant);
    }

    [Test]
    public void LongRows([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Plain);
        var call = new SequenceCase([new(1, [.. SequenceCase.From(0, 2500), .. SequenceCase.From(0, 1597)]), new(0, [.. SequenceCase.From(0, 4096), -1])], [0, 0]);
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(24), type))
            new Operands(type, 24, call).RunAndCompare(test, variant);
    }

    /// <summary>Tiles that close a group of the look-back, open the next, and begin a row in each place of one; more blocks than a GPU holds at once.</summary>
    [Test]
    public void RowsAroundTheLookBacksGroups([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        var group = 8 * ScanTiles.Warps * 8 / type.SizeOf();
        int[] lengths = [group - 1, group, group + 1, (2 * group) + 1, 1, (3 * group) - (group / 8) + 3];
        using var test = new OpTest(TestDevices.Plain);
        SequenceCase call = new(
            [.. lengths.Select((length, row) => new SequenceRow(row, row % 2 == 0 ? SequenceCase.From(5, length) : [.. SequenceCase.From(0, length / 2), .. SequenceCase.From(0, length - (length / 2))]))],
            new int[lengths.Length]);
        foreach (var variant in new[] { RgLru.Ring, RgLru.LookBack })
            new Operands(type, 200, call).RunAndCompare(test, variant);
    }

    /// <summary>A document of NaN and infinity leaves the one before it in its row alone.</summary>
    [Test]
    public void ABrokenDocumentStaysAlone([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 16, first = 90, second = 200;
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(0, [.. SequenceCase.From(0, first), .. SequenceCase.From(0, second)])], [0]);
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(width), type))
        {
            var (whole, broken) = (new Operands(type, width, call).Run(test, variant), new Operands(type, width, call, brokenFrom: first).Run(test, variant));
            Close.Exact(broken.Dz.AsSpan(0, first * width), whole.Dz.AsSpan(0, first * width), $"{variant}: dz");
            Close.Exact(broken.Dgates.AsSpan(0, first * 2 * width), whole.Dgates.AsSpan(0, first * 2 * width), $"{variant}: dgates");
            Close.Exact(broken.Dy.AsSpan(0, first * width), whole.Dy.AsSpan(0, first * width), $"{variant}: dy");
        }
    }

    /// <summary>Decays of all but 1, where the root's derivative is clipped, to exact 1 and 0.</summary>
    [Test]
    public void ExtremeDecays([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        float[] lambda = [-200, -110, -88, -20, -8, -1, 0, 3, 20, 80, -15, -16];
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(1, SequenceCase.From(0, 150)), new(0, SequenceCase.From(4, 150))], [0, 0]);
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(lambda.Length), type))
        {
            foreach (var shift in new[] { -30f, 0f, 30f })
                new Operands(type, lambda.Length, call, lambda: lambda, gateShift: shift).RunAndCompare(test, variant);
        }
    }

    [Test]
    public void PackedDocumentsEqualSeparateOnes([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 16, first = 150, second = 133;
        using var test = new OpTest(TestDevices.Checked);
        var packed = new Operands(type, width, new SequenceCase([new(0, [.. SequenceCase.From(0, first), .. SequenceCase.From(0, second)])], [0]));
        var apart = new Operands(type, width, new SequenceCase([new(0, SequenceCase.From(0, first)), new(1, SequenceCase.From(0, second))], [0, 0]));
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(width), type).Where(name => name.StartsWith(RgLru.Sequential, StringComparison.Ordinal)))
        {
            var (together, separate) = (packed.Run(test, variant), apart.Run(test, variant));
            Close.Exact(together.Dz, separate.Dz, $"{variant}: dz");
            Close.Exact(together.Dgates, separate.Dgates, $"{variant}: dgates");
            Close.Exact(together.Dy, separate.Dy, $"{variant}: dy");
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(72), type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var results = new Operands(type, 72, SequenceCase.Mixed(140)).Run(test, variant);
                return [.. results.Dz, .. results.Dgates, .. results.Dy, .. results.Dlambda];
            });
        }
    }

    /// <summary>A worked example: the scan by the op, the gates' part by loops.</summary>
    [Test]
    public void SpecVector()
    {
        const ElementType type = ElementType.Float32;
        double[] z = [.5, -1, 1, .25, -.75, 2, .1, -.4], inputWeight = [.2, -.3, .4, .1], recurrenceWeight = [-.5, .25, .3, .6];
        double[] h = [.225083001, -.389360766, .409690928, -.174814389, -.509384024, 1.112027781, -.459353604, .651579068];
        var gates = new float[16];
        for (var t = 0; t < 4; t++)
        {
            for (var j = 0; j < 2; j++)
            {
                gates[(t * 4) + j] = (float)((z[2 * t] * inputWeight[j]) + (z[(2 * t) + 1] * inputWeight[2 + j]) + (j == 0 ? .1 : -.2));
                gates[(t * 4) + 2 + j] = (float)((z[2 * t] * recurrenceWeight[j]) + (z[(2 * t) + 1] * recurrenceWeight[2 + j]) + (j == 0 ? 0 : .5));
            }
        }

        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(2), type))
        {
            var op = new RgLruBackward(test.Device, type, 2, variant);
            var (dz, dgates, dy) = (test.Output(4, 2, type), test.Output(4, 4, type), test.Output(4, 2, type));
            var dlambda = test.Vector([0, 0], type);
            // gelu(20) is 20 with slope 1: a dout of 1/20 makes the gradient of h one.
            op.Run(test.Stream, new SequenceCase([new(0, 0, 1, 0, 1)], [0]).Upload(test), test.Matrix(Narrow(z), 4, 2, type), test.Matrix(gates, 4, 4, type),
                test.Matrix([.. Enumerable.Repeat(20f, 8)], 4, 2, type), TensorView.Empty, test.Vector([-4, -2.5f], type), test.Matrix(Narrow(h), 4, 2, type),
                test.Matrix([.. Enumerable.Repeat(0.05f, 8)], 4, 2, type), dz, dgates, dy, dlambda, test.Workspace(op.WorkspaceBytes(4, 1)));
            Close.Absolute(test.Read(dlambda), [.119495325, -.180240528], 5e-7, $"{variant}: dlambda");
            Close.Absolute(test.Read(dy), Array.ConvertAll(h, value => value / 20), 1e-7, $"{variant}: dy");
            var du = test.Read(dgates);
            var whole = Wide(test.Read(dz));
            var (dInput, dRecurrence, dBias) = (new double[4], new double[4], new double[4]);
            for (var t = 0; t < 4; t++)
            {
                for (var i = 0; i < 2; i++)
                {
                    for (var j = 0; j < 2; j++)
                    {
                        whole[(2 * t) + i] += (du[(4 * t) + j] * inputWeight[(2 * i) + j]) + (du[(4 * t) + 2 + j] * recurrenceWeight[(2 * i) + j]);
                        dInput[(2 * i) + j] += z[(2 * t) + i] * du[(4 * t) + j];
                        dRecurrence[(2 * i) + j] += z[(2 * t) + i] * du[(4 * t) + 2 + j];
                    }
                }

                for (var j = 0; j < 4; j++)
                    dBias[j] += du[(4 * t) + j];
            }

            Close.Absolute(Narrow(whole), [1.040210208, .695242094, .184609752, .369268193, .999997123, .901120625, .150415375, .230297492], 5e-7, $"{variant}: dz");
            Close.Absolute(Narrow(dInput), [.437565091, -.784908175, -.857032042, 2.105293478], 1e-6, $"{variant}: dW of the input gate");
            Close.Absolute(Narrow(dRecurrence), [.05103376, .025014641, .003595176, .064950717], 5e-7, $"{variant}: dW of the recurrence gate");
            Close.Absolute(Narrow(dBias), [.01221544, .423671361, .070438321, -.09928501], 5e-7, $"{variant}: db");
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new RgLruBackward(test.Device, type, 8, RgLru.Chunked);
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (z, gates, lambda, dz, dgates, dy) = (test.Output(3, 8, type), test.Output(3, 16, type), test.Output(1, 8, type), test.Output(3, 8, type), test.Output(3, 16, type), test.Output(3, 8, type));
        var (dlambda, workspace) = (test.Output(1, 8, ElementType.Float32), test.Workspace(op.WorkspaceBytes(3, 1)));
        void Run(TensorView dz, TensorView dgates, TensorView dlambda, TensorView workspace) =>
            op.Run(test.Stream, rows, z, gates, z, TensorView.Empty, lambda, z, z, dz, dgates, dy, dlambda, workspace);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(2, 8, type), dgates, dlambda, workspace), Throws.ArgumentException.With.Message.Contains("dz has 2 rows"));
            Assert.That(() => Run(dz, dz, dlambda, workspace), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(z, dgates, dlambda, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dz, gates, dlambda, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dy, dgates, dlambda, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(dz, dgates, lambda, workspace), Throws.ArgumentException.With.Message.Contains("Float32"));
            Assert.That(() => Run(dz, dgates, dlambda, test.Workspace(op.WorkspaceBytes(3, 1) - 4)), Throws.ArgumentException.With.Message.Contains("workspace"));
            Assert.That(() => new RgLruBackward(test.Device, type, 7, "sequential-pair"), Throws.ArgumentException.With.Message.Contains("fit"));
        });
    }

    private static double[] Wide(float[] values) => Array.ConvertAll(values, value => (double)value);

    private static float[] Narrow(double[] values) => Array.ConvertAll(values, value => (float)value);

    private sealed record Results(float[] Dz, float[] Dgates, float[] Dy, float[] Dlambda);

    /// <summary>One call's operands; those of padding are NaN.</summary>
    private sealed class Operands
    {
        private readonly ElementType _type;
        private readonly int _width;
        private readonly SequenceCase _call;
        private readonly float[] _z, _gates, _y, _lambda, _hidden, _dout, _dlambda;
        private readonly float[]? _bias;

        public Operands(ElementType type, int width, SequenceCase call, bool withBias = true, float[]? lambda = null, float gateShift = 0, int brokenFrom = int.MaxValue)
        {
            (_type, _width, _call) = (type, width, call with { Seen = new int[call.Slots] });
            var random = new CounterRandom((ulong)width);
            var size = call.Tokens * width;
            (_z, _gates, _y) = (OpTest.Normals(random, type, size), OpTest.Normals(random, type, 2 * size, 2), OpTest.Normals(random, type, size, 2));
            for (var i = 0; i < _gates.Length; i++)
                _gates[i] = i / width % 2 == 1 ? Bf16.Round(_gates[i] + gateShift) : _gates[i];
            _lambda = lambda ?? Array.ConvertAll(random.Uniforms(width, -7, -1), Bf16.Round);
            (_hidden, _dout) = (OpTest.Normals(random, type, size, 0.7), OpTest.Normals(random, type, size));
            (_bias, _dlambda) = (withBias ? OpTest.Normals(random, type, width, 0.3) : null, random.Normals(width));
            var positions = call.Positions;
            for (var token = 0; token < positions.Length; token++)
            {
                if (positions[token] >= 0 && token < brokenFrom)
                    continue;
                foreach (var values in new[] { _z, _gates, _y, _hidden, _dout })
                    values.AsSpan(token * (values.Length / positions.Length), values.Length / positions.Length).Fill(float.NaN);
            }
        }

        public Results Run(OpTest test, string variant)
        {
            var op = new RgLruBackward(test.Device, _type, _width, variant);
            var n = _call.Tokens;
            var (dz, dgates, dy) = (test.Output(n, _width, _type, 8), test.Output(n, 2 * _width, _type, 16), test.Output(n, _width, _type, 24));
            var dlambda = test.Vector(_dlambda, ElementType.Float32);
            op.Run(test.Stream, _call.Upload(test), test.Matrix(_z, n, _width, _type, 8), test.Matrix(_gates, n, 2 * _width, _type, 8), test.Matrix(_y, n, _width, _type, 16),
                _bias is null ? TensorView.Empty : test.Vector(_bias, _type), test.Vector(_lambda, _type), test.Matrix(_hidden, n, _width, _type, 8),
                test.Matrix(_dout, n, _width, _type, 24), dz, dgates, dy, dlambda, test.Workspace(op.WorkspaceBytes(n, _call.Rows.Count)));
            return new(test.Read(dz), test.Read(dgates), test.Read(dy), test.Read(dlambda));
        }

        public void RunAndCompare(OpTest test, string variant)
        {
            var actual = Run(test, variant);
            var branch = Wide(_y);
            for (var i = 0; i < branch.Length; i++)
                branch[i] += _bias?[i % _width] ?? 0;
            var expected = RgLruGradient.Of(_call.Rows.Select(row => row.Positions), Wide(_lambda), Wide(_z), Wide(_gates), branch, Wide(_hidden), Wide(_dout),
                !variant.StartsWith(RgLru.Sequential, StringComparison.Ordinal), variant is RgLru.Ring or RgLru.LookBack);
            var (bounds, what) = (expected.Bounds, $"{variant}, {_type}, width {_width}");
            OpTest.Compare(_type, actual.Dz, expected.Dz, i => bounds.Dz[i], $"{what}: dz");
            OpTest.Compare(_type, actual.Dgates, expected.Dgates, i => bounds.Dgates[i], $"{what}: dgates");
            OpTest.Compare(_type, actual.Dy, expected.Dy, i => bounds.Dy[i], $"{what}: dy");
            double[] sum = [.. expected.Dlambda.Select((value, c) => value + _dlambda[c])];
            OpTest.Compare(ElementType.Float32, actual.Dlambda, sum, c => bounds.Dlambda[c] + OpTest.Units(Math.Abs(sum[c])), $"{what}: dlambda");
        }
    }
}
