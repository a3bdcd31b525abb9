using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The RG-LRU from gate logits.</summary>
internal static class ScanCases
{
    private const int StepPosition = 100;

    public static Workload Forward(CaseMemory memory, BenchRow row) => Forward(memory, row, Op(memory, row.Int("width")));

    public static Workload ForwardByClusters(CaseMemory memory, BenchRow row) => Forward(memory, row, new RgLru(memory.Device, memory.Type, row.Int("width"), RgLru.Cluster));

    private static Workload Forward(CaseMemory memory, BenchRow row, RgLru op)
    {
        int width = row.Int("width");
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        PackedRows rows = memory.Rows(sequences);
        TensorView z = memory.Input(sequences.Tokens, width), gates = memory.Input(sequences.Tokens, 2L * width), y = memory.Input(sequences.Tokens, width);
        TensorView lambda = memory.Vector(width, InputRules.Lambda), output = memory.Output(sequences.Tokens, width);
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(sequences.Tokens, sequences.Rows.Count));
        return new(stream => op.Run(stream, rows, z, gates, y, TensorView.Empty, lambda, output, LayerState.None, workspace), () =>
        {
            (double[] zs, double[] logits, double[] branch, double[] decay) = (memory.Read(z), memory.Read(gates), memory.Read(y), memory.Read(lambda));
            return [new("output", output, () => Outputs(new RgLruReference(width, decay), sequences, zs, logits, branch, width))];
        }, op.VariantFor(sequences.Tokens, sequences.Rows.Count));
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        RgLruBackward op = BackwardOp(memory, width);
        PackedRows rows = memory.Rows(sequences);
        TensorView z = memory.Input(sequences.Tokens, width), gates = memory.Input(sequences.Tokens, 2L * width), y = memory.Input(sequences.Tokens, width);
        TensorView lambda = memory.Vector(width, InputRules.Lambda), hidden = memory.Input(sequences.Tokens, width), dout = memory.Input(sequences.Tokens, width);
        TensorView dz = memory.Output(sequences.Tokens, width), dgates = memory.Output(sequences.Tokens, 2L * width), dy = memory.Output(sequences.Tokens, width);
        TensorView dlambda = memory.Zeros(1, width, ElementType.Float32), workspace = memory.Workspace(op.WorkspaceBytes(sequences.Tokens, sequences.Rows.Count));
        return new(stream => op.Run(stream, rows, z, gates, y, TensorView.Empty, lambda, hidden, dout, dz, dgates, dy, dlambda, workspace), () =>
        {
            RgLruGradient gradient = RgLruGradient.Of(sequences.Rows, memory.Read(lambda), memory.Read(z), memory.Read(gates), memory.Read(y), memory.Read(hidden), memory.Read(dout));
            return [new("dz", dz, () => gradient.Dz), new("dgates", dgates, () => gradient.Dgates), new("dy", dy, () => gradient.Dy), new("dlambda", dlambda, () => gradient.Dlambda)];
        }, op.VariantFor(sequences.Tokens, sequences.Rows.Count));
    }

    public static Workload Step(CaseMemory memory, BenchRow row)
    {
        (int width, int batch) = (row.Int("width"), row.Int("batch"));
        Sequences steps = Sequences.Steps(Enumerable.Repeat(StepPosition, batch));
        RgLruStep op = new(memory.Device, memory.Type, width);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        TensorView z = memory.Input(batch, width), gates = memory.Input(batch, 2L * width), y = memory.Input(batch, width), lambda = memory.Vector(width, InputRules.Lambda);
        TensorView slots = memory.Input(batch, width, of: ElementType.Float32), output = memory.Output(batch, width);
        LayerState state = CaseMemory.State(slots);
        return new(stream => op.Run(stream, rows, z, gates, y, TensorView.Empty, lambda, output, state), () =>
        {
            RgLruReference reference = new(width, memory.Read(lambda));
            SetPast(reference, memory.Read(slots), width);
            double[] expected = Outputs(reference, steps, memory.Read(z), memory.Read(gates), memory.Read(y), width);
            return [new("output", output, () => expected), new("state", slots, () => [.. Enumerable.Range(0, batch).SelectMany(reference.State)])];
        });
    }

    /// <summary>Gives slot after slot its h.</summary>
    public static void SetPast(RgLruReference reference, double[] past, int width)
    {
        foreach ((int slot, double[] h) in past.Chunk(width).Index()) reference.SetPast(slot, Array.ConvertAll(h, value => (float)value));
    }

    /// <summary>The forward scan of a row of sequences.</summary>
    public static RgLru Op(CaseMemory memory, int width) =>
        memory.Op(variant => new RgLru(memory.Device, memory.Type, width, variant), (op, row) => op.VariantFor((int)row.AllTokens, row.Int("batch")));

    /// <summary>The way back of a row of sequences.</summary>
    public static RgLruBackward BackwardOp(CaseMemory memory, int width) =>
        memory.Op(variant => new RgLruBackward(memory.Device, memory.Type, width, variant), (op, row) => op.VariantFor((int)row.AllTokens, row.Int("batch")));

    /// <summary>What the scan gives for every token; <paramref name="afterToken"/> is told each token's slot and position.</summary>
    public static double[] Outputs(
        RgLruReference reference, Sequences sequences, double[] z, double[] gates, double[] branch, int width, Action<int, int>? afterToken = null)
    {
        List<double> outputs = [];
        int token = 0;
        foreach ((int slot, int[] positions) in sequences.Rows.Index())
        {
            foreach (int position in positions)
            {
                ReadOnlySpan<double> logits = gates.AsSpan(2 * token * width, 2 * width);
                outputs.AddRange(reference.Step(slot, position, z.AsSpan(token * width, width), logits[..width], logits[width..], branch.AsSpan(token * width, width)).Output);
                afterToken?.Invoke(slot, position);
                token++;
            }
        }

        return [.. outputs];
    }
}
