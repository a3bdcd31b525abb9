using Griffin.Bench.Cases;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Gate;

/// <summary>What the gate found.</summary>
/// <param name="RelativeL2">The largest distance of an output.</param>
/// <param name="Failure">Which output is too far off; null when none is.</param>
internal sealed record GateResult(double RelativeL2, string? Failure);

/// <summary>
/// Runs a row's case once at a reduced shape, on poisoned outputs and with resets, padding and ragged tails, and compares it with float64: what is wrong is
/// not timed.
/// </summary>
internal sealed class CorrectnessGate(GpuStream stream, DeviceDraw draw)
{
    private const double MostWithBFloat16 = 5e-3, MostWithFloat32 = 1e-4;

    // One size of each name: enough for every path of a kernel, little enough for loops on the host.
    private static readonly Dictionary<string, long> mostOf = new()
    {
        ["batch"] = 5, ["tokens"] = 200, ["rows"] = 37, ["columns"] = 1024, ["vocabulary"] = 6000, ["parameters"] = 100_000, ["window"] = 70, ["context"] = 50, ["bytes"] = 1 << 20,
    };

    private readonly Dictionary<string, GateResult> _known = [];

    /// <summary>Checks a row; rows that are the same at their reduced shapes, and take the same variant, are checked once.</summary>
    public GateResult Check(CaseBuilder build, BenchRow row)
    {
        using CaseMemory memory = new(stream, draw, row, isGate: true);
        BenchRow reduced = Reduced(row);
        Workload workload = build(memory, reduced);
        string key = $"{row.Op} {row.Pass} {row.Type} {workload.Variant} {string.Join(' ', reduced.Sizes)}";
        return _known.TryGetValue(key, out GateResult? known) ? known : _known[key] = Run(workload, memory, row.Type);
    }

    private GateResult Run(Workload workload, CaseMemory memory, ElementType type)
    {
        IReadOnlyList<CheckedOutput> outputs = workload.Outputs();
        workload.Run(stream);
        stream.Synchronize();
        double worst = 0, most = type == ElementType.BFloat16 ? MostWithBFloat16 : MostWithFloat32;
        foreach (CheckedOutput output in outputs)
        {
            double distance = RelativeL2.Of(memory.Read(output.View), output.Expected());
            if (!(distance <= most)) return new(distance, $"{output.Name} is {distance:G3} from float64 (relative L2), more than {most:G2}");
            worst = Math.Max(worst, distance);
        }

        return new(worst, null);
    }

    /// <summary>The row at sizes that a check can take.</summary>
    public static BenchRow Reduced(BenchRow row) => row.With((name, size) => Math.Min(size, mostOf.GetValueOrDefault(name, long.MaxValue)));
}
