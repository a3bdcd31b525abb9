namespace Griffin.Bench.Cases;

/// <summary>The positions of a call's rows, each row a slot of its own: -1 is padding, 0 begins a document.</summary>
/// <param name="Rows">Positions of each row.</param>
internal sealed record Sequences(IReadOnlyList<int[]> Rows)
{
    public int Tokens => Rows.Sum(row => row.Length);

    public int[] Positions => [.. Rows.SelectMany(row => row)];

    public int[] RowStart => [.. Enumerable.Range(0, Rows.Count + 1).Select(r => Rows.Take(r).Sum(row => row.Length))];

    /// <summary>What is timed: whole documents of equal length.</summary>
    public static Sequences Dense(long batch, long tokens) => new([.. Enumerable.Range(0, checked((int)batch)).Select(_ => From(0, checked((int)tokens)))]);

    /// <summary>What is checked: a document, one with a reset in its middle and padding at both ends, and one of a single token.</summary>
    public static Sequences Ragged(long tokens)
    {
        int length = checked((int)tokens), half = length / 2;
        return new([From(0, length), [-1, .. From(0, half), .. From(0, length - half + 1), -1, -1], From(0, 1)]);
    }

    /// <summary>One token a row, each at a position of its own.</summary>
    public static Sequences Steps(IEnumerable<int> positions) => new([.. positions.Select(position => new[] { position })]);

    private static int[] From(int first, int count) => [.. Enumerable.Range(first, count)];
}
