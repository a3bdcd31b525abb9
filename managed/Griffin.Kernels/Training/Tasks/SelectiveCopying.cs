namespace Griffin.Kernels.Training.Tasks;

/// <summary>
/// Selective copying (Griffin paper, section on copying and retrieval): data tokens scattered at random places in noise, to be given out in
/// their order at the end. Token 0 is the noise, token 1 stands where an answer is wanted, the others are data.
/// </summary>
public sealed class SelectiveCopying : SyntheticTask
{
    private const int Noise = 0, Wanted = 1, FirstData = 2;

    private readonly int _dataTokens;

    /// <summary>Describes the task.</summary>
    /// <param name="settings">Rows, length with the answers (the paper: 1024), seed, split.</param>
    /// <param name="vocabulary">Tokens (the paper: 16).</param>
    /// <param name="dataTokens">Data tokens K of a sequence (the paper: 16); its last K elements are the answers.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is below 2·K, K below 1, or the vocabulary below 3.</exception>
    public SelectiveCopying(TaskSettings settings, int vocabulary = 16, int dataTokens = 16) : base(settings, vocabulary)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dataTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Length / 2, dataTokens, nameof(settings));
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabulary, FirstData + 1);
        _dataTokens = dataTokens;
    }

    private protected override void Describe(SourceDigest digest) => digest.Add("data tokens", _dataTokens);

    private protected override void FillRow(CounterStream random, MicroBatchRow row)
    {
        int places = Length - _dataTokens, placed = 0;
        Number(row, Length);
        for (int i = 0; i < places; i++)
        {
            // Each place is taken with the chance (data left) / (places left): every choice of places is as likely.
            bool taken = random.Below(places - i) < _dataTokens - placed;
            row.Tokens[i] = taken ? FirstData + random.Below(Vocabulary - FirstData) : Noise;
            if (taken) row.Targets[places + placed++] = row.Tokens[i];
        }
        row.Tokens[places..].Fill(Wanted);
    }
}
