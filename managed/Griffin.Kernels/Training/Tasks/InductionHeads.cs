namespace Griffin.Kernels.Training.Tasks;

/// <summary>
/// Induction heads (Griffin paper, section on copying and retrieval): random tokens with a special one among them; where the special token
/// comes again, the answer is the token that followed its first appearance. The sequence ends with the special token.
/// </summary>
public sealed class InductionHeads : SyntheticTask
{
    private readonly int _recalls;

    /// <summary>Describes the task.</summary>
    /// <param name="settings">Rows, length (the paper: 256), seed, split.</param>
    /// <param name="vocabulary">Tokens, the last of which is the special one (the paper: 16).</param>
    /// <param name="recalls">Appearances after the first at most, each with an answer; all but the last at random places, followed by the answer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is below 3, the vocabulary below 2, or there is no recall.</exception>
    public InductionHeads(TaskSettings settings, int vocabulary = 16, int recalls = 1) : base(settings, vocabulary)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Length, 3, nameof(settings));
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabulary, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(recalls, 1);
        _recalls = recalls;
    }

    private protected override void Describe(SourceDigest digest) => digest.Add("recalls", _recalls);

    private protected override void FillRow(CounterStream random, MicroBatchRow row)
    {
        int special = Vocabulary - 1;
        Number(row, Length);
        foreach (ref int token in row.Tokens) token = random.Below(special);
        int first = random.Below(Length - 2), answer = row.Tokens[first + 1];
        row.Tokens[first] = special;
        Ask(row, Length - 1, answer);
        for (int recall = 1; recall < _recalls && Length - 4 - first > 0; recall++)
        {
            // Between the first appearance's answer and the last appearance; a place beside another appearance is given up.
            int place = first + 2 + random.Below(Length - 4 - first);
            if (row.Tokens[(place - 1)..(place + 2)].Contains(special)) continue;
            Ask(row, place, answer);
            row.Tokens[place + 1] = answer;
        }
    }

    private void Ask(MicroBatchRow row, int place, int answer)
    {
        row.Tokens[place] = Vocabulary - 1;
        row.Targets[place] = answer;
    }
}
