using Griffin.Bench;
using Griffin.Bench.Rows;
using Griffin.Bench.TorchSharp;
using Griffin.Kernels.Runtime;

try
{
    BenchOptions options = BenchOptions.Parse(args);
    RowList rows = RowList.Load(options.ListFile, options.Scale);
    using TorchRun run = new(options, rows);
    run.Run();
    return 0;
}
catch (Exception e) when (e is FormatException or InvalidDataException or DeviceUnavailableException or IOException)
{
    Console.Error.WriteLine(e is FormatException ? $"{e.Message}\n{BenchOptions.Usage}" : e.Message);
    return 2;
}
