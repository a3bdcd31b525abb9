using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class RgLruTests
{
    [Test]
    public void MatchesFloat64OnRowsOfEveryKind([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 20, 24, 264)] int width)
    {
        foreach (var variant in Variants(width, type))
        {
            foreach (var seed in TestDevices.Seeds)
            {
                using var device = TestDevices.OpenChecked(seed);
                using var test = new OpTest(device);
                new LruCase(test, type, width, SequenceCase.Mixed(19), withBias: seed % 2 == 0).RunAndCompare(variant);
            }
        }
    }

    /// <summary>As a training step runs it: no state to read or leave, and h kept for the backward pass.</summary>
    [Test]
    public void WithoutAStateRowsAreFreshAndHiddenIsGiven([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 20, 24)] int width)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(width, type))
        {
            new LruCase(test, type, width, SequenceCase.Mixed(19)).RunAndCompare(variant, withState: false);
            new LruCase(test, type, width, SequenceCase.Mixed(140)).RunAndCompare(variant, withState: false);
        }
    }

    [Test]
    public void EveryLengthAroundTheTiles([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(8, type))
        {
            SequenceCase call = new([new(2, SequenceCase.From(0, length)), new(0, SequenceCase.From(9, length)), new(1, SequenceCase.From(3, length))], [9, 0, 0, 0]);
            new LruCase(test, type, 8, call).RunAndCompare(variant);
        }
    }

    [Test]
    public void ResetsAtEveryPosition([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int length = 23;
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(8, type))
        {
            var rows = Enumerable.Range(0, length).Select(reset => new SequenceRow(reset, [.. SequenceCase.From(6, reset), .. SequenceCase.From(0, length - reset)]));
            new LruCase(test, type, 8, new SequenceCase([.. rows], [.. Enumerable.Repeat(6, length)])).RunAndCompare(variant);
        }
    }

    [Test]
    public void LongRows([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Plain);
        int[] positions = [.. SequenceCase.From(0, 5000), .. SequenceCase.From(0, 3192)];
        foreach (var variant in Variants(40, type))
            new LruCase(test, type, 40, new SequenceCase([new(1, positions), new(0, SequenceCase.From(100, 8192))], [100, 0])).RunAndCompare(variant);
    }

    /// <summary>Tiles that close a group of the look-back, open the next, and end a row in each place of one; more blocks than a GPU holds at once.</summary>
    [Test]
    public void RowsAroundTheLookBacksGroups([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        var group = 8 * ScanTiles.Warps * 16 / type.SizeOf();
        int[] lengths = [group - 1, group, group + 1, (2 * group) + 1, 1, (3 * group) - (group / 8) + 3];
        using var test = new OpTest(TestDevices.Plain);
        SequenceCase call = new(
            [.. lengths.Select((length, row) => new SequenceRow(row, row % 2 == 0 ? SequenceCase.From(5, length) : [.. SequenceCase.From(7, length / 2), .. SequenceCase.From(0, length - (length / 2))]))],
            [5, 7, 5, 7, 5, 7]);
        foreach (var variant in new[] { RgLru.Ring, RgLru.LookBack })
            new LruCase(test, type, 200, call).RunAndCompare(variant);
    }

    /// <summary>Blocks that wait for each other, in any order in which they begin.</summary>
    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        SequenceCase call = new([new(1, SequenceCase.From(3, 700)), new(0, [.. SequenceCase.From(0, 90), .. SequenceCase.From(0, 300), -1])], [0, 3]);
        foreach (var variant in Variants(136, type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var (y, states) = new LruCase(test, type, 136, call).Run(variant, 1000);
                return [.. y, .. states];
            });
        }
    }

    /// <summary>A document of NaN and infinity leaves the next one in its row alone.</summary>
    [Test]
    public void ABrokenDocumentStaysAlone([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 16, first = 200, second = 90;
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase packed = new([new(0, [.. SequenceCase.From(0, first), .. SequenceCase.From(0, second)])], [0]);
        foreach (var variant in Variants(width, type))
        {
            var (whole, _) = new LruCase(test, type, width, packed).Run(variant, 1000);
            var (broken, _) = new LruCase(test, type, width, packed, brokenTokens: first).Run(variant, 1000);
            Close.Exact(broken.AsSpan(first * width), whole.AsSpan(first * width), variant);
        }
    }

    /// <summary>Decays of all but 1 and all but 0, exact 1 and 0, and numbers below the normal range.</summary>
    [Test]
    public void ExtremeDecays([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        float[] lambda = [-200, -110, -88, -20, -8, -1, 0, 3, 20, 80, -9, -16];
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(1, SequenceCase.From(0, 300)), new(0, SequenceCase.From(4, 300))], [4, 0]);
        foreach (var variant in Variants(lambda.Length, type))
        {
            foreach (var shift in new[] { -30f, 0f, 30f })
                new LruCase(test, type, lambda.Length, call, lambda: lambda, gateShift: shift).RunAndCompare(variant);
            new LruCase(test, type, lambda.Length, call, lambda: lambda, inputScale: 1e-38).RunAndCompare(variant);
        }
    }

    [Test]
    public void AnyChunkingGivesTheSameBits([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 3, 4, 7)] int chunk)
    {
        const int width = 16;
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new(
            [new(2, SequenceCase.From(0, 21)), new(0, [.. SequenceCase.From(3, 5), .. SequenceCase.From(0, 14)]), new(3, [-1, -1, .. SequenceCase.From(0, 2), .. SequenceCase.From(0, 9)])],
            [3, 0, 0, 0]);
        var (expected, expectedStates) = new LruCase(test, type, width, call).Run(RgLru.Sequential, call.Tokens);
        foreach (var variant in Variants(width, type).Where(name => name.StartsWith(RgLru.Sequential, StringComparison.Ordinal)))
        {
            var (actual, states) = new LruCase(test, type, width, call).Run(variant, chunk);
            Close.Exact(actual, expected, $"{variant}: outputs");
            Close.Exact(states, expectedStates, $"{variant}: states");
        }
    }

    [Test]
    public void PackedDocumentsEqualSeparateOnes([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int width = 16, first = 150, second = 133;
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase packed = new([new(0, [.. SequenceCase.From(0, first), .. SequenceCase.From(0, second)])], [0]);
        var model = new LruCase(test, type, width, packed);
        foreach (var algorithm in new[] { RgLru.Sequential, RgLru.Chunked })
        {
            var (together, _) = model.Run(algorithm, packed.Tokens);
            var (alone, _) = model.Part(first, second).Run(algorithm, second);
            if (algorithm == RgLru.Sequential)
                Close.Exact(together.AsSpan(first * width), alone, algorithm);
            model.RunAndCompare(algorithm);
        }
    }

    [Test]
    public void MayOverwriteItsInputs([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(16, type))
        {
            var model = new LruCase(test, type, 16, SequenceCase.Mixed(140));
            var (expected, _) = model.Run(variant, 1000);
            Close.Exact(model.Run(variant, 1000, output: Place.OverZ).Y, expected, $"{variant} over z");
            Close.Exact(model.Run(variant, 1000, output: Place.OverY).Y, expected, $"{variant} over y");
        }
    }

    [Test]
    public void SpecVector()
    {
        const ElementType type = ElementType.Float32;
        double[] z = [.5, -1, 1, .25, -.75, 2, .1, -.4], inputWeight = [.2, -.3, .4, .1], inputBias = [.1, -.2], recurrenceWeight = [-.5, .25, .3, .6], recurrenceBias = [0, .5];
        double[] expected = [.225083001, -.389360766, .409690928, -.174814389, -.509384024, 1.112027781, -.459353604, .651579068];
        var gates = new float[16];
        for (var t = 0; t < 4; t++)
        {
            for (var j = 0; j < 2; j++)
            {
                gates[(t * 4) + j] = (float)((z[2 * t] * inputWeight[j]) + (z[(2 * t) + 1] * inputWeight[2 + j]) + inputBias[j]);
                gates[(t * 4) + 2 + j] = (float)((z[2 * t] * recurrenceWeight[j]) + (z[(2 * t) + 1] * recurrenceWeight[2 + j]) + recurrenceBias[j]);
            }
        }

        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(2, type))
        {
            var op = new RgLru(test.Device, type, 2, variant);
            var state = new StateMemory(test, 1, (int)op.StateBytes);
            var output = test.Output(4, 2, type);
            // gelu(20) is 20: the branch takes itself out of the numbers.
            op.Run(test.Stream, new SequenceCase([new(0, 0, 1, 0, 1)], [0]).Upload(test), test.Matrix(Array.ConvertAll(z, value => (float)value), 4, 2, type), test.Matrix(gates, 4, 4, type),
                test.Matrix([.. Enumerable.Repeat(20f, 8)], 4, 2, type), TensorView.Empty, test.Vector([-4, -2.5f], type), output, state.State, LruCase.Workspace(test, op, 4, 1));
            Close.Absolute(Array.ConvertAll(test.Read(output), value => value / 20), expected, 2e-7, variant);
            Close.Absolute(state.Read(0, type), expected.AsSpan(6), 2e-7, $"{variant}: h");
        }
    }

    /// <summary>By the device's multiprocessors: rows are walked where rows and channels fill it evenly, time is cut where they do not, and a few tokens are stepped through.</summary>
    [TestCase(8192, 1, 2560, 3, ScanForm.LookBack)]
    [TestCase(6 * 8192, 6, 2560, 3, ScanForm.LookBack)]
    [TestCase(8 * 8192, 8, 2560, 3, ScanForm.LookBack)]   // 320 blocks for 3 on each of 132
    [TestCase(9 * 8192, 9, 2560, 3, ScanForm.Ring)]       // 360
    [TestCase(9 * 8192, 9, 2560, 2, ScanForm.LookBack)]   // 360 for 264 places
    [TestCase(13 * 8192, 13, 2560, 2, ScanForm.Ring)]     // 520 for two rounds of them
    [TestCase(64 * 512, 64, 2560, 3, ScanForm.Ring)]
    [TestCase(4 * 64, 4, 4224, 3, ScanForm.Ring)]         // 264: two on each
    [TestCase(8, 1, 2560, 3, ScanForm.LookBack)]
    [TestCase(7, 1, 2560, 3, ScanForm.Sequential)]
    [TestCase(64, 64, 2560, 3, ScanForm.Sequential)]
    public void TheFormFitsTheCall(int tokens, int rows, int width, int resident, object form) =>
        Assert.That(ScanTiles.FormFor(KernelCatalogue.AmpleLimits with { MultiprocessorCount = 132 }, tokens, rows, width, resident), Is.EqualTo(form));

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var op = new RgLru(test.Device, type, 8, RgLru.Chunked);
        var state = new StateMemory(test, 1, (int)op.StateBytes).State;
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (z, gates, lambda) = (test.Output(3, 8, type), test.Output(3, 16, type), test.Output(1, 8, type));
        var workspace = LruCase.Workspace(test, op, 3, 1);
        void Run(TensorView z, TensorView gates, TensorView output, LayerState state, TensorView workspace, TensorView hidden = default) =>
            op.Run(test.Stream, rows, z, gates, z, TensorView.Empty, lambda, output, state, workspace, hidden);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(z, test.Output(3, 8, type), test.Output(3, 8, type), state, workspace), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(z, gates, gates.ColumnRange(0, 8), state, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(z, gates, test.Output(3, 8, type), state with { SlotStride = 16 }, workspace), Throws.ArgumentException.With.Message.Contains("32"));
            Assert.That(() => Run(z, gates, test.Output(3, 8, type), state, TensorView.Empty), Throws.ArgumentException.With.Message.Contains("workspace"));
            Assert.That(() => Run(z, gates, test.Output(3, 8, type), state, workspace.ColumnRange(0, workspace.Columns - 1)), Throws.ArgumentException.With.Message.Contains("workspace"));
            Assert.That(() => Run(z, gates, test.Output(3, 8, type), state, workspace, gates.ColumnRange(8, 8)), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(z, gates, test.Output(3, 8, type), state, workspace, test.Output(2, 8, type)), Throws.ArgumentException.With.Message.Contains("rows"));
            Assert.That(() => new RgLru(test.Device, type, 7, "sequential-pair"), Throws.ArgumentException.With.Message.Contains("fit"));
            Assert.That(() => new RgLru(test.Device, type, 8, "seqential"), Throws.ArgumentException.With.Message.Contains("sequential-vector"));
        });
    }

    // RgLruClusterTests takes the one that wants a device of its own.
    private static IEnumerable<string> Variants(int width, ElementType type) => OpTest.VariantsOf<RgLru>(OpTest.Dimensions(width), type).Where(variant => variant != RgLru.Cluster);
}
