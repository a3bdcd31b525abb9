namespace Griffin.Kernels.Training.Tasks;

/// <summary>Which of a task's two unending supplies of sequences.</summary>
public enum TaskSplit
{
    /// <summary>Sequences to train on.</summary>
    Training,

    /// <summary>Sequences that training never sees, whatever its seed.</summary>
    HeldOut,
}

/// <summary>What all synthetic tasks need to know.</summary>
/// <param name="Rows">Sequences of a micro-batch, one a row.</param>
/// <param name="Length">Tokens of a row.</param>
public sealed record TaskSettings(int Rows, int Length)
{
    /// <summary>Decides the sequences.</summary>
    public ulong Seed { get; init; }

    /// <summary>Which supply they are taken from.</summary>
    public TaskSplit Split { get; init; }

    /// <summary>Micro-batches there are; null: they never end.</summary>
    public long? Count { get; init; }
}

/// <summary>
/// Sequences made by rule, one a row, scored at their answers only. A row is a pure function of (task, seed, split, its number); the draws of
/// the two splits have different keys for every pair of seeds.
/// </summary>
public abstract class SyntheticTask : IBatchSource
{
    private readonly ulong _key;

    private protected SyntheticTask(TaskSettings settings, int vocabulary)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Rows, nameof(settings));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Length, nameof(settings));
        if (settings.Count is { } count) ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(settings));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(settings.Seed, (ulong)long.MaxValue, nameof(settings));
        (Rows, Length, Count, Vocabulary) = (settings.Rows, settings.Length, settings.Count, vocabulary);
        // Twice the seed and one bit for the split, times an odd number, mixed: one to one, so no two keys are equal.
        _key = CounterHash.Mix(CounterHash.Golden * (2 * settings.Seed + (settings.Split == TaskSplit.HeldOut ? 1UL : 0)));
    }

    /// <inheritdoc/>
    public string Identity
    {
        get
        {
            using SourceDigest digest = new($"{GetType().Name} 1");
            digest.Add("rows", Rows).Add("length", Length).Add("count", Count).Add("vocabulary", Vocabulary).Add("key", _key);
            Describe(digest);
            return digest.Finish();
        }
    }

    /// <inheritdoc/>
    public int Vocabulary { get; }

    /// <inheritdoc/>
    public int Rows { get; }

    /// <inheritdoc/>
    public int Length { get; }

    /// <inheritdoc/>
    public long? Count { get; }

    /// <inheritdoc/>
    public void Fill(long index, MicroBatch batch)
    {
        this.Check(index, batch);
        batch.Clear();
        for (int row = 0; row < Rows; row++)
            FillRow(new CounterStream(CounterHash.At(_key, checked(index * Rows + row))), batch.Row(row));
    }

    /// <summary>Adds what is special to the task.</summary>
    private protected abstract void Describe(SourceDigest digest);

    /// <summary>Writes one sequence into a row that is all padding.</summary>
    private protected abstract void FillRow(CounterStream random, MicroBatchRow row);

    /// <summary>Makes the first elements of a row one document.</summary>
    private protected static void Number(MicroBatchRow row, int count)
    {
        for (int i = 0; i < count; i++) row.Positions[i] = i;
    }
}
