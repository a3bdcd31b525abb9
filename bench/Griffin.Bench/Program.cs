using Griffin.Bench.Predictions;
using Griffin.Bench.Report;
using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench;

internal static class Program
{
    private const int Refused = 2;

    private static int Main(string[] args)
    {
        try
        {
            switch (args)
            {
                case ["report", .. var rest]:
                    return ReportCommand.Run(rest);
                case ["predict", .. var rest]:
                    return PredictCommand.Run(rest);
                case ["training-step", .. var rest]:
                    TrainingStep.Run(rest.Select(arg => arg.Split('=', 2)).ToDictionary(parts => parts[0], parts => parts.Length == 2 ? parts[1] : "true"));
                    return 0;
                case ["read-bandwidth"]:
                    ReadBandwidth.Run();
                    return 0;
#if !CARRIED   // what travels to a GPU leaves BenchmarkDotNet at home
                case ["host", .. var rest]:
                    HostBenchmarks.Run(rest);
                    return 0;
#endif
                case ["--help" or "-h"]:
                    Console.Out.WriteLine(BenchOptions.Usage);
                    return 0;
                default:
                    return RunRows(BenchOptions.Parse(args));
            }
        }
        catch (Exception e) when (e is FormatException or InvalidDataException or DeviceUnavailableException or IOException)
        {
            Console.Error.WriteLine(e is FormatException ? $"{e.Message}\n{BenchOptions.Usage}" : e.Message);
            return Refused;
        }
    }

    private static int RunRows(BenchOptions options)
    {
        RowList rows = RowList.Load(options.ListFile, options.Scale);
        if (options.List)
        {
            foreach (BenchRow row in rows.Matching(options.Rows)) Console.Out.WriteLine(row.Id);
            return 0;
        }

        if (options.Check) return CheckRun.Run(options, rows);
        using BenchRun run = new(options, rows);
        return run.Run();
    }
}
