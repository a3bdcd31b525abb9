namespace Griffin.Kernels.Models;

/// <summary>The positions of one call: checked, completed, and what they do to each row's state.</summary>
/// <remarks>
/// A position is -1 (padding), 0 (a document starts) or the previous one + 1. The first position of a row continues its state, or is
/// anything from 0 up when the state is fresh.
/// </remarks>
internal static class PackedCall
{
    /// <summary>Positions that continue a state: next, next + 1, ….</summary>
    public static int[] Continue(int next, int count)
    {
        int[] positions = new int[count];
        for (int i = 0; i < count; i++) positions[i] = checked(next + i);
        return positions;
    }

    /// <summary>Refuses what the kernels do not define.</summary>
    /// <param name="positions">One row's positions.</param>
    /// <param name="fresh">Whether the row's state has seen nothing.</param>
    /// <param name="next">The position that continues the state.</param>
    /// <exception cref="ArgumentException">Names the index, the position, and what was expected there.</exception>
    public static void Check(ReadOnlySpan<int> positions, bool fresh, int next)
    {
        // What follows: previous + 1, where padding counts as -1. A state is continued through padding in front of it only by 0.
        long expected = next;
        bool anything = fresh;
        for (int i = 0; i < positions.Length; i++)
        {
            int position = positions[i];
            if (position < -1) throw Refused(i, position, expected);
            if (position > 0 && position != expected && !anything) throw Refused(i, position, expected);
            expected = position + 1L;
            anything = false;
        }
    }

    /// <summary>What the row's state has seen after the call.</summary>
    /// <param name="positions">One row's positions, checked.</param>
    /// <param name="seen">Tokens seen before the call since the state's reset or its last document start.</param>
    public static int SeenAfter(ReadOnlySpan<int> positions, int seen)
    {
        int last = LastToken(positions);
        return last < 0 ? seen : Math.Min(positions[last], seen + last) + 1;
    }

    /// <summary>Index of the last token that is not padding; -1 when there is none.</summary>
    public static int LastToken(ReadOnlySpan<int> positions) => positions.LastIndexOfAnyExcept(-1);

    private static ArgumentException Refused(int index, int position, long expected) => new(
        $"Position {position} at index {index} does not follow: expected {expected}, 0 (a new document) or -1 (padding).");
}
