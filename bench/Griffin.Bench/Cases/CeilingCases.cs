using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>What memory does at most.</summary>
internal static class CeilingCases
{
    private const int ElementBytes = 2;

    public static Workload Copy(CaseMemory memory, BenchRow row)
    {
        long count = row["bytes"] / ElementBytes;
        TensorView x = memory.Input(1, count, of: ElementType.BFloat16), y = memory.Output(1, count, ElementType.BFloat16);
        return new(stream => memory.Draw.Copy(stream, x, y), () =>
        {
            double[] expected = memory.Read(x);
            return [new("copy", y, () => expected)];
        });
    }

    public static Workload Read(CaseMemory memory, BenchRow row)
    {
        const int vector = 8;
        long count = row["bytes"] / ElementBytes;
        int blocks = memory.Draw.ReadBlocks, threads = 256;
        TensorView x = memory.Input(1, count, of: ElementType.BFloat16), sums = memory.Output(1, blocks, ElementType.Float32);
        return new(stream => memory.Draw.Read(stream, x, sums), () =>
        {
            // Pieces go round the threads of all blocks.
            double[] values = memory.Read(x), expected = new double[blocks];
            for (int i = 0; i < values.Length; i++) expected[i / vector / threads % blocks] += values[i];
            return [new("sums", sums, () => expected)];
        });
    }
}
