using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>One row of a call: its slot and the positions of its tokens.</summary>
internal sealed record SequenceRow(int Slot, params int[] Positions);

/// <summary>The rows of one call over sequences on the host: what <see cref="PackedRows"/> is on the device.</summary>
/// <param name="Rows">The rows.</param>
/// <param name="Seen">Tokens that each slot of the pool has seen.</param>
internal sealed record SequenceCase(IReadOnlyList<SequenceRow> Rows, IReadOnlyList<int> Seen)
{
    /// <summary>Slots of the pool, more than the rows use, so that a write to a wrong one shows.</summary>
    public int Slots => Seen.Count;

    public int Tokens => Rows.Sum(row => row.Positions.Length);

    /// <summary>The positions of all tokens.</summary>
    public int[] Positions => [.. Rows.SelectMany(row => row.Positions)];

    /// <summary>The packed index of each row's first token, and the number of tokens.</summary>
    public int[] RowStart => [.. Enumerable.Range(0, Rows.Count + 1).Select(r => Rows.Take(r).Sum(row => row.Positions.Length))];

    /// <summary>
    /// Rows of every kind: one document; several in a row; one that goes on; one that goes on and then starts anew; padding on either side; a first
    /// position in mid-document on a fresh slot; nothing but padding; nothing at all. <paramref name="length"/> is the length of the longer rows.
    /// </summary>
    public static SequenceCase Mixed(int length) => new(
    [
        new(3, From(0, length)),
        new(0, [.. From(0, length / 3), .. From(0, 1), .. From(0, length - (length / 3) + 2)]),
        new(5, From(7, length)),
        new(7),
        new(1, [.. From(2, 2), .. From(0, length)]),
        new(6, [-1, -1, .. From(0, length), -1, -1, -1]),
        new(2, From(4, length)),
        new(8, -1, -1),
        new(9, From(1, 1)),
    ],
        [0, 4, 0, 0, 9, 7, 3, 2, 5, 1, 0]);

    /// <summary>Slots whose state the call changes: those of rows with a token that is not padding.</summary>
    public IEnumerable<int> ChangedSlots => Rows.Where(row => row.Positions.Any(position => position >= 0)).Select(row => row.Slot);

    /// <summary>Positions first, first + 1, …</summary>
    public static int[] From(int first, int count) => [.. Enumerable.Range(first, count)];

    /// <summary>The call on a device.</summary>
    public PackedRows Upload(OpTest test) =>
        new(test.Integers(Positions), test.Integers(RowStart), test.Integers([.. Rows.Select(row => row.Slot)]), test.Integers([.. Seen]));

    /// <summary>The slots after the call: tokens since the last position 0, or since before.</summary>
    public int[] SeenAfter()
    {
        int[] after = [.. Seen];
        foreach (var row in Rows)
        {
            foreach (var position in row.Positions.Where(position => position >= 0))
                after[row.Slot] = position == 0 ? 1 : after[row.Slot] + 1;
        }

        return after;
    }

    /// <summary>The tokens first … first+count-1 of every row that has any as a call of their own, and the packed index of each.</summary>
    public (SequenceCase Call, int[] Tokens) Part(int first, int count, IReadOnlyList<int> seen)
    {
        List<SequenceRow> rows = [];
        List<int> tokens = [];
        var start = 0;
        foreach (var row in Rows)
        {
            var from = Math.Min(first, row.Positions.Length);
            var part = row.Positions[from..Math.Min(first + count, row.Positions.Length)];
            if (part.Length > 0)
                rows.Add(row with { Positions = part });
            tokens.AddRange(From(start + from, part.Length));
            start += row.Positions.Length;
        }

        return (new SequenceCase(rows, seen), [.. tokens]);
    }
}
