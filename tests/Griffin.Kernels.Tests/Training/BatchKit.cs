using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

/// <summary>Micro-batches and sources of tests.</summary>
internal static class BatchKit
{
    /// <summary>Rows of documents, each [tokens] long; a target is the next token of its document, the last one has none. What is left of a row is padding.</summary>
    public static MicroBatch Pack(int length, params int[][][] rows)
    {
        var batch = new MicroBatch(rows.Length, length);
        for (var row = 0; row < rows.Length; row++)
        {
            var place = 0;
            foreach (var document in rows[row])
            {
                for (var i = 0; i < document.Length; i++, place++)
                {
                    batch.Row(row).Tokens[place] = document[i];
                    batch.Row(row).Positions[place] = i;
                    if (i + 1 < document.Length)
                        batch.Row(row).Targets[place] = document[i + 1];
                }
            }
        }

        return batch;
    }

    /// <summary>A document of pseudo-random tokens.</summary>
    public static int[] Document(int seed, int length, int vocabulary)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(vocabulary))];
    }
}

/// <summary>A source that repeats the micro-batches it was given.</summary>
internal sealed class FixedSource(int vocabulary, params MicroBatch[] batches) : IBatchSource
{
    public string Identity { get; init; } = "fixed";

    public int Vocabulary => vocabulary;

    public int Rows => batches[0].Rows;

    public int Length => batches[0].Length;

    public long? Count => batches.Length;

    public void Fill(long index, MicroBatch batch)
    {
        var from = batches[index];
        from.Tokens.CopyTo(batch.Tokens);
        from.Positions.CopyTo(batch.Positions);
        from.Targets.CopyTo(batch.Targets);
    }
}
