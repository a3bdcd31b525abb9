using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The block-diagonal gate products.</summary>
internal static class GateCases
{
    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        (int width, int blocks) = (row.Int("width"), row.Int("blocks"));
        BlockDiagonalGates op = Op(memory, width, blocks, timed => timed["rows"]);
        TensorView z = memory.Input(row["rows"], width);
        GateWeights weights = GateWeights.Draw(memory, width, blocks);
        TensorView gates = memory.Output(row["rows"], 2L * width);
        return new(stream => op.Run(stream, z, weights.Input, weights.InputBias, weights.Recurrence, weights.RecurrenceBias, gates), () =>
        {
            HostGates host = weights.Read(memory);
            double[] input = memory.Read(z);
            return [new("gates", gates, () => host.Logits(input))];
        }, op.VariantFor(row.Int("rows")));
    }

    public static Workload WithConvolution(CaseMemory memory, BenchRow row)
    {
        (int width, int blocks, int taps) = (row.Int("width"), row.Int("blocks"), row.Int("taps"));
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        ConvGates op = memory.Op(
            variant => new ConvGates(new Conv1D(memory.Device, memory.Type, width, taps), new BlockDiagonalGates(memory.Device, memory.Type, width, blocks), variant),
            (op, timed) => op.VariantFor((int)timed.AllTokens));
        PackedRows rows = memory.Rows(sequences);
        TensorView x = memory.Input(sequences.Tokens, width), convolution = memory.Input(width, taps, InputRules.Weight(taps)), bias = memory.Vector(width, InputRules.Bias);
        GateWeights weights = GateWeights.Draw(memory, width, blocks);
        TensorView z = memory.Output(sequences.Tokens, width), gates = memory.Output(sequences.Tokens, 2L * width);
        return new(
            stream => op.Run(stream, rows, x, TensorView.Empty, convolution, bias, weights.Input, weights.InputBias, weights.Recurrence, weights.RecurrenceBias, z, gates, default), () =>
            {
                Conv1DReference reference = new(width, taps, memory.Read(convolution), memory.Read(bias));
                double[] convolved = Array.ConvertAll(ConvCases.Steps(reference, sequences, memory.Read(x), width), value => HostMath.Round(value, memory.Type));
                double[] logits = weights.Read(memory).Logits(convolved);
                return [new("z", z, () => convolved), new("gates", gates, () => logits)];
            }, op.VariantFor(sequences.Tokens));
    }

    /// <summary>The gates of a row; <paramref name="tokens"/> says how many it has.</summary>
    public static BlockDiagonalGates Op(CaseMemory memory, int width, int blocks, Func<BenchRow, long> tokens) =>
        memory.Op(variant => new BlockDiagonalGates(memory.Device, memory.Type, width, blocks, variant: variant), (op, row) => op.VariantFor((int)tokens(row)));

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        (int width, int blocks, int rows) = (row.Int("width"), row.Int("blocks"), row.Int("rows"));
        BlockDiagonalGatesBackward op = new(memory.Device, memory.Type, width, blocks);
        TensorView z = memory.Input(rows, width);
        TensorView input = memory.Input(width, width / blocks, InputRules.Weight(width / blocks)), recurrence = memory.Input(width, width / blocks, InputRules.Weight(width / blocks));
        TensorView dgates = memory.Input(rows, 2L * width), dz = memory.Zeros(rows, width, memory.Type);
        TensorView dInput = memory.Zeros(width, width / blocks, ElementType.Float32), dRecurrence = memory.Zeros(width, width / blocks, ElementType.Float32);
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(rows));
        return new(stream => op.Run(stream, z, input, recurrence, dgates, dz, dInput, dRecurrence, workspace), () =>
        {
            HostGates host = new(width, blocks, memory.Read(input), new double[width], memory.Read(recurrence), new double[width]);
            (double[] slopes, double[] inputs, double[] recurrences) = host.Gradients(memory.Read(z), memory.Read(dgates));
            return [new("dz", dz, () => slopes), new("input weight", dInput, () => inputs), new("recurrence weight", dRecurrence, () => recurrences)];
        });
    }
}

/// <summary>Weights of both gates on the device.</summary>
internal sealed record GateWeights(int Width, int Blocks, TensorView Input, TensorView InputBias, TensorView Recurrence, TensorView RecurrenceBias)
{
    public static GateWeights Draw(CaseMemory memory, int width, int blocks)
    {
        InputRule rule = InputRules.Weight(width / blocks);
        TensorView input = memory.Input(width, width / blocks, rule), inputBias = memory.Vector(width, InputRules.Bias);
        return new(width, blocks, input, inputBias, memory.Input(width, width / blocks, rule), memory.Vector(width, InputRules.Bias));
    }

    public HostGates Read(CaseMemory memory) =>
        new(Width, Blocks, memory.Read(Input), memory.Read(InputBias), memory.Read(Recurrence), memory.Read(RecurrenceBias));
}

/// <summary>Both gate products in float64.</summary>
internal sealed record HostGates(int Width, int Blocks, double[] Input, double[] InputBias, double[] Recurrence, double[] RecurrenceBias)
{
    /// <summary>Logits [N, 2 · width] of z [N, width].</summary>
    public double[] Logits(double[] z)
    {
        double[] gates = new double[2 * z.Length];
        Parallel.For(0, z.Length / Width, r =>
        {
            ReadOnlySpan<double> x = z.AsSpan(r * Width, Width);
            ReferenceMath.BlockDiagonal(x, Input, InputBias, Blocks).CopyTo(gates, 2 * r * Width);
            ReferenceMath.BlockDiagonal(x, Recurrence, RecurrenceBias, Blocks).CopyTo(gates, (2 * r + 1) * Width);
        });
        return gates;
    }

    /// <summary>Gradients of z through both products, and of both weights.</summary>
    public (double[] Dz, double[] Input, double[] Recurrence) Gradients(double[] z, double[] dgates)
    {
        int size = Width / Blocks, rows = z.Length / Width;
        double[] dz = new double[z.Length], dInput = new double[Width * size], dRecurrence = new double[Width * size];
        Parallel.For(0, Width, i =>
        {
            int block = i / size;
            for (int r = 0; r < rows; r++)
            {
                for (int j = 0; j < size; j++)
                {
                    int weight = i * size + j, gate = 2 * r * Width + block * size + j;
                    dz[r * Width + i] += dgates[gate] * Input[weight] + dgates[gate + Width] * Recurrence[weight];
                    dInput[weight] += z[r * Width + i] * dgates[gate];
                    dRecurrence[weight] += z[r * Width + i] * dgates[gate + Width];
                }
            }
        });
        return (dz, dInput, dRecurrence);
    }
}
