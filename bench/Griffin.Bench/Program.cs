using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace Griffin.Bench;

internal static class Program
{
    // "training-step key=value …" times whole training steps; anything else goes to BenchmarkDotNet, which times the host's side. In process: the
    // benchmarks then run from a published folder, too, on a machine without an SDK.
    private static void Main(string[] args)
    {
        if (args is ["training-step", ..])
        {
            TrainingStep.Run(args.Skip(1).Select(arg => arg.Split('=', 2)).ToDictionary(parts => parts[0], parts => parts.Length == 2 ? parts[1] : "true"));
            return;
        }

        BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly)
            .Run(args, ManualConfig.Create(DefaultConfig.Instance).AddJob(Job.Default.WithToolchain(InProcessEmitToolchain.Instance)));
    }
}
