using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training.Data;

/// <summary>
/// Training rows that documents fill without a gap. All documents, each with EOS behind it, make one circle of tokens; an epoch cuts the
/// circle from a random place on into rows and visits them in a random order. Where a row or a document begins, the position is 0 and the
/// input BOS; elsewhere the input is the token before. Every token is a target once in an epoch, but for fewer than a row's.
/// </summary>
/// <remarks>The order is a pure function of (seed, epoch), and a row is found without any table: micro-batches need no state.</remarks>
public sealed class PackedDocuments : IBatchSource
{
    private readonly int[] _stream;
    private readonly int[] _starts;
    private readonly int _bos;
    private readonly ulong _key;
    private readonly long _rowsOfEpoch;

    /// <summary>Packs documents.</summary>
    /// <param name="documents">The documents.</param>
    /// <param name="config">The model, which says how documents begin and end.</param>
    /// <param name="rows">Rows of a micro-batch.</param>
    /// <param name="length">Tokens of a row.</param>
    /// <param name="seed">Decides where rows are cut and their order.</param>
    /// <exception cref="TrainingInputException">The documents do not fill one row, or the model has no BOS.</exception>
    public PackedDocuments(DocumentSet documents, GriffinConfig config, int rows, int length, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        _bos = BosOf(config, documents);
        int? eos = config.EosTokens.Count > 0 ? config.EosTokens[0] : null;
        long total = documents.TokenCount + (eos is null ? 0L : documents.Count);
        if (total < length)
            throw new TrainingInputException(documents.Name, $"holds {total} tokens, fewer than one row of {length}: give more data or a smaller context");
        (_stream, _starts) = Join(documents, eos, total);
        (Vocabulary, Rows, Length) = (config.Vocabulary, rows, length);
        _key = CounterHash.Mix(seed + CounterHash.Golden);
        _rowsOfEpoch = total / length;
        using SourceDigest digest = new("packed documents 1");
        Identity = digest.Add("vocabulary", Vocabulary).Add("bos", _bos).Add("rows", rows).Add("length", length).Add("seed", seed)
            .Add("starts", _starts).Add("tokens", _stream).Finish();
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
    public long? Count => null;

    /// <summary>Tokens that an epoch trains on, EOS included.</summary>
    public long TokensOfEpoch => _rowsOfEpoch * Length;

    /// <inheritdoc/>
    public void Fill(long index, MicroBatch batch)
    {
        this.Check(index, batch);
        for (int row = 0; row < Rows; row++)
        {
            (long epoch, long rank) = Math.DivRem(checked(index * Rows + row), _rowsOfEpoch);
            ulong key = CounterHash.At(_key, epoch);
            long phase = CounterHash.Below(CounterHash.At(key, 1), _stream.Length);
            long cut = new Permutation(_rowsOfEpoch, CounterHash.At(key, 2)).At(rank) * Length;
            FillRow((int)((phase + cut) % _stream.Length), batch.Row(row));
        }
    }

    /// <summary>The model's BOS, without which no document can begin.</summary>
    internal static int BosOf(GriffinConfig config, DocumentSet documents) => config.BosToken
        ?? throw new TrainingInputException(documents.Name, "cannot be packed for a model without a begin-of-sequence token: set bos_token_id");

    private void FillRow(int first, MicroBatchRow row)
    {
        int document = Array.BinarySearch(_starts, first);
        if (document < 0) document = ~document - 1;
        int at = first, position = 0;
        for (int i = 0; i < row.Tokens.Length; i++)
        {
            row.Positions[i] = position;
            row.Tokens[i] = position == 0 ? _bos : _stream[at - 1];
            row.Targets[i] = _stream[at++];
            position++;
            if (at < (document + 1 < _starts.Length ? _starts[document + 1] : _stream.Length)) continue;
            document = (document + 1) % _starts.Length;
            (at, position) = (_starts[document], 0);
        }
    }

    private static (int[] Stream, int[] Starts) Join(DocumentSet documents, int? eos, long total)
    {
        if (total > Array.MaxLength) throw new TrainingInputException(documents.Name, $"holds more than {Array.MaxLength} tokens, which one run does not hold: give fewer files");
        int[] stream = new int[total], starts = new int[documents.Count];
        int at = 0;
        for (int document = 0; document < starts.Length; document++)
        {
            starts[document] = at;
            documents[document].CopyTo(stream.AsSpan(at));
            at += documents[document].Length;
            if (eos is { } end) stream[at++] = end;
        }
        return (stream, starts);
    }
}
