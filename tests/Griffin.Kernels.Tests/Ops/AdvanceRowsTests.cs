using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
[AssertNoLeaks]
internal sealed class AdvanceRowsTests
{
    private const int Threads = 32;

    [Test]
    public void SeenFollowsTheLastRealToken()
    {
        (int[] Positions, int Seen, int Expected)[] rows =
        [
            ([0], 9, 1),                                                     // a new document forgets what the slot held
            (SequenceCase.From(5, 3), 5, 8),                                 // goes on
            (SequenceCase.From(5, 3), 0, 3),                                 // starts in mid-document on a fresh slot
            (SequenceCase.From(5, 3), 2, 5),                                 // goes on where the slot has seen less than the position says
            (SequenceCase.From(5, 3), 100, 8),                               // and where it has seen more
            ([3, 4, 0, 1], 3, 2), ([0, 1, 0], 0, 1),                         // documents start inside the row
            ([-1, -1, 0, 1], 8, 2), ([7, 8, -1, -1], 4, 6), ([-1, 0, -1], 2, 1),
            ([-1, -1], 6, 6), ([-1], 0, 0), ([], 4, 4),
            (SequenceCase.From((1 << 24) + 1, 2), (1 << 24) + 1, (1 << 24) + 3),
            ([4, 5, 6], int.MaxValue, 7),                                    // seen + index is past 32 bits
            ([int.MaxValue - 1], int.MaxValue - 1, int.MaxValue),
        ];
        var call = new SequenceCase([.. rows.Select((row, r) => new SequenceRow(rows.Length - r, row.Positions))],
            [31, .. rows.Reverse().Select(row => row.Seen), 37]);
        int[] expected = [31, .. rows.Reverse().Select(row => row.Expected), 37];
        Assert.That(Reference(call, step: false).Seen, Is.EqualTo(expected), "the reference itself");
        foreach (var seed in TestDevices.Seeds)
            AssertAdvance(seed, call, step: false);
    }

    [Test]
    public void EveryRowAdvances([Values(1, Threads - 1, Threads, Threads + 1, 97)] int rows, [Values] bool step)
    {
        foreach (var seed in TestDevices.Seeds)
            AssertAdvance(seed, RandomCall(new CounterRandom(seed), rows, step), step);
    }

    [Test]
    public void PositionsOfRealTokensMoveOnInSteps()
    {
        var call = new SequenceCase([new(4, 0), new(1, -1), new(3, 12), new(0, 12), new(5, 7)], [12, 6, 77, 3, 9, 0]);
        var (positions, seen) = Reference(call, step: true);
        Assert.Multiple(() =>
        {
            Assert.That(positions, Is.EqualTo(new[] { 1, -1, 13, 13, 8 }), "the reference itself");
            Assert.That(seen, Is.EqualTo(new[] { 13, 6, 77, 4, 1, 1 }), "the reference itself");
        });
        foreach (var seed in TestDevices.Seeds)
            AssertAdvance(seed, call, step: true);
    }

    [Test]
    public void NoRowsLaunchNothing([Values] bool step) => AssertAdvance(1, new SequenceCase([], [5, 6]), step);

    [Test]
    public void RefusesWrongArguments()
    {
        using var device = TestDevices.OpenChecked();
        using var test = new OpTest(device);
        var op = new AdvanceRows(device, step: false);
        TensorView positions = test.Integers(3, 4), seen = test.Integers(0, 3), floats = test.Output(1, 2, ElementType.Float32);
        var rows = new PackedRows(positions, test.Integers(0, 2), test.Integers(1), seen);
        Assert.Multiple(() =>
        {
            Assert.That(() => op.Run(test.Stream, rows, seen, test.Integers(3, 4, 5)), Throws.ArgumentException);
            Assert.That(() => op.Run(test.Stream, rows, seen, floats), Throws.ArgumentException.With.Message.Contains("Float32"));
            Assert.That(() => op.Run(test.Stream, rows, floats, positions), Throws.ArgumentException.With.Message.Contains("Float32"));
        });
    }

    // Three launches without the host between them, as a captured step is replayed; every element of both arrays is compared after them.
    private static void AssertAdvance(ulong seed, SequenceCase call, bool step)
    {
        using var device = TestDevices.OpenChecked(seed);
        using var test = new OpTest(device);
        using var positions = device.Upload<int>([.. call.Positions, Poison.Integer]);
        using var seen = device.Upload<int>([.. call.Seen]);
        var views = (Positions: TensorView.Of(positions.Memory, 0, ElementType.Int32, 1, call.Tokens), Seen: seen.View());
        var rows = new PackedRows(views.Positions, test.Integers(call.RowStart), test.Integers([.. call.Rows.Select(row => row.Slot)]), views.Seen);
        var op = new AdvanceRows(device, step);
        var expected = call;
        for (var launch = 0; launch < 3; launch++)
        {
            op.Run(test.Stream, rows, views.Seen, views.Positions);
            var (expectedPositions, expectedSeen) = Reference(expected, step);
            expected = new SequenceCase(
                [.. call.Rows.Select((row, r) => new SequenceRow(row.Slot, expectedPositions[call.RowStart[r]..call.RowStart[r + 1]]))], expectedSeen);
        }

        test.Stream.Synchronize();
        Assert.Multiple(() =>
        {
            Assert.That(seen.ToArray(), Is.EqualTo(expected.Seen), $"seen, seed {seed}");
            Assert.That(positions.ToArray(), Is.EqualTo((int[])[.. expected.Positions, Poison.Integer]), $"positions, seed {seed}");
        });
    }

    private static (int[] Positions, int[] Seen) Reference(SequenceCase call, bool step)
    {
        int[] positions = call.Positions, seen = [.. call.Seen];
        var token = 0;
        foreach (var row in call.Rows)
        {
            for (var j = 0; j < row.Positions.Length; j++, token++)
            {
                if (row.Positions[j] < 0)
                    continue;
                seen[row.Slot] = (int)Math.Min(row.Positions[j], (long)call.Seen[row.Slot] + j) + 1;
                if (step)
                    positions[token]++;
            }
        }

        return (positions, seen);
    }

    // Slots in random order with five to spare; rows of up to eight tokens and their padding, or of one token in steps.
    private static SequenceCase RandomCall(CounterRandom random, int rows, bool step)
    {
        var seen = random.Integers(rows + 5, 0, 60);
        int[] slots = [.. Enumerable.Range(0, seen.Length).OrderBy(_ => random.NextBits())];
        return new SequenceCase([.. slots.Take(rows).Select(slot => new SequenceRow(slot, step ? random.Integers(1, -1, 60) : Positions()))], seen);

        int[] Positions()
        {
            List<int> positions = [.. Enumerable.Repeat(-1, random.Integer(0, 3))];
            var position = positions.Count > 0 ? 0 : random.Integer(0, 60);
            for (var tokens = random.Integer(0, 9); tokens > 0; tokens--)
            {
                positions.Add(position);
                position = random.Integer(0, 6) == 0 ? 0 : position + 1;
            }

            return [.. positions, .. Enumerable.Repeat(-1, random.Integer(0, 3))];
        }
    }
}
