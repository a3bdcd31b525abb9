namespace Griffin.Kernels.Training;

/// <summary>What every source refuses.</summary>
internal static class BatchChecks
{
    /// <summary>Refuses an index outside the source, and a batch of another shape.</summary>
    internal static void Check(this IBatchSource source, long index, MicroBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        if (source.Count is { } count) ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, count);
        if ((batch.Rows, batch.Length) != (source.Rows, source.Length))
            throw new ArgumentException($"The batch is [{batch.Rows}, {batch.Length}], the source's are [{source.Rows}, {source.Length}].", nameof(batch));
    }
}
