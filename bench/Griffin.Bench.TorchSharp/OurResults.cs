using Griffin.Bench.Cases;
using Griffin.Bench.Gate;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>
/// Holds a case's results against those of our kernels on the same inputs, at a reduced shape: in float32, where a wrong factor shows, and in the row's
/// own type. What differs is not timed.
/// </summary>
internal sealed class OurResults(GpuStream stream, DeviceDraw draw, RowList rows)
{
    private const double MostWithBFloat16 = 5e-3, MostWithFloat32 = 1e-4;
    private const int MostBatch = 2;

    /// <summary>The largest relative L2 distance of a result, in the row's type.</summary>
    /// <exception cref="NotMeasuredException">There is nothing of ours to compare with, or a result is too far off.</exception>
    public double Compare(BenchRow row, Device device)
    {
        CaseBuilder build = CaseTable.Of(row) ?? throw new NotMeasuredException("no kernel of ours does just this, so there is nothing to check it against");
        double distance = Compare(build, row with { Type = ElementType.Float32 }, device);
        return row.Type == ElementType.Float32 ? distance : Compare(build, row, device);
    }

    private double Compare(CaseBuilder build, BenchRow row, Device device)
    {
        BenchRow reduced = CorrectnessGate.Reduced(row).With((name, size) => name == "batch" ? Math.Min(size, MostBatch) : size);
        using CaseMemory memory = new(stream, draw, reduced, isGate: false);
        Workload workload = build(memory, reduced);
        IReadOnlyList<CheckedOutput> ours = workload.Outputs();
        workload.Run(stream);
        stream.Synchronize();

        using DisposeScope scope = NewDisposeScope();
        TorchCase theirs = TorchCases.Build(reduced, new TorchDraw(rows, reduced, device));
        Tensor[] results = theirs.Bind(reduced.Pass)();
        if (results.Length != ours.Count) throw new NotMeasuredException($"{results.Length} results cannot be held against {ours.Count} of ours");
        double most = (reduced.Type == ElementType.BFloat16 ? MostWithBFloat16 : MostWithFloat32) * (1 + theirs.Between), worst = 0;
        for (int i = 0; i < results.Length; i++)
        {
            double distance = RelativeL2.Of(Numbers(results[i]), memory.Read(ours[i].View));
            if (!(distance <= most)) throw new NotMeasuredException(FormattableString.Invariant($"{ours[i].Name} is {distance:G3} from ours (relative L2), more than {most:G2}"));
            worst = Math.Max(worst, distance);
        }

        return worst;
    }

    /// <summary>A tensor's numbers on the host.</summary>
    public static double[] Numbers(Tensor tensor) => tensor.detach().to(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
}
