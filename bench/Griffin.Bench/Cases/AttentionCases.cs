using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>Windowed multi-query attention: over the tokens of a call, its way back, and one query against a ring.</summary>
internal static class AttentionCases
{
    public static Workload Forward(CaseMemory memory, BenchRow row) => Forward(memory, row, null);

    public static Workload ForwardByWarpgroups(CaseMemory memory, BenchRow row) => Forward(memory, row, WindowAttention.Warpgroup);

    private static Workload Forward(CaseMemory memory, BenchRow row, string? variant)
    {
        (int heads, int headDim, int visible) = (row.Int("heads"), row.Int("head_dim"), row.Int("window") + 1);
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        WindowAttention op = new(memory.Device, memory.Type, heads, headDim, variant);
        PackedRows rows = memory.Rows(sequences);
        TensorView qkv = memory.Input(sequences.Tokens, (heads + 2L) * headDim), y = memory.Output(sequences.Tokens, (long)heads * headDim);
        return new(stream => op.Run(stream, rows, qkv, default, 0, visible, y), () =>
        {
            AttentionBackwardReference reference = new(heads, headDim, visible);
            double[] output = PerRow(sequences, memory.Read(qkv), (_, positions, part) => reference.Forward(positions, part).Output);
            return [new("y", y, () => output)];
        }, op.Variant);
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        (int heads, int headDim, int visible) = (row.Int("heads"), row.Int("head_dim"), row.Int("window") + 1);
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        WindowAttention forward = new(memory.Device, memory.Type, heads, headDim);
        WindowAttentionBackward op = new(memory.Device, memory.Type, heads, headDim);
        PackedRows rows = memory.Rows(sequences);
        int width = heads * headDim;
        TensorView qkv = memory.Input(sequences.Tokens, (heads + 2L) * headDim), dy = memory.Input(sequences.Tokens, width), y = memory.Output(sequences.Tokens, width);
        TensorView logarithms = memory.Output(sequences.Tokens, heads, ElementType.Float32), gradient = memory.Output(sequences.Tokens, (heads + 2L) * headDim);
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(sequences.Tokens));
        forward.Run(memory.Stream, rows, qkv, default, 0, visible, y, logarithms);
        return new(stream => op.Run(stream, rows, qkv, visible, y, dy, logarithms, gradient, workspace), () =>
        {
            AttentionBackwardReference reference = new(heads, headDim, visible);
            double[] slopes = memory.Read(dy);
            double[] expected = PerRow(sequences, memory.Read(qkv), (first, positions, part) =>
                reference.Backward(positions, part, slopes[(first * width)..((first + positions.Length) * width)], memory.Type == ElementType.BFloat16).Gradient);
            return [new("gradient", gradient, () => expected)];
        });
    }

    public static Workload Decode(CaseMemory memory, BenchRow row)
    {
        (int heads, int headDim, int slots, int batch) = (row.Int("heads"), row.Int("head_dim"), row.Int("window") + 1, row.Int("batch"));
        int context = row.Int("context");
        // To be checked: the first token of a sequence, a ring that is not full, and one that has gone round.
        Sequences steps = Sequences.Steps(Enumerable.Range(0, batch).Select(r => memory.IsGate ? (r % 3) switch { 0 => context, 1 => 0, _ => slots + context } : context));
        DecodeAttention op = new(memory.Device, memory.Type, heads, headDim);
        int[] seen = [.. steps.Positions.Select(position => Math.Min(position, slots - 1))];
        PackedRows rows = memory.Rows(steps, seen);
        TensorView qkv = memory.Input(batch, (heads + 2L) * headDim), ring = memory.Input(batch, 2L * slots * headDim), y = memory.Output(batch, (long)heads * headDim);
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(batch, slots)), arrivals = memory.Zeros(1, op.ArrivalBytes(batch, slots), ElementType.UInt8);
        LayerState state = CaseMemory.State(ring);
        return new(stream => op.Run(stream, rows, qkv, state, slots, slots, y, workspace, arrivals), () =>
        {
            double[] queries = memory.Read(qkv), rings = memory.Read(ring);
            AttentionReference reference = new(heads, headDim, slots);
            double[] expected = [.. Enumerable.Range(0, batch).SelectMany(r => reference.Compute(RingRow(r)).Output)];
            return [new("y", y, () => expected)];

            // The token's own key and value lie in the ring already, and so do those before it.
            AttentionReference.Row RingRow(int r)
            {
                int position = steps.Positions[r], width = (heads + 2) * headDim;
                float[] own = [.. Floats(queries, r * width, heads * headDim), .. Entry(r, position, 0), .. Entry(r, position, slots)];
                IEnumerable<int> past = Enumerable.Range(position - seen[r], seen[r]);
                return new([position], seen[r], own, [.. past.SelectMany(p => Entry(r, p, 0))], [.. past.SelectMany(p => Entry(r, p, slots))]);
            }

            IEnumerable<float> Entry(int r, int position, int offset) => Floats(rings, (2 * slots * r + offset + position % slots) * headDim, headDim);
        });
    }

    private static IEnumerable<float> Floats(double[] values, int first, int count) => values.Skip(first).Take(count).Select(value => (float)value);

    // Padding has no output; its place is zeros.
    private static double[] PerRow(Sequences sequences, double[] qkv, Func<int, int[], double[], double[]> compute)
    {
        int width = qkv.Length / sequences.Tokens, first = 0;
        List<double> all = [];
        foreach (int[] positions in sequences.Rows)
        {
            all.AddRange(compute(first, positions, qkv[(first * width)..((first + positions.Length) * width)]));
            first += positions.Length;
        }

        return [.. all];
    }
}
