using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>The optimiser and the norm that clips it.</summary>
internal static class OptimizerCases
{
    private const int Step = 7;
    private const float Norm = 2;

    private static readonly float[] settings = [3e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, (float)(1 / (1 - Math.Pow(0.9, Step))), (float)(1 / (1 - Math.Pow(0.95, Step)))];

    public static Workload AdamW(CaseMemory memory, BenchRow row)
    {
        const int group = Griffin.Kernels.Ops.AdamW.Group;
        long count = (row["parameters"] + group - 1) / group * group;
        Griffin.Kernels.Ops.AdamW op = new(memory.Device, memory.Type);
        TensorView master = memory.Input(1, count, of: ElementType.Float32), gradient = memory.Input(1, count, of: ElementType.Float32);
        TensorView first = memory.Zeros(1, count, ElementType.Float32), second = memory.Zeros(1, count, ElementType.Float32), weights = memory.Output(1, count);
        TensorView decayed = memory.Zeros(1, count / group, ElementType.UInt8), norm = memory.Given<float>([Norm]), given = memory.Given<float>(settings);
        return new(stream => op.Run(stream, weights, master, gradient, first, second, decayed, norm, given), () =>
        {
            double[] before = memory.Read(master), g = Array.ConvertAll(memory.Read(gradient), value => value * settings[5] / Norm);
            double[] one = Array.ConvertAll(g, value => (1 - (double)settings[1]) * value), two = Array.ConvertAll(g, value => (1 - (double)settings[2]) * value * value);
            double[] after = [.. before.Select((value, i) => value - settings[0] * one[i] * settings[6] / (Math.Sqrt(two[i] * settings[7]) + settings[3]))];
            return [new("master", master, () => after), new("weights", weights, () => after), new("first", first, () => one), new("second", second, () => two)];
        });
    }

    public static Workload GradientNorm(CaseMemory memory, BenchRow row)
    {
        long count = row["parameters"];
        Griffin.Kernels.Ops.GradientNorm op = new(memory.Device);
        TensorView gradient = memory.Input(1, count, of: ElementType.Float32), norm = memory.Output(1, 1, ElementType.Float32);
        TensorView workspace = memory.Workspace(Griffin.Kernels.Ops.GradientNorm.WorkspaceBytes(count));
        return new(stream => op.Run(stream, gradient, norm, workspace), () =>
        {
            double[] values = memory.Read(gradient);
            return [new("norm", norm, () => [Math.Sqrt(values.Sum(value => value * value))])];
        });
    }
}
