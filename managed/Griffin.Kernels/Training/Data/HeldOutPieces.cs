using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training.Data;

/// <summary>
/// Held-out documents in consecutive pieces of at most a row's length, each from a fresh state with BOS in front: inputs BOS, b1 … b(n−1),
/// targets b1 … bn. Short pieces share a row; what no piece fills is padding. Every token is a target exactly once.
/// </summary>
public sealed class HeldOutPieces : IBatchSource
{
    private readonly DocumentSet _documents;
    private readonly int _bos;
    private readonly List<(int Document, int First, int Count)> _pieces = [];
    private readonly List<int> _rowStarts = [];

    /// <summary>Cuts documents into pieces.</summary>
    /// <param name="documents">The documents; they must not grow any more.</param>
    /// <param name="config">The model.</param>
    /// <param name="rows">Rows of a micro-batch.</param>
    /// <param name="length">Tokens of a piece at most.</param>
    /// <param name="tokens">Only so many tokens from the beginning; 0: all.</param>
    /// <exception cref="TrainingInputException">There are fewer tokens than asked for, or the model has no BOS.</exception>
    public HeldOutPieces(DocumentSet documents, GriffinConfig config, int rows, int length, long tokens = 0)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ArgumentOutOfRangeException.ThrowIfNegative(tokens);
        ArgumentOutOfRangeException.ThrowIfZero(documents.TokenCount, nameof(documents));
        if (tokens > documents.TokenCount)
            throw new TrainingInputException(documents.Name, $"holds {documents.TokenCount} tokens, {tokens} of them are to be scored: lower validation_tokens");
        _documents = documents;
        _bos = PackedDocuments.BosOf(config, documents);
        (Vocabulary, Rows, Length) = (config.Vocabulary, rows, length);
        Tokens = tokens == 0 ? documents.TokenCount : tokens;
        Cut();
        Identity = Digest();
    }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public int Vocabulary { get; }

    /// <inheritdoc/>
    public int Rows { get; }

    /// <inheritdoc/>
    public int Length { get; }

    /// <inheritdoc/>
    public long? Count => (_rowStarts.Count + Rows - 1) / Rows;

    /// <summary>Tokens that are scored.</summary>
    public long Tokens { get; }

    /// <inheritdoc/>
    public void Fill(long index, MicroBatch batch)
    {
        this.Check(index, batch);
        batch.Clear();
        for (int row = 0; row < Rows && index * Rows + row < _rowStarts.Count; row++) FillRow((int)(index * Rows) + row, batch.Row(row));
    }

    private void FillRow(int row, MicroBatchRow into)
    {
        int end = row + 1 < _rowStarts.Count ? _rowStarts[row + 1] : _pieces.Count, at = 0;
        for (int piece = _rowStarts[row]; piece < end; piece++)
        {
            (int document, int first, int count) = _pieces[piece];
            ReadOnlySpan<int> tokens = _documents[document].Slice(first, count);
            into.Tokens[at] = _bos;
            tokens[..^1].CopyTo(into.Tokens[(at + 1)..]);
            tokens.CopyTo(into.Targets[at..]);
            for (int i = 0; i < count; i++) into.Positions[at++] = i;
        }
    }

    private void Cut()
    {
        long left = Tokens;
        int used = Length;
        for (int document = 0; document < _documents.Count && left > 0; document++)
        {
            int tokens = (int)Math.Min(_documents[document].Length, left);
            left -= tokens;
            for (int first = 0; first < tokens; first += Length)
            {
                int count = Math.Min(Length, tokens - first);
                if (used + count > Length)
                {
                    _rowStarts.Add(_pieces.Count);
                    used = 0;
                }
                _pieces.Add((document, first, count));
                used += count;
            }
        }
    }

    private string Digest()
    {
        using SourceDigest digest = new("held-out pieces 1");
        digest.Add("vocabulary", Vocabulary).Add("bos", _bos).Add("rows", Rows).Add("length", Length);
        foreach ((int document, int first, int count) in _pieces) digest.Add("piece", _documents[document].Slice(first, count));
        return digest.Finish();
    }
}
