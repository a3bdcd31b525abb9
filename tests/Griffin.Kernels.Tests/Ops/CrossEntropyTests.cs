using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class CrossEntropyTests
{
    private const float Scale = 0.37f;

    [Test]
    public void MatchesFloat64([Values(1, 2, 11, 255, 384, 1031, 32_003)] int vocabulary, [Values(0f, 30f)] float cap, [ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int Rows = 5;
        var random = new CounterRandom((ulong)vocabulary);
        var logits = random.Normals(Rows * vocabulary, 12);
        int[] targets = [0, vocabulary - 1, -1, vocabulary / 2, random.Integer(0, vocabulary)];
        logits.AsSpan(2 * vocabulary, vocabulary).Fill(float.NaN);   // a row that is not scored is not read
        AssertMatches(type, vocabulary, cap, logits, targets);
    }

    [TestCase(256_128)]
    [TestCase(65_537)]
    public void MatchesFloat64AtLargeVocabularies(int vocabulary)
    {
        var random = new CounterRandom(9);
        AssertMatches(ElementType.BFloat16, vocabulary, 30, random.Normals(2 * vocabulary, 20), [vocabulary - 1, 77], TestDevices.Plain);
    }

    // Logits far outside of any cap, of both signs; one that leaves no doubt, for and against the target; all of them equal; columns ruled out.
    [Test]
    public void ExtremeLogits([Values(0f, 30f)] float cap, [ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int Vocabulary = 12;
        var rows = new[]
        {
            Row(-1e30f, (3, 1e30f)), Row(1e30f), Row(-3e38f), Row(0), Row(0, (5, 200)), Row(0, (4, -500)), Row(88, (4, 89)), Row(-1000, (4, -990)), Row(1e-40f, (0, -1e-42f)),
            Row(1, (0, float.NegativeInfinity), (7, float.NegativeInfinity)),
        };
        AssertMatches(type, Vocabulary, cap, [.. rows.SelectMany(row => row)], [3, 4, 4, 11, 5, 4, 4, 5, 0, 1]);

        static float[] Row(float everywhere, params (int Column, float Value)[] but)
        {
            var row = Enumerable.Repeat(everywhere, Vocabulary).ToArray();
            foreach (var (column, value) in but)
                row[column] = value;
            return row;
        }
    }

    /// <summary>What is wrong shows in the loss of its row and in its gradient, and in no other row.</summary>
    [Test]
    public void NothingWrongIsFinite([Values(11, 1031)] int vocabulary, [Values(0f, 30f)] float cap)
    {
        foreach (var variant in Variants(vocabulary, ElementType.BFloat16))
        {
            foreach (var place in new[] { 0, 1, vocabulary / 2, vocabulary - 1 })
            {
                foreach (var wrong in cap > 0 ? new[] { float.NaN } : [float.NaN, float.PositiveInfinity])
                {
                    var logits = new CounterRandom(3).Normals(3 * vocabulary);
                    logits[vocabulary + place] = wrong;
                    var (nll, dlogits) = Compute(TestDevices.Checked, ElementType.BFloat16, variant, vocabulary, cap, logits, [1, 2, 3]);
                    Assert.That(nll.Select(float.IsNaN), Is.EqualTo(new[] { false, true, false }), $"{variant}, {wrong} at {place}");
                    Assert.That(dlogits.Chunk(vocabulary).Select(row => row.All(float.IsNaN)), Is.EqualTo(new[] { false, true, false }), $"{variant}, {wrong} at {place}");
                    Close.Finite(dlogits.AsSpan(0, vocabulary));
                }
            }

            var (lost, gradient) = Compute(TestDevices.Checked, ElementType.BFloat16, variant, vocabulary, cap, new float[2 * vocabulary], [vocabulary, int.MaxValue]);
            Assert.That(lost, Is.All.NaN, variant);
            Assert.That(gradient, Is.All.NaN, variant);
            var (impossible, _) = Compute(TestDevices.Checked, ElementType.BFloat16, variant, vocabulary, 0, [float.NegativeInfinity, .. new float[vocabulary - 1]], [0]);
            Assert.That(impossible, Is.EqualTo(new[] { float.PositiveInfinity }), variant);
        }
    }

    /// <summary>The float64 gradient that the kernel is held against is the derivative of the float64 loss.</summary>
    [Test]
    public void ReferenceIsTheDerivative([Values(0.0, 5.0)] double cap)
    {
        double[] logits = [0.3, -4, 7, 2.5, -1, 0, 6.9];
        for (var target = 0; target < logits.Length; target++)
        {
            var gradient = CrossEntropyReference.Compute(logits, target, cap).Gradient;
            for (var c = 0; c < logits.Length; c++)
            {
                const double Step = 1e-5;
                var (up, down) = (logits.ToArray(), logits.ToArray());
                (up[c], down[c]) = (logits[c] + Step, logits[c] - Step);
                var slope = (CrossEntropyReference.Compute(up, target, cap).Loss - CrossEntropyReference.Compute(down, target, cap).Loss) / (2 * Step);
                Assert.That(gradient[c], Is.EqualTo(slope).Within(1e-9), $"target {target}, column {c}");
            }
        }
    }

    /// <summary>Without a gradient the same losses; a gradient may take its logits' place; neither neighbours nor the number of rows show.</summary>
    [Test]
    public void ChunksAndPlacesDoNotShow([Values(11, 384)] int vocabulary)
    {
        const int Rows = 6;
        var logits = new CounterRandom(4).Normals(Rows * vocabulary, 10);
        int[] targets = [5, -1, 10, 0, 3, -1];
        foreach (var variant in Variants(vocabulary, ElementType.Float32))
        {
            var (nll, dlogits) = Compute(TestDevices.Checked, ElementType.Float32, variant, vocabulary, 30, logits, targets);
            Close.Finite(dlogits);
            using var test = new OpTest(TestDevices.Checked);
            var op = new CrossEntropy(test.Device, ElementType.Float32, vocabulary, variant);
            var (view, ids, scale) = (test.Matrix(logits, Rows, vocabulary, ElementType.Float32, gap: 4), test.Integers(targets), test.Vector([Scale], ElementType.Float32));
            var (evaluated, trained) = (test.Output(1, Rows, ElementType.Float32), test.Output(1, Rows, ElementType.Float32));
            op.Run(test.Stream, view, ids, 30, TensorView.Empty, evaluated, TensorView.Empty);
            Close.Exact(test.Read(evaluated), nll, variant);
            Close.Exact(test.Read(view), logits, variant);
            for (var (first, count) = (0, 1); first < Rows; (first, count) = (first + count, count + 1))
            {
                var chunk = view.RowRange(first, count);
                op.Run(test.Stream, chunk, ids.ColumnRange(first, count), 30, scale, trained.ColumnRange(first, count), chunk);
            }

            Close.Exact(test.Read(trained), nll, variant);
            Close.Exact(test.Read(view), dlogits, variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([Values(384, 33_003)] int vocabulary)
    {
        foreach (var variant in Variants(vocabulary, ElementType.BFloat16))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var logits = test.Matrix(new CounterRandom(8).Normals(3 * vocabulary, 10), 3, vocabulary, ElementType.Float32);
                var (nll, dlogits) = (test.Output(1, 3, ElementType.Float32), test.Output(3, vocabulary, ElementType.BFloat16));
                new CrossEntropy(test.Device, ElementType.BFloat16, vocabulary, variant)
                    .Run(test.Stream, logits, test.Integers(1, 2, -1), 30, test.Vector([Scale], ElementType.Float32), nll, dlogits);
                return [.. test.Read(nll), .. test.Read(dlogits)];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        var op = new CrossEntropy(test.Device, ElementType.Float32, 8);
        var (logits, dlogits, nll, scale) = (Float(2, 8), Float(2, 8), Float(1, 2), Float(1, 1));
        var targets = test.Integers(1, 2);
        Assert.Multiple(() =>
        {
            foreach (var cap in new[] { -1f, float.NaN, float.PositiveInfinity })
                Assert.That(() => op.Run(test.Stream, logits, targets, cap, scale, nll, dlogits), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => op.Run(test.Stream, Float(2, 9), targets, 0, scale, nll, dlogits), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, logits, test.Integers(1), 0, scale, nll, dlogits), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, logits, targets, 0, TensorView.Empty, nll, dlogits), Throws.ArgumentException, "a gradient needs its scale");
            Assert.That(() => op.Run(test.Stream, logits, targets, 0, scale, nll, logits.RowRange(1, 1)), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, logits, targets, 0, scale, nll, test.Output(2, 8, ElementType.BFloat16)), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, logits, targets, 0, scale, dlogits.RowRange(0, 1).ColumnRange(0, 2), dlogits), Throws.ArgumentException);
        });

        TensorView Float(int rows, int columns) => test.Output(rows, columns, ElementType.Float32);
    }

    // What a GPU could be given, and the emulator's own.
    private static IEnumerable<string> Variants(int vocabulary, ElementType type)
    {
        var names = OpTest.VariantsOf<CrossEntropy>(OpTest.Dimensions(vocabulary), type);
        return TestDevices.IsEmulator ? names.Append("serial") : names;
    }

    private static void AssertMatches(ElementType type, int vocabulary, float cap, float[] logits, int[] targets, GpuDevice? device = null)
    {
        var (expectedNll, expected, nllBound, bound) = (new double[targets.Length], new double[logits.Length], new double[targets.Length], new double[logits.Length]);
        for (var r = 0; r < targets.Length; r++)
        {
            if (targets[r] < 0)
                continue;
            var row = CrossEntropyReference.Compute(Array.ConvertAll(logits[(r * vocabulary)..((r + 1) * vocabulary)], x => (double)x), targets[r], cap);
            var error = OpTest.Units((16 * row.Largest) + (64 * 4) + (vocabulary / 64.0) + 32);
            (expectedNll[r], nllBound[r]) = (row.Loss, error + (4 * OpTest.Units(row.Loss)));
            for (var c = 0; c < vocabulary; c++)
                (expected[(r * vocabulary) + c], bound[(r * vocabulary) + c]) = (Scale * row.Gradient[c], Scale * ((row.Probabilities[c] * error) + OpTest.Units(32)));
        }

        foreach (var variant in Variants(vocabulary, type))
        {
            var (nll, dlogits) = Compute(device ?? TestDevices.Checked, type, variant, vocabulary, cap, logits, targets);
            Close.Within(nll, expectedNll, i => nllBound[i], $"{variant}: nll");
            OpTest.Compare(type, dlogits, expected, i => bound[i], variant);
        }
    }

    private static (float[] Nll, float[] Dlogits) Compute(GpuDevice device, ElementType type, string variant, int vocabulary, float cap, float[] logits, int[] targets)
    {
        using var test = new OpTest(device);
        var rows = targets.Length;
        var (nll, dlogits) = (test.Output(1, rows, ElementType.Float32), test.Output(rows, vocabulary, type, gap: 8));
        new CrossEntropy(device, type, vocabulary, variant).Run(test.Stream, test.Matrix(logits, rows, vocabulary, ElementType.Float32, gap: 4), test.Integers(targets), cap,
            test.Vector([Scale], ElementType.Float32), nll, dlogits);
        return (test.Read(nll), test.Read(dlogits));
    }
}
