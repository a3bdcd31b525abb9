using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace Griffin.Bench;

/// <summary>What launches cost on the host, by BenchmarkDotNet.</summary>
internal static class HostBenchmarks
{
    /// <summary>Runs them with BenchmarkDotNet's own options. In process: that takes no SDK.</summary>
    public static void Run(string[] args) =>
        BenchmarkSwitcher.FromAssembly(typeof(HostBenchmarks).Assembly)
            .Run(args, ManualConfig.Create(DefaultConfig.Instance).AddJob(Job.Default.WithToolchain(InProcessEmitToolchain.Instance)));
}
