namespace Griffin.Kernels.Training;

/// <summary>
/// Rows of tokens for one forward and backward pass, on the host. Everything is [rows · length], row after row; every row begins from a
/// fresh state, and a position of 0 inside a row begins another document.
/// </summary>
public sealed class MicroBatch
{
    /// <summary>The position of an element that is padding.</summary>
    public const int Padding = -1;

    /// <summary>The target of an element that is not scored.</summary>
    public const int NotScored = -1;

    private readonly int[] _tokens, _positions, _targets;

    /// <summary>Makes a micro-batch that is all padding.</summary>
    /// <param name="rows">Rows R.</param>
    /// <param name="length">Elements T of a row.</param>
    public MicroBatch(int rows, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        (Rows, Length) = (rows, length);
        int count = checked(rows * length);
        (_tokens, _positions, _targets) = (new int[count], new int[count], new int[count]);
        Clear();
    }

    /// <summary>Rows R.</summary>
    public int Rows { get; }

    /// <summary>Elements T of a row.</summary>
    public int Length { get; }

    /// <summary>Token ids [R · T]; 0 where the position is <see cref="Padding"/>.</summary>
    public Span<int> Tokens => _tokens;

    /// <summary>Positions [R · T]: 0 where a document begins, the one before + 1 inside it, <see cref="Padding"/> outside any.</summary>
    public Span<int> Positions => _positions;

    /// <summary>The token that should follow each element [R · T], or <see cref="NotScored"/>.</summary>
    public Span<int> Targets => _targets;

    /// <summary>Elements that have a target.</summary>
    public int Scored
    {
        get
        {
            int count = 0;
            foreach (int target in _targets) count += target >= 0 ? 1 : 0;
            return count;
        }
    }

    /// <summary>Makes every element padding.</summary>
    public void Clear()
    {
        Array.Clear(_tokens);
        Array.Fill(_positions, Padding);
        Array.Fill(_targets, NotScored);
    }

    /// <summary>One row's tokens, positions and targets, to read or write.</summary>
    /// <param name="row">Which row.</param>
    public MicroBatchRow Row(int row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
        int first = row * Length;
        return new MicroBatchRow(_tokens.AsSpan(first, Length), _positions.AsSpan(first, Length), _targets.AsSpan(first, Length));
    }
}

/// <summary>One row of a micro-batch, in place.</summary>
public readonly ref struct MicroBatchRow
{
    internal MicroBatchRow(Span<int> tokens, Span<int> positions, Span<int> targets)
    {
        Tokens = tokens;
        Positions = positions;
        Targets = targets;
    }

    /// <summary>Token ids [T].</summary>
    public Span<int> Tokens { get; }

    /// <summary>Positions [T].</summary>
    public Span<int> Positions { get; }

    /// <summary>Targets [T].</summary>
    public Span<int> Targets { get; }
}
