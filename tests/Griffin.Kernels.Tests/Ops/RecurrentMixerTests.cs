using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// Convolution, gates and scan in one kernel against the ops that it stands for, which their own tests hold against float64 loops: equal bits. The
/// scan is compared with float64 here, too, on the z and the logits of those ops.
/// </summary>
[TestFixture]
internal sealed class RecurrentMixerTests
{
    private const string Fused = "fused";
    private const string Usual = "fused-256";
    private const ElementType Type = ElementType.BFloat16;

    [TestCase(1, 16)]
    [TestCase(3, 48)]
    [TestCase(1, 176)]
    [TestCase(1, 272)]
    public void EqualsTheOpsOnRowsOfEveryKind(int blocks, int b)
    {
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var test = new OpTest(device);
            new MixerCase(test, blocks, b, SequenceCase.Mixed(19), withBias: seed % 2 == 0).AssertEqual(Fused);
        }
    }

    [Test]
    public void TheUsualWidthGivesTheSameBits()
    {
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(1, SequenceCase.From(9, 140)), new(0, [.. SequenceCase.From(0, 30), .. SequenceCase.From(0, 40), -1]), new(2, SequenceCase.From(0, 5))], [0, 9, 0]);
        new MixerCase(test, 2, 256, call).AssertEqual(Usual);
        new MixerCase(test, 1, 256, call, withBias: false).AssertEqual(Fused);
    }

    [Test]
    public void EveryLengthAroundTheTiles([Values(1, 2, 3, 4, 7, 8, 9, 61, 63, 64, 65, 67, 68, 127, 128, 129, 131)] int length)
    {
        using var test = new OpTest(TestDevices.Checked);
        new MixerCase(test, 2, 16, new SequenceCase([new(2, SequenceCase.From(2, length)), new(1, SequenceCase.From(0, length)), new(0, SequenceCase.From(9, length))], [9, 0, 2])).AssertEqual(Fused);
    }

    [Test]
    public void ResetsAndPaddingAtEveryPlaceOfAGroup()
    {
        const int length = 75;
        using var test = new OpTest(TestDevices.Checked);
        var resets = Enumerable.Range(56, 17).Select((reset, slot) => new SequenceRow(slot, [.. SequenceCase.From(6, reset), .. SequenceCase.From(0, length - reset)]));
        new MixerCase(test, 1, 16, new SequenceCase([.. resets], [.. Enumerable.Repeat(6, 17)])).AssertEqual(Fused);
        var padding = Enumerable.Range(0, 10).Select(slot => new SequenceRow(slot, [.. Enumerable.Repeat(-1, slot), .. SequenceCase.From(0, 60), .. Enumerable.Repeat(-1, slot)]));
        new MixerCase(test, 1, 16, new SequenceCase([.. padding], [.. Enumerable.Repeat(0, 10)])).AssertEqual(Fused);
    }

    /// <summary>Tiles that close a group of the look-back, open the next, and end a row in each place of one; more blocks than a GPU holds at once.</summary>
    [Test]
    public void RowsAroundTheLookBacksGroups()
    {
        const int group = 8 * 64;
        int[] lengths = [group - 1, group, group + 1, (2 * group) + 1, 1, (3 * group) - (group / 8) + 3];
        using var test = new OpTest(TestDevices.Plain);
        SequenceCase call = new(
            [.. lengths.Select((length, row) => new SequenceRow(row, row % 2 == 0 ? SequenceCase.From(5, length) : [.. SequenceCase.From(7, length / 2), .. SequenceCase.From(0, length - (length / 2))]))],
            [5, 7, 5, 7, 5, 7]);
        new MixerCase(test, 5, 48, call).AssertEqual(Fused);
    }

    [Test]
    public void FreshRowsNeedNoState()
    {
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(0, SequenceCase.From(0, 90)), new(1, [.. SequenceCase.From(0, 40), .. SequenceCase.From(0, 21)])], [0, 0]);
        new MixerCase(test, 2, 48, call).AssertEqual(Fused, withState: false);
    }

    /// <summary>Whole, in halves of tiles and in odd pieces: each within the contract's bound of the scan in float64.</summary>
    [Test]
    public void AnyChunkingStaysWithinTheBound([Values(int.MaxValue, 100, 32, 7)] int chunk)
    {
        using var test = new OpTest(TestDevices.Checked);
        SequenceCase call = new([new(2, SequenceCase.From(0, 150)), new(0, [.. SequenceCase.From(3, 50), .. SequenceCase.From(0, 95)]), new(3, [-1, -1, .. SequenceCase.From(0, 40)])], [3, 0, 0, 0]);
        new MixerCase(test, 2, 32, call).AssertWithinBound(Fused, chunk);
    }

    [Test]
    public void MayOverwriteTheBranch()
    {
        using var test = new OpTest(TestDevices.Checked);
        var problem = new MixerCase(test, 2, 48, SequenceCase.Mixed(70));
        Close.Exact(problem.Run(Fused, overY: true).Output, problem.Run(Fused).Output);
    }

    /// <summary>Blocks that wait for each other, in any order in which they begin.</summary>
    [Test]
    public void ScheduleDoesNotShow()
    {
        SequenceCase call = new([new(1, SequenceCase.From(3, 700)), new(0, [.. SequenceCase.From(0, 90), .. SequenceCase.From(0, 100), -1])], [0, 3]);
        Schedules.DoNotShow(Fused, test =>
        {
            var results = new MixerCase(test, 2, 32, call).Run(Fused);
            return [.. results.Output, .. results.Hidden];
        });
    }

    [Test]
    public void CallsAreServedByWhatFits()
    {
        var device = TestDevices.Checked;
        RecurrentMixer Op(ElementType type, int b, int taps = 4, string? variant = null) =>
            new(new ConvGates(new Conv1D(device, type, 2 * b, taps), new BlockDiagonalGates(device, type, 2 * b, 2)), new RgLru(device, type, 2 * b), variant);
        Assert.Multiple(() =>
        {
            Assert.That(Op(Type, 32, variant: Fused).VariantFor(1, 1), Is.EqualTo(Fused));
            Assert.That(Op(Type, 256, variant: Usual).VariantFor(1, 1), Is.EqualTo(Usual));
            Assert.That(Op(Type, 32, variant: RecurrentMixer.Separate).VariantFor(1000, 1), Is.EqualTo(RecurrentMixer.Separate));
            Assert.That(Op(Type, 24).VariantFor(1000, 1), Is.EqualTo(RecurrentMixer.Separate));
            Assert.That(Op(ElementType.Float32, 256).VariantFor(1000, 1), Is.EqualTo(RecurrentMixer.Separate));
            Assert.That(Op(Type, 256).VariantFor(63, 1), Is.EqualTo(RecurrentMixer.Separate));
            Assert.That(Op(Type, 256).VariantFor(640, 21), Is.EqualTo(RecurrentMixer.Separate));
            Assert.That(Op(Type, 256).VariantFor(640, 20), Is.EqualTo(device.Kind == GpuDeviceKind.Cuda ? Usual : RecurrentMixer.Separate));
            Assert.That(() => Op(Type, 32, variant: Usual), Throws.ArgumentException.With.Message.Contains("fit"));
            Assert.That(() => Op(Type, 32, taps: 3, variant: Fused), Throws.ArgumentException.With.Message.Contains("fit"));
            Assert.That(() => Op(Type, 32, variant: "fussed"), Throws.ArgumentException.With.Message.Contains(Fused));
            Assert.That(() => new RecurrentMixer(new ConvGates(new Conv1D(device, Type, 32, 4), new BlockDiagonalGates(device, Type, 32, 2)), new RgLru(device, Type, 64)),
                Throws.ArgumentException.With.Message.Contains("widths"));
        });
    }

    /// <summary>What the kernel declares itself counts too: in blocks of 768 that is what does not fit the 163 KB of a device.</summary>
    [Test]
    public void SharedMemoryOfFixedSizeCounts()
    {
        TestDevices.RequireEmulator();
        RecurrentMixer Op(int b)
        {
            var device = TestDevices.Checked;
            return new(new ConvGates(new Conv1D(device, Type, b, 4), new BlockDiagonalGates(device, Type, b, 1)), new RgLru(device, Type, b), Fused);
        }

        Assert.That(TestDevices.Checked.Limits.SharedBytesPerBlockOptIn, Is.EqualTo(163 * 1024));
        Assert.That(Op(736).VariantFor(1, 1), Is.EqualTo(Fused));
        Assert.That(() => Op(768), Throws.ArgumentException.With.Message.Contains("fit"));
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var test = new OpTest(TestDevices.Checked);
        const int tokens = 3, blocks = 2, b = 16, width = blocks * b;
        RecurrentMixer op = new(new ConvGates(new Conv1D(test.Device, Type, width, 4), new BlockDiagonalGates(test.Device, Type, width, blocks)), new RgLru(test.Device, Type, width), Fused);
        var rows = new SequenceCase([new(0, 0, 1, 2)], [0]).Upload(test);
        var (x, y, output, weight, vector) = (test.Output(tokens, width, Type), test.Output(tokens, width, Type), test.Output(tokens, width, Type), test.Output(width, b, Type), test.Output(1, width, Type));
        var hidden = new StateMemory(test, 1, width * sizeof(float)).State;
        var bytes = op.WorkspaceBytes(tokens, 1);
        var workspace = TensorView.Of(test.Allocate(bytes), 0, ElementType.UInt8, 1, bytes);
        void Run(TensorView x, TensorView y, TensorView output, TensorView weight, LayerState hidden, TensorView workspace) =>
            op.Run(test.Stream, rows, x, TensorView.Empty, test.Output(width, 4, Type), vector, weight, vector, weight, vector, y, TensorView.Empty, vector, output, default, hidden,
                TensorView.Empty, TensorView.Empty, workspace);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(x, y, x, weight, hidden, workspace), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(x, test.Output(tokens, width + 8, Type), output, weight, hidden, workspace), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(x, test.Output(tokens, width, Type, 3), output, weight, hidden, workspace), Throws.ArgumentException.With.Message.Contains("16 bytes"));
            Assert.That(() => Run(x, y, output, test.Output(width, 2 * b, Type), hidden, workspace), Throws.ArgumentException.With.Message.Contains("columns"));
            Assert.That(() => Run(x, y, output, weight, hidden with { SlotStride = 16 }, workspace), Throws.ArgumentException.With.Message.Contains("128"));
            Assert.That(() => Run(x, y, output, weight, hidden, workspace.ColumnRange(0, bytes - 1)), Throws.ArgumentException.With.Message.Contains("workspace"));
        });
    }

    /// <summary>The traffic that recurrent_mixer.cu promises, in whole sectors, and no bank conflict.</summary>
    [Test]
    public void TrafficIsWhatTheContractStates()
    {
        TestDevices.RequireEmulator("counts accesses");
        const int tokens = 512, blocks = 2, b = 256, splits = 2;   // 18 places do not give each of 108 multiprocessors two
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { CountAccesses = true });
        using var test = new OpTest(device);
        var problem = new MixerCase(test, blocks, b, new SequenceCase([new(0, SequenceCase.From(0, tokens))], [0]));
        device.TakeCounters();
        var operands = problem.Run(Usual, gap: 16).Operands;
        var counters = device.TakeCounters().Single(launch => launch.Kernel.Contains("recurrent_mixer", StringComparison.Ordinal));
        const long size = 2L * tokens * blocks * b;
        Assert.Multiple(() =>
        {
            Assert.That(counters[operands.X.Owner].BytesRead, Is.InRange(splits * size, (long)(1.05 * splits * size)), "x");
            Assert.That(counters[operands.X.Owner].RequestSectorsRead, Is.LessThanOrEqualTo((long)(1.05 * splits * size / 32)), "sectors of x");
            Assert.That((counters[operands.Y.Owner].BytesRead, counters[operands.Y.Owner].RequestSectorsRead), Is.EqualTo((size, size / 32)), "y");
            Assert.That((counters[operands.Output.Owner].BytesWritten, counters[operands.Output.Owner].RequestSectorsWritten), Is.EqualTo((size, size / 32)), "out");
            Assert.That(counters[operands.InputWeight.Owner].BytesRead, Is.EqualTo(2L * blocks * b * b * tokens / 64), "weights");
            Assert.That(counters[operands.Workspace.Owner].BytesWritten, Is.LessThanOrEqualTo(4 + (tokens / 64 * blocks * b * (8L + 1))), "maps and flags");
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo(2L * tokens * blocks * b * b));
            Assert.That(counters.BankConflicts, Is.Zero);
        });
    }
}
