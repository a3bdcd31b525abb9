using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The gated MLP's activation, and a bias' gradient.</summary>
internal static class ActivationCases
{
    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        GeluMultiply op = new(memory.Device, memory.Type, width);
        TensorView gateUp = memory.Input(row["rows"], 2L * width), bias = memory.Vector(2L * width, InputRules.Bias), y = memory.Output(row["rows"], width);
        return new(stream => op.Run(stream, gateUp, bias, y), () =>
        {
            double[] input = memory.Read(gateUp), shifts = memory.Read(bias);
            return [new("y", y, () => GeluMultiplied(input, shifts))];
        });
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        GeluMultiplyBackward op = new(memory.Device, memory.Type, width);
        TensorView gateUp = memory.Input(row["rows"], 2L * width), bias = memory.Vector(2L * width, InputRules.Bias);
        TensorView dy = memory.Input(row["rows"], width), gradient = memory.Output(row["rows"], 2L * width);
        return new(stream => op.Run(stream, gateUp, bias, dy, gradient), () =>
        {
            double[] input = memory.Read(gateUp), shifts = memory.Read(bias), slope = memory.Read(dy), expected = new double[input.Length];
            for (int i = 0; i < slope.Length; i++)
            {
                int gate = i / width * 2 * width + i % width, up = gate + width;
                (double g, double u) = (input[gate] + shifts[i % width], input[up] + shifts[width + i % width]);
                expected[gate] = slope[i] * u * GradientMath.GeluTanhSlope(g);
                expected[up] = slope[i] * ReferenceMath.GeluTanh(g);
            }

            return [new("gradient", gradient, () => expected)];
        });
    }

    public static Workload ColumnSum(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width"), rows = row.Int("rows");
        ColumnSum op = new(memory.Device, memory.Type, width);
        TensorView x = memory.Input(rows, width), sum = memory.Zeros(1, width, ElementType.Float32), workspace = memory.Workspace(op.WorkspaceBytes(rows));
        return new(stream => op.Run(stream, x, sum, workspace), () =>
        {
            double[] input = memory.Read(x);
            return [new("sum", sum, () => HostMath.ColumnSums(input, width))];
        });
    }

    /// <summary>gelu(gate + bias) · (up + bias) of rows gate|up.</summary>
    public static double[] GeluMultiplied(double[] gateUp, double[] bias)
    {
        int width = bias.Length / 2;
        double[] y = new double[gateUp.Length / 2];
        for (int i = 0; i < y.Length; i++)
        {
            int gate = i / width * 2 * width + i % width;
            y[i] = ReferenceMath.GeluTanh(gateUp[gate] + bias[i % width]) * (gateUp[gate + width] + bias[width + i % width]);
        }

        return y;
    }
}
