namespace Griffin.Kernels.Models;

/// <summary>Cuts a call into pieces of at most so many tokens and rows; a row longer than a piece goes on in the next one.</summary>
internal sealed class CallPieces(int[] rowStart, int maxTokens, int maxRows)
{
    private readonly List<PieceRow> _rows = [];
    private int _row;
    private int _token;

    /// <summary>The current piece's runs of tokens, at most one a row.</summary>
    public IReadOnlyList<PieceRow> Rows => _rows;

    /// <summary>Moves to the next piece; false when the call is done.</summary>
    public bool Next()
    {
        _rows.Clear();
        int room = maxTokens;
        while (_row < rowStart.Length - 1 && room > 0 && _rows.Count < maxRows)
        {
            int count = Math.Min(room, rowStart[_row + 1] - _token);
            bool isEnd = _token + count == rowStart[_row + 1];
            if (count > 0) _rows.Add(new PieceRow(_row, _token, count, isEnd));
            _token += count;
            room -= count;
            if (isEnd) _row++;
        }

        return _rows.Count > 0;
    }
}

/// <summary>A run of one row's tokens.</summary>
/// <param name="Row">The row of the call.</param>
/// <param name="Start">Index of the first token in the call.</param>
/// <param name="Count">Tokens.</param>
/// <param name="IsEnd">Whether the row ends here.</param>
internal readonly record struct PieceRow(int Row, int Start, int Count, bool IsEnd);
