namespace Griffin.Kernels.Models;

public sealed partial class GriffinSession
{
    private int[] CheckCall(
        ReadOnlySpan<DecodeState> states, ReadOnlySpan<int> rowStart, ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, LogitsSelection which, Span<float> logits)
    {
        CheckStates(states);
        if (rowStart.Length != states.Length + 1 || rowStart[0] != 0 || rowStart[^1] != tokens.Length)
            throw new ArgumentException($"Row starts must be {states.Length + 1} numbers from 0 to {tokens.Length}.", nameof(rowStart));
        if (!positions.IsEmpty && positions.Length != tokens.Length)
            throw new ArgumentException($"{tokens.Length} tokens need as many positions, not {positions.Length}.", nameof(positions));
        for (int row = 0; row < states.Length; row++)
        {
            if (rowStart[row + 1] < rowStart[row]) throw new ArgumentException($"Row {row} ends before it starts.", nameof(rowStart));
        }

        Model.CheckTokens(tokens);
        long rowsOfLogits = which switch { LogitsSelection.None => 0, LogitsSelection.Last => states.Length, _ => tokens.Length };
        long wanted = rowsOfLogits * Model.Config.Vocabulary;
        if (logits.Length != wanted && (which != LogitsSelection.Last || tokens.Length > 0))
            throw new ArgumentException($"The logits need room for {wanted} numbers, not {logits.Length}.", nameof(logits));

        int[] resolved = new int[tokens.Length];
        for (int row = 0; row < states.Length; row++)
        {
            DecodeState state = states[row];
            Span<int> own = resolved.AsSpan(rowStart[row], rowStart[row + 1] - rowStart[row]);
            if (positions.IsEmpty)
                PackedCall.Continue(state.NextPosition, own.Length).CopyTo(own);
            else
                positions.Slice(rowStart[row], own.Length).CopyTo(own);
            PackedCall.Check(own, state.Seen == 0, state.NextPosition);
            CheckCapacity(own);
        }

        return resolved;
    }

    private void CheckStates(ReadOnlySpan<DecodeState> states)
    {
        for (int i = 0; i < states.Length; i++)
        {
            ArgumentNullException.ThrowIfNull(states[i]);
            states[i].CheckUse();
            if (!states[i].BelongsTo(States)) throw new ArgumentException($"State {i} belongs to another session.", nameof(states));
            for (int j = 0; j < i; j++)
            {
                if (states[j] == states[i]) throw new ArgumentException($"Rows {j} and {i} share a state: fork it.", nameof(states));
            }
        }
    }

    // A layer without a window holds every token of the document; one more than its capacity would overwrite the first.
    internal void CheckCapacity(ReadOnlySpan<int> positions)
    {
        if (Model.Config.Window is not null || Model.Config.AttentionLayers == 0) return;
        int outside = positions.IndexOfAnyInRange(States.Layout.RingSlots, int.MaxValue);
        if (outside >= 0)
        {
            throw new ArgumentException(
                $"Position {positions[outside]} exceeds the capacity of {States.Layout.RingSlots} tokens that global attention was given: make the session with a larger GlobalCapacity.",
                nameof(positions));
        }
    }
}
