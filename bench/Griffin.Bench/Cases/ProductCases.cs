using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>Plain matrix products, and the one with the gated activation behind it.</summary>
internal static class ProductCases
{
    private const string Blas = "cuBLAS";

    public static Workload MatMul(CaseMemory memory, BenchRow row) => MatMul(memory, row, null);

    public static Workload MatMulByWarpgroups(CaseMemory memory, BenchRow row) => MatMul(memory, row, WarpgroupTiles.Variant);

    private static Workload MatMul(CaseMemory memory, BenchRow row, string? forced)
    {
        (int rows, int columns, int inner) = (row.Int("rows"), row.Int("columns"), row.Int("inner"));
        MatMul op = memory.Op(
            variant => new MatMul(memory.Device, memory.Type, columns, inner, variant: forced ?? variant), (op, timed) => op.VariantFor(timed.Int("rows")));
        TensorView x = memory.Input(rows, inner), w = memory.Input(columns, inner, InputRules.Weight(inner)), y = memory.Output(rows, columns);
        return new(stream => op.Run(stream, x, w, y), () =>
        {
            (double[] left, double[] right) = (memory.Read(x), memory.Read(w));
            return [new("y", y, () => HostMath.Product(left, right, inner))];
        }, op.VariantFor(rows) ?? op.LibraryFor(rows));
    }

    public static Workload MatMulBackward(CaseMemory memory, BenchRow row)
    {
        (int rows, int columns, int inner) = (row.Int("rows"), row.Int("columns"), row.Int("inner"));
        MatMulInputGradient inputGradient = new(memory.Device, memory.Type, columns, inner);
        MatMulWeightGradient weightGradient = new(memory.Device, memory.Type, columns, inner);
        TensorView dy = memory.Input(rows, columns), x = memory.Input(rows, inner), w = memory.Input(columns, inner, InputRules.Weight(inner));
        TensorView dx = memory.Output(rows, inner), dw = memory.Zeros(columns, inner, ElementType.Float32), workspace = memory.Workspace(weightGradient.WorkspaceBytes(rows));
        return new(stream =>
        {
            inputGradient.Run(stream, dy, w, dx);
            weightGradient.Run(stream, dy, x, dw, workspace);
        }, () =>
        {
            (double[] inputs, double[] weights) = HostMath.ProductGradients(memory.Read(dy), memory.Read(x), memory.Read(w), columns, inner);
            return [new("dx", dx, () => inputs), new("dw", dw, () => weights)];
        }, inputGradient.UsesBlas ? Blas : null);
    }

    public static Workload GatedMatMul(CaseMemory memory, BenchRow row) => GatedMatMul(memory, row, null);

    public static Workload GatedMatMulByWarpgroups(CaseMemory memory, BenchRow row) => GatedMatMul(memory, row, WarpgroupTiles.Variant);

    private static Workload GatedMatMul(CaseMemory memory, BenchRow row, string? forced)
    {
        (int rows, int columns, int inner) = (row.Int("rows"), row.Int("columns"), row.Int("inner"));
        GatedMatMul op = memory.Op(
            variant => new GatedMatMul(memory.Device, memory.Type, columns / 2, inner, forced ?? variant), (op, timed) => op.VariantFor(timed.Int("rows")));
        TensorView x = memory.Input(rows, inner), w = memory.Input(columns, inner, InputRules.Weight(inner)), bias = memory.Vector(columns, InputRules.Bias);
        TensorView y = memory.Output(rows, columns / 2);
        return new(stream => op.Run(stream, x, w, bias, y), () =>
        {
            (double[] left, double[] right, double[] shifts) = (memory.Read(x), memory.Read(w), memory.Read(bias));
            return [new("y", y, () => ActivationCases.GeluMultiplied(HostMath.Product(left, right, inner), shifts))];
        }, op.VariantFor(rows));
    }

    public static Workload ResidualMatMul(CaseMemory memory, BenchRow row) => ResidualMatMul(memory, row, null);

    public static Workload ResidualMatMulByWarpgroups(CaseMemory memory, BenchRow row) => ResidualMatMul(memory, row, WarpgroupTiles.Variant);

    private static Workload ResidualMatMul(CaseMemory memory, BenchRow row, string? forced)
    {
        const float epsilon = 1e-6f;
        (int rows, int width, int inner) = (row.Int("rows"), row.Int("width"), row.Int("inner"));
        ResidualMatMul op = memory.Op(variant => new ResidualMatMul(memory.Device, memory.Type, width, inner, forced ?? variant), (op, timed) => op.VariantFor(timed.Int("rows")));
        TensorView input = memory.Input(rows, inner), w = memory.Input(width, inner, InputRules.Weight(inner)), residual = memory.Input(rows, width), scale = memory.Vector(width, InputRules.Scale);
        FactoredRows normed = new(memory.Output(rows, width), memory.Output(1, rows, ElementType.Float32));
        TensorView workspace = memory.Workspace(op.WorkspaceBytes(rows));
        return new(stream => op.Run(stream, input, w, TensorView.Empty, residual, new(scale, epsilon), normed, workspace), () =>
        {
            double[] product = HostMath.Product(memory.Read(input), memory.Read(w), inner), before = memory.Read(residual), scales = memory.Read(scale);
            double[] after = [.. before.Zip(product, (x, delta) => HostMath.Round(x + HostMath.Round(delta, memory.Type), memory.Type))];
            return
            [
                new("residual", residual, () => after),
                new("scaled", normed.Rows, () => [.. after.Select((x, i) => x * (1 + scales[i % width]))]),
                new("factors", normed.Factors, () => [.. after.Chunk(width).Select(line => 1 / Math.Sqrt((line.Sum(x => x * x) / width) + epsilon))]),
            ];
        }, op.VariantFor(rows));
    }

    public static Workload GateUpGelu(CaseMemory memory, BenchRow row)
    {
        (int rows, int columns, int inner) = (row.Int("rows"), row.Int("columns"), row.Int("inner"));
        MatMul product = new(memory.Device, memory.Type, columns, inner);
        GeluMultiply activation = new(memory.Device, memory.Type, columns / 2);
        TensorView x = memory.Input(rows, inner), w = memory.Input(columns, inner, InputRules.Weight(inner)), bias = memory.Vector(columns, InputRules.Bias);
        TensorView gateUp = memory.Output(rows, columns), y = memory.Output(rows, columns / 2);
        return new(stream =>
        {
            product.Run(stream, x, w, gateUp);
            activation.Run(stream, gateUp, bias, y);
        }, () =>
        {
            (double[] left, double[] right, double[] shifts) = (memory.Read(x), memory.Read(w), memory.Read(bias));
            return [new("y", y, () => ActivationCases.GeluMultiplied(HostMath.Product(left, right, inner), shifts))];
        }, $"{product.VariantFor(rows) ?? product.LibraryFor(rows)}, then gelu_multiply");
    }
}
