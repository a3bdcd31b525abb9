namespace Griffin.Kernels.Training;

/// <summary>
/// Where micro-batches come from. The content of micro-batch <c>index</c> is a pure function of the source's <see cref="Identity"/> and
/// the index, so that the data cursor of a run is one number.
/// </summary>
public interface IBatchSource
{
    /// <summary>A digest of the data and of every setting that decides what a micro-batch holds; a run is resumed only with the same one.</summary>
    string Identity { get; }

    /// <summary>Tokens are below this.</summary>
    int Vocabulary { get; }

    /// <summary>Rows of a micro-batch.</summary>
    int Rows { get; }

    /// <summary>Elements of a row.</summary>
    int Length { get; }

    /// <summary>How many micro-batches there are, indices 0 to this; null: they never end.</summary>
    long? Count { get; }

    /// <summary>Writes micro-batch <paramref name="index"/>, every element of it.</summary>
    /// <param name="index">From 0, below <see cref="Count"/>.</param>
    /// <param name="batch">Of <see cref="Rows"/> rows of <see cref="Length"/> elements.</param>
    /// <exception cref="ArgumentException">The index is outside the source, or the batch has another shape.</exception>
    void Fill(long index, MicroBatch batch);
}
