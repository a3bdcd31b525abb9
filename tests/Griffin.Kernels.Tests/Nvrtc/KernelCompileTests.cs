using System.Collections.Concurrent;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// Every variant of every op compiles with NVIDIA's own compiler for every supported architecture, without spills, and needs what the
/// checked-in tables say. Compiled to machine code, since inline PTX is checked only then.
/// </summary>
[TestFixture]
public sealed class KernelCompileTests
{
    private static readonly ConcurrentDictionary<string, Task> others = new(StringComparer.Ordinal);
    private const int RegisterFile = 65_536;
    private const int MostCompilations = 6;
    private const int SmallSharedBytes = 99 * 1024;

    [TestCase("11.8")]
    [TestCase("12.4")]
    public void Every_kernel_compiles_without_spills_and_needs_what_the_table_says(string version)
    {
        NvrtcLibraries.Open(version);
        others.GetOrAdd(OtherVersion(version), other => Task.Run(() => CompiledKernels.By(other))); // both compilers work at the same time
        var compiled = CompiledKernels.By(version);

        var table = new ResourceTable(version == "11.8" ? CompiledKernels.Architectures : [.. CompiledKernels.Architectures, CompiledKernels.Hopper]);
        foreach (var kernel in compiled)
            table.Add(kernel);
        table.Update(version);
        // The compiler gives some kernels other registers from one time to the next: what differs is compiled again.
        IReadOnlyList<MachineKernel> differing = [.. table.Differing(version, compiled)];
        for (var again = 0; again < MostCompilations && differing.Count > 0; again++)
        {
            MachineKernel[] anew = [.. differing.Select(kernel => CompiledKernels.Anew(version, kernel))];
            foreach (var kernel in anew)
                table.Add(kernel);
            differing = [.. table.Differing(version, anew)];
        }

        Assert.Multiple(() =>
        {
            foreach (var kernel in compiled)
            {
                Assert.That(kernel.Resources.SpillStoreBytes + kernel.Resources.SpillLoadBytes, Is.Zero, $"{kernel}: bytes spilled");
                Assert.That(kernel.Resources.Registers * kernel.Entry.Threads, Is.LessThanOrEqualTo(RegisterFile), $"{kernel}: registers of a block");
            }

            Assert.That(table.Differences(version), Is.Empty, $"{ResourceTable.PathOf(version)} (GRIFFIN_UPDATE_RESOURCES=1 writes it anew)");
        });
    }

    [Test]
    public void Every_kernel_file_has_an_entry_that_fits_the_smallest_shared_memory()
    {
        var files = CatalogueModels.Entries.ToLookup(entry => entry.Spec.Source.Name);
        Assert.That(files.Select(file => file.Key), Is.EquivalentTo(KernelSource.BuiltInNames), "kernel files in the catalogue");
        foreach (var file in files)
            Assert.That(file.Min(entry => entry.SharedBytes), Is.LessThanOrEqualTo(SmallSharedBytes), file.Key);
    }

    [Test]
    public void The_compiler_sees_faulty_inline_assembly()
    {
        var nvrtc = NvrtcLibraries.Open("12.4");
        var source = KernelSource.FromText("faulty.cu", "template <int N> __global__ void faulty(int* p) { asm volatile(\"no.such.instruction;\"); *p = N; }");
        Assert.That(() => KernelCompiler.CompileOffline(nvrtc, new KernelSpec(source, "faulty<1>"), "sm_80"), Throws.InstanceOf<KernelCompilationException>());
    }

    private static string OtherVersion(string version) => version == "11.8" ? "12.4" : "11.8";
}
