using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Rows of random tokens with a random target each: work to measure, nothing to learn.</summary>
internal sealed class RandomTokens(TaskSettings settings, int vocabulary) : SyntheticTask(settings, vocabulary)
{
    private protected override void Describe(SourceDigest digest)
    {
    }

    private protected override void FillRow(CounterStream random, MicroBatchRow row)
    {
        Number(row, Length);
        for (int i = 0; i < Length; i++) (row.Tokens[i], row.Targets[i]) = (random.Below(Vocabulary), random.Below(Vocabulary));
    }
}
