using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>RMSNorm, alone, behind a residual sum, and its backward pass.</summary>
internal static class NormCases
{
    private const float Epsilon = 1e-6f;

    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        RmsNorm op = new(memory.Device, memory.Type, width);
        TensorView x = memory.Input(row["rows"], width), scale = memory.Vector(width, InputRules.Scale), y = memory.Output(row["rows"], width);
        return new(stream => op.Run(stream, x, scale, y, Epsilon), () =>
        {
            double[] input = memory.Read(x), factors = memory.Read(scale);
            return [new("y", y, () => Normed(input, factors))];
        });
    }

    public static Workload Residual(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        RmsNorm op = new(memory.Device, memory.Type, width);
        TensorView x = memory.Input(row["rows"], width), delta = memory.Input(row["rows"], width), scale = memory.Vector(width, InputRules.Scale);
        TensorView y = memory.Output(row["rows"], width);
        return new(stream => op.RunResidual(stream, x, delta, TensorView.Empty, scale, x, y, Epsilon), () =>
        {
            // The sum is rounded where it is stored, and that is what is normed.
            double[] sum = [.. memory.Read(x).Zip(memory.Read(delta), (a, b) => HostMath.Round(a + b, memory.Type))], factors = memory.Read(scale);
            return [new("x", x, () => sum), new("y", y, () => Normed(sum, factors))];
        });
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width"), rows = row.Int("rows");
        RmsNormBackward op = new(memory.Device, memory.Type, width);
        TensorView x = memory.Input(rows, width), scale = memory.Vector(width, InputRules.Scale), dy = memory.Input(rows, width);
        TensorView dx = memory.Output(rows, width), dscale = memory.Zeros(1, width, ElementType.Float32), workspace = memory.Workspace(op.WorkspaceBytes(rows));
        return new(stream => op.Run(stream, x, scale, dy, dx, accumulate: false, dscale, Epsilon, workspace), () =>
        {
            double[] input = memory.Read(x), factors = memory.Read(scale), slope = memory.Read(dy), dxs = new double[input.Length], sums = new double[width];
            for (int first = 0; first < input.Length; first += width)
            {
                (double[] own, _, double[] scales) = GradientMath.RmsNorm(input.AsSpan(first, width), factors, slope.AsSpan(first, width), Epsilon);
                own.CopyTo(dxs, first);
                for (int c = 0; c < width; c++) sums[c] += scales[c];
            }

            return [new("dx", dx, () => dxs), new("dscale", dscale, () => sums)];
        });
    }

    private static double[] Normed(double[] x, double[] scale) =>
        [.. Enumerable.Range(0, x.Length / scale.Length).SelectMany(r => ReferenceMath.RmsNorm(x.AsSpan(r * scale.Length, scale.Length), scale, Epsilon))];
}
