using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>Rotary positions, and keys and values on their way into the ring.</summary>
internal static class RotaryCases
{
    private const double BaseFrequency = 10_000;

    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        (int heads, int headDim) = (row.Int("heads"), row.Int("head_dim"));
        int rotated = headDim / 2, width = (heads + 2) * headDim;
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        RotaryEmbedding op = new(memory.Device, memory.Type, heads, headDim, rotated);
        TensorView qkv = memory.Input(sequences.Tokens, width), positions = memory.Given<int>(sequences.Positions);
        TensorView phases = Phases(memory, rotated);
        return new(stream => op.Run(stream, qkv, positions, phases), () =>
        {
            double[] expected = Rotated(memory.Read(qkv), sequences.Positions, heads, headDim);
            return [new("qkv", qkv, () => expected)];
        });
    }

    public static Workload Step(CaseMemory memory, BenchRow row)
    {
        (int heads, int headDim, int batch, int slots) = (row.Int("heads"), row.Int("head_dim"), row.Int("batch"), row.Int("window") + 1);
        int rotated = headDim / 2, width = (heads + 2) * headDim;
        Sequences steps = Sequences.Steps(Enumerable.Range(0, batch).Select(r => slots + r));
        RotaryStep op = new(memory.Device, memory.Type, heads, headDim, rotated);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        TensorView qkv = memory.Input(batch, width), phases = Phases(memory, rotated);
        TensorView ring = memory.Zeros(batch, 2L * slots * headDim, memory.Type);
        LayerState state = CaseMemory.State(ring);
        return new(stream => op.Run(stream, rows, qkv, phases, state, slots), () =>
        {
            double[] before = memory.Read(qkv), after = Rotated(before, steps.Positions, heads, headDim), rings = new double[batch * 2 * slots * headDim];
            for (int r = 0; r < batch; r++) Store(rings, r, steps.Positions[r], slots, after.AsSpan((r * width) + heads * headDim, 2 * headDim));
            for (int r = 0; r < batch; r++) before.AsSpan((r * width) + heads * headDim, 2 * headDim).CopyTo(after.AsSpan((r * width) + heads * headDim));
            return [new("qkv", qkv, () => after), new("ring", ring, () => rings)];
        });
    }

    public static Workload RingAppend(CaseMemory memory, BenchRow row)
    {
        (int heads, int headDim, int slots) = (row.Int("heads"), row.Int("head_dim"), row.Int("window") + 1);
        int width = (heads + 2) * headDim;
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        RingAppend op = new(memory.Device, memory.Type, heads, headDim);
        PackedRows rows = memory.Rows(sequences);
        TensorView qkv = memory.Input(sequences.Tokens, width), ring = memory.Zeros(sequences.Rows.Count, 2L * slots * headDim, memory.Type);
        LayerState state = CaseMemory.State(ring);
        return new(stream => op.Run(stream, rows, qkv, state, slots), () =>
        {
            double[] values = memory.Read(qkv), rings = new double[sequences.Rows.Count * 2 * slots * headDim];
            int token = 0;
            foreach ((int r, int[] positions) in sequences.Rows.Index())
            {
                // Of the row's last document the newest tokens, one for each slot of the ring.
                int start = Array.LastIndexOf(positions, 0), end = Array.FindLastIndex(positions, position => position >= 0) + 1;
                for (int t = Math.Max(start, end - slots); t < end; t++) Store(rings, r, positions[t], slots, values.AsSpan((token + t) * width + heads * headDim, 2 * headDim));
                token += positions.Length;
            }

            return [new("ring", ring, () => rings)];
        });
    }

    /// <summary>The phases of so many channels.</summary>
    public static TensorView Phases(CaseMemory memory, int rotated) => memory.Given<ulong>(RotaryPhases.Compute(rotated, BaseFrequency));

    /// <summary>Rows q|k|v with the first half of each head of q and k rotated.</summary>
    public static double[] Rotated(double[] qkv, int[] positions, int heads, int headDim)
    {
        int width = (heads + 2) * headDim;
        float[] values = Array.ConvertAll(qkv, value => (float)value);
        return [.. positions.SelectMany((position, t) => RotaryReference.Rotate(values.AsSpan(t * width, width), heads, headDim, headDim / 2, position))];
    }

    /// <summary>Puts a key and a value into a slot's ring: keys first, then values.</summary>
    public static void Store(double[] rings, int slot, int position, int slots, ReadOnlySpan<double> keyValue)
    {
        int headDim = keyValue.Length / 2, key = (2 * slots * slot + position % slots) * headDim;
        keyValue[..headDim].CopyTo(rings.AsSpan(key));
        keyValue[headDim..].CopyTo(rings.AsSpan(key + slots * headDim));
    }
}
