using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The short convolution.</summary>
internal static class ConvCases
{
    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        (int width, int taps) = (row.Int("width"), row.Int("taps"));
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        Conv1D op = new(memory.Device, memory.Type, width, taps);
        PackedRows rows = memory.Rows(sequences);
        TensorView x = memory.Input(sequences.Tokens, width), weight = memory.Input(width, taps, InputRules.Weight(taps)), bias = memory.Vector(width, InputRules.Bias);
        TensorView y = memory.Output(sequences.Tokens, width);
        return new(stream => op.Run(stream, rows, x, TensorView.Empty, weight, bias, y, default), () =>
        {
            Conv1DReference reference = new(width, taps, memory.Read(weight), memory.Read(bias));
            double[] input = memory.Read(x);
            return [new("y", y, () => Steps(reference, sequences, input, width))];
        });
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        (int width, int taps) = (row.Int("width"), row.Int("taps"));
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        Conv1DBackward op = new(memory.Device, memory.Type, width, taps);
        PackedRows rows = memory.Rows(sequences);
        TensorView x = memory.Input(sequences.Tokens, width), weight = memory.Input(width, taps, InputRules.Weight(taps)), dy = memory.Input(sequences.Tokens, width);
        TensorView dx = memory.Output(sequences.Tokens, width), dweight = memory.Zeros(width, taps, ElementType.Float32), dbias = memory.Zeros(1, width, ElementType.Float32);
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(sequences.Tokens));
        return new(stream => op.Run(stream, rows, x, TensorView.Empty, weight, dy, dx, dweight, dbias, workspace), () =>
        {
            Conv1DGradient gradient = Conv1DGradient.Of(sequences.Rows, width, taps, memory.Read(weight), memory.Read(x), memory.Read(dy));
            return [new("dx", dx, () => gradient.Dz), new("dweight", dweight, () => gradient.Dweight), new("dbias", dbias, () => gradient.Dbias)];
        });
    }

    public static Workload Step(CaseMemory memory, BenchRow row)
    {
        (int width, int taps, int batch) = (row.Int("width"), row.Int("taps"), row.Int("batch"));
        Sequences steps = Sequences.Steps(Enumerable.Repeat(taps, batch));
        Conv1DStep op = new(memory.Device, memory.Type, width, taps);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        TensorView x = memory.Input(batch, width), weight = memory.Input(width, taps, InputRules.Weight(taps)), bias = memory.Vector(width, InputRules.Bias);
        TensorView slots = memory.Input(batch, (taps - 1L) * width), y = memory.Output(batch, width);
        LayerState state = CaseMemory.State(slots);
        return new(stream => op.Run(stream, rows, x, TensorView.Empty, weight, bias, y, state), () =>
        {
            Conv1DReference reference = new(width, taps, memory.Read(weight), memory.Read(bias));
            double[] expected = Step(reference, steps, memory.Read(x), memory.Read(slots), width, taps);
            return [new("y", y, () => expected), new("state", slots, () => [.. Enumerable.Range(0, batch).SelectMany(reference.State)])];
        });
    }

    /// <summary>One step of sequences whose slots hold the past.</summary>
    public static double[] Step(Conv1DReference reference, Sequences steps, double[] x, double[] past, int width, int taps)
    {
        for (int slot = 0; slot < steps.Rows.Count; slot++)
            reference.SetPast(slot, Enumerable.Range(slot * (taps - 1), taps - 1).Select(at => past[(at * width)..((at + 1) * width)]));
        return Steps(reference, steps, x, width);
    }

    /// <summary>What the convolution gives for every token.</summary>
    public static double[] Steps(Conv1DReference reference, Sequences sequences, double[] x, int width)
    {
        int token = 0;
        List<double> y = [];
        foreach ((int slot, int[] positions) in sequences.Rows.Index())
        {
            foreach (int position in positions) y.AddRange(reference.Step(slot, position, x[(token * width)..(++token * width)]).Y);
        }

        return [.. y];
    }
}
