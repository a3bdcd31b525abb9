using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>Logits and the loss.</summary>
internal static class HeadCases
{
    private const float Cap = 30;
    private const int MostLogitsRows = 1024;   // of the head with its loss, at once: a gibibyte of logits at a vocabulary of 256,000

    public static Workload SoftCap(CaseMemory memory, BenchRow row)
    {
        int vocabulary = row.Int("vocabulary");
        SoftCap op = new(memory.Device, vocabulary);
        TensorView logits = memory.Input(row["rows"], vocabulary, of: ElementType.Float32);
        return new(stream => op.Run(stream, logits, Cap), () =>
        {
            double[] before = memory.Read(logits);
            return [new("logits", logits, () => Array.ConvertAll(before, value => ReferenceMath.SoftCap(value, Cap)))];
        });
    }

    public static Workload CrossEntropy(CaseMemory memory, BenchRow row)
    {
        int vocabulary = row.Int("vocabulary"), rows = row.Int("rows");
        CrossEntropy op = new(memory.Device, memory.Type, vocabulary);
        TensorView logits = memory.Input(rows, vocabulary, of: ElementType.Float32), targets = memory.Below(rows, vocabulary), scale = memory.Given<float>([1f / rows]);
        TensorView losses = memory.Output(1, rows, ElementType.Float32), gradient = memory.Output(rows, vocabulary);
        return new(stream => op.Run(stream, logits, targets, Cap, scale, losses, gradient), () =>
        {
            (double[] loss, double[] slope) = Loss(memory.Read(logits), memory.Read(targets), 1.0 / rows);
            return [new("losses", losses, () => loss), new("gradient", gradient, () => slope)];
        });
    }

    public static Workload LinearCrossEntropy(CaseMemory memory, BenchRow row)
    {
        int vocabulary = row.Int("vocabulary"), width = row.Int("width"), rows = row.Int("rows"), most = Math.Min(rows, MostLogitsRows);
        MatMul head = new(memory.Device, memory.Type, vocabulary, width, ElementType.Float32);
        CrossEntropy loss = new(memory.Device, memory.Type, vocabulary);
        MatMulInputGradient inputGradient = new(memory.Device, memory.Type, vocabulary, width);
        MatMulWeightGradient weightGradient = new(memory.Device, memory.Type, vocabulary, width);
        TensorView x = memory.Input(rows, width), table = memory.Input(vocabulary, width, InputRules.Weight(width)), targets = memory.Below(rows, vocabulary);
        TensorView scale = memory.Given<float>([1f / rows]), logits = memory.Output(most, vocabulary, ElementType.Float32), slope = memory.Output(most, vocabulary);
        TensorView losses = memory.Output(1, rows, ElementType.Float32), dx = memory.Output(rows, width), dtable = memory.Zeros(vocabulary, width, ElementType.Float32);
        TensorView workspace = memory.Workspace(weightGradient.WorkspaceBytes(most));
        return new(Run, () =>
        {
            double[] input = memory.Read(x), weights = memory.Read(table);
            (double[] loss, double[] slopes) = Loss(HostMath.Product(input, weights, width), memory.Read(targets), 1.0 / rows);
            (double[] inputs, double[] tables) = HostMath.ProductGradients(slopes, input, weights, vocabulary, width);
            return [new("losses", losses, () => loss), new("dx", dx, () => inputs), new("dtable", dtable, () => tables)];
        }, head.UsesBlas ? "cuBLAS" : null);

        void Run(GpuStream stream)
        {
            for (int first = 0; first < rows; first += most)
            {
                int count = Math.Min(most, rows - first);
                (TensorView some, TensorView gradient, TensorView inputs) = (logits.RowRange(0, count), slope.RowRange(0, count), x.RowRange(first, count));
                head.Run(stream, inputs, table, some);
                loss.Run(stream, some, targets.ColumnRange(first, count), Cap, scale, losses.ColumnRange(first, count), gradient);
                inputGradient.Run(stream, gradient, table, dx.RowRange(first, count));
                weightGradient.Run(stream, gradient, inputs, dtable, workspace);
            }
        }
    }

    private static (double[] Losses, double[] Gradient) Loss(double[] logits, double[] targets, double scale)
    {
        int vocabulary = logits.Length / targets.Length;
        CrossEntropyReference.Result[] rows = [.. targets.Select((target, r) => CrossEntropyReference.Compute(logits[(r * vocabulary)..((r + 1) * vocabulary)], (int)target, Cap))];
        return ([.. rows.Select(one => one.Loss)], [.. rows.SelectMany(one => one.Gradient).Select(value => value * scale)]);
    }
}
