using System.Diagnostics;
using Griffin.Bench.Cases;
using Griffin.Bench.Gate;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench;

/// <summary>The gate of every row alone: for tools that make everything slow, and before a run.</summary>
public static class CheckRun
{
    /// <summary>Checks the rows of the options until their budget is over.</summary>
    /// <returns>0, or 1 when a row is wrong.</returns>
    public static int Run(BenchOptions options, RowList rows)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(rows);
        using GpuDevice device = GpuDevice.Open(options.Device);
        Console.Error.WriteLine(device.Description);
        using GpuStream stream = device.CreateStream();
        _ = stream.Blas;
        CorrectnessGate gate = new(stream, new DeviceDraw(device));
        ModelGate models = new(device);
        Stopwatch clock = Stopwatch.StartNew();
        (int right, int wrong) = (0, 0);
        foreach (BenchRow row in rows.Matching(options.Rows).TakeWhile(_ => clock.Elapsed < options.Budget))
        {
            CaseBuilder? build = CaseTable.Of(row);
            if (build is null && !row.IsModel) continue;
            TimeSpan start = clock.Elapsed;
            GateResult result = Check(() => build is null ? models.Check(rows.Models[row.Model!]) : gate.Check(build, row));
            (right, wrong) = result.Failure is null ? (right + 1, wrong) : (right, wrong + 1);
            Console.Out.WriteLine(FormattableString.Invariant($"{row.Id}: {result.Failure ?? $"right, {result.RelativeL2:G3}"} ({(clock.Elapsed - start).TotalSeconds:F1} s)"));
        }

        Console.Out.WriteLine($"{right} right, {wrong} wrong");
        return wrong == 0 && right > 0 ? 0 : 1;
    }

    // A row that fails does not keep the others from being checked; a lost device ends the run.
    private static GateResult Check(Func<GateResult> check)
    {
        try
        {
            return check();
        }
        catch (Exception e) when (e is (GpuException and not DeviceLostException) or ArgumentException or KernelCompilationException or InvalidDataException or OverflowException)
        {
            return new(double.NaN, e.Message.ReplaceLineEndings(" "));
        }
    }
}
