using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>Rows of a table gathered, and their gradients scattered.</summary>
internal static class EmbeddingCases
{
    private const float Scale = 50.5f;

    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        Embedding op = new(memory.Device, memory.Type, width);
        TensorView tokens = memory.Below(row["rows"], row["vocabulary"]), table = memory.Input(row["vocabulary"], width), y = memory.Output(row["rows"], width);
        return new(stream => op.Run(stream, tokens, table, Scale, y), () =>
        {
            double[] ids = memory.Read(tokens), values = memory.Read(table);
            return [new("y", y, () => [.. ids.SelectMany(id => values.AsSpan((int)id * width, width).ToArray().Select(value => Scale * value))])];
        });
    }

    public static Workload Step(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width");
        EmbeddingStep op = new(memory.Device, memory.Type, width);
        TensorView tokens = memory.Below(row["batch"], row["vocabulary"]), table = memory.Input(row["vocabulary"], width), y = memory.Output(row["batch"], width);
        TensorView squares = memory.Output(row["batch"], 1, ElementType.Float32);
        return new(stream => op.Run(stream, tokens, table, Scale, y, squares), () =>
        {
            double[] ids = memory.Read(tokens), values = memory.Read(table);
            double[] rows = [.. ids.SelectMany(id => values.AsSpan((int)id * width, width).ToArray().Select(value => HostMath.Round(Scale * value, memory.Type)))];
            return [new("y", y, () => rows), new("squares", squares, () => [.. rows.Chunk(width).Select(one => one.Sum(value => value * value))])];
        });
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        int width = row.Int("width"), vocabulary = row.Int("vocabulary");
        EmbeddingBackward op = new(memory.Device, memory.Type, width);
        TensorView tokens = memory.Below(row["rows"], vocabulary), dx = memory.Input(row["rows"], width);
        double[] ids = memory.Read(tokens);
        int[] order = new int[ids.Length];
        EmbeddingBackward.Sort(Array.ConvertAll(ids, id => (int)id), order);
        TensorView sorted = memory.Given<int>(order), gradient = memory.Zeros(vocabulary, width, ElementType.Float32);
        return new(stream => op.Run(stream, tokens, sorted, dx, Scale, gradient), () =>
        {
            double[] slope = memory.Read(dx), expected = new double[(long)vocabulary * width];
            for (int i = 0; i < slope.Length; i++) expected[(int)ids[i / width] * width + i % width] += Scale * slope[i];
            return [new("gradient", gradient, () => expected)];
        });
    }
}
