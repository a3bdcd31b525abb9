using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training.Tasks;

/// <summary>How often a model's most likely token is the answer.</summary>
/// <param name="Sequences">Sequences asked.</param>
/// <param name="Solved">Sequences whose last answer, all its tokens, was right.</param>
/// <param name="Answers">Answer tokens.</param>
/// <param name="Right">Answer tokens that were right.</param>
public sealed record TaskScore(long Sequences, long Solved, long Answers, long Right)
{
    /// <summary>The part of the sequences that was solved.</summary>
    public double Accuracy => Sequences == 0 ? double.NaN : Solved / (double)Sequences;
}

/// <summary>Asks a model a task's sequences, with the right tokens before each answer as input.</summary>
public static class TaskAccuracy
{
    /// <summary>Scores sequences from the source's first on.</summary>
    /// <param name="model">The model.</param>
    /// <param name="source">One sequence a row, from a fresh state.</param>
    /// <param name="sequences">How many.</param>
    /// <param name="cancellationToken">Stops between micro-batches.</param>
    public static TaskScore Score(GriffinModel model, IBatchSource source, long sequences, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegative(sequences);
        if (source.Vocabulary > model.Config.Vocabulary)
            throw new ArgumentException($"The task has {source.Vocabulary} tokens, the model {model.Config.Vocabulary}.", nameof(source));
        using GriffinSession session = model.CreateSession(new SessionOptions { Slots = 1, MaxBatch = 1, ChunkTokens = Math.Min(source.Length, 2048), GlobalCapacity = source.Length });
        using DecodeState state = session.States.Rent();
        MicroBatch batch = new(source.Rows, source.Length);
        float[] logits = new float[checked((long)source.Length * model.Config.Vocabulary)];
        TaskScore score = new(0, 0, 0, 0);
        for (long index = 0; score.Sequences < sequences; index++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            source.Fill(index, batch);
            for (int row = 0; row < source.Rows && score.Sequences < sequences; row++) score = Ask(session, state, batch.Row(row), logits, score);
        }
        return score;
    }

    private static TaskScore Ask(GriffinSession session, DecodeState state, MicroBatchRow row, float[] logits, TaskScore score)
    {
        int vocabulary = session.Model.Config.Vocabulary, count = row.Targets.LastIndexOfAnyExcept(MicroBatch.NotScored) + 1;
        if (count == 0) throw new ArgumentException("A sequence has no answer.", nameof(row));
        state.Reset();
        session.Forward([state], [0, count], row.Tokens[..count], [], LogitsSelection.All, logits.AsSpan(0, count * vocabulary));
        int answers = 0, right = 0;
        bool lastRight = true, inLast = true;
        for (int i = count - 1; i >= 0; i--)
        {
            inLast &= row.Targets[i] >= 0;
            if (row.Targets[i] < 0) continue;
            bool same = MostLikely(logits.AsSpan(i * vocabulary, vocabulary)) == row.Targets[i];
            answers++;
            right += same ? 1 : 0;
            lastRight &= same || !inLast;
        }
        return new TaskScore(score.Sequences + 1, score.Solved + (lastRight ? 1 : 0), score.Answers + answers, score.Right + right);
    }

    private static int MostLikely(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int i = 1; i < logits.Length; i++) best = logits[i] > logits[best] ? i : best;
        return best;
    }
}
