using System.Collections.Concurrent;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// Every variant of every op compiles with NVIDIA's own compiler for every supported architecture, without spills, and needs what the
/// checked-in tables say. Compiled to machine code, since inline PTX is checked only then.
/// </summary>
[TestFixture]
public sealed class KernelCompileTests
{
    private static readonly string[] architectures = ["sm_80", "sm_86", "sm_89", "sm_90"];
    private static readonly ConcurrentDictionary<string, Task<List<Result>>> results = new(StringComparer.Ordinal);
    private const string Hopper = "sm_90a";
    private const int RegisterFile = 65_536;
    private const int SmallSharedBytes = 99 * 1024;

    [TestCase("11.8")]
    [TestCase("12.4")]
    public void Every_kernel_compiles_without_spills_and_needs_what_the_table_says(string version)
    {
        NvrtcLibraries.Open(version);
        results.GetOrAdd(OtherVersion(version), Start); // both compilers work at the same time
        var columns = version == "11.8" ? architectures : [.. architectures, Hopper];
        var compiled = results.GetOrAdd(version, Start).GetAwaiter().GetResult();

        var table = new ResourceTable(columns);
        foreach (var (architecture, entry, resources) in compiled)
            table.Add(entry, architecture, resources);
        table.Update(version);
        Assert.Multiple(() =>
        {
            foreach (var (architecture, entry, resources) in compiled)
            {
                var what = $"{entry.Spec.NameExpression} for {architecture}";
                Assert.That(resources.SpillStoreBytes + resources.SpillLoadBytes, Is.Zero, $"{what}: bytes spilled");
                Assert.That(resources.Registers * entry.Threads, Is.LessThanOrEqualTo(RegisterFile), $"{what}: registers of a block");
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

    // One kernel after another in a library, as `griffin kernels` compiles them.
    private static Task<List<Result>> Start(string version) => Task.Run(() =>
    {
        var nvrtc = NvrtcLibraries.Open(version);
        return CatalogueModels.Entries
            .SelectMany(entry => ArchitecturesOf(entry, version).Select(architecture => new Result(architecture, entry, ResourcesOf(nvrtc, entry, architecture))))
            .ToList();
    });

    // One program a kernel, as the runtime compiles them: in a larger program, functions that are not inlined take the tightest kernel's registers.
    private static KernelResources ResourcesOf(Interop.Nvrtc nvrtc, CatalogueEntry entry, string architecture)
    {
        var compiled = KernelCompiler.CompileOffline(nvrtc, entry.Spec, architecture);
        Assert.That(compiled.Image.Length, Is.GreaterThan(0));
        return compiled.Resources ?? throw new InvalidOperationException($"{entry.Spec.NameExpression}: no report in the log\n{compiled.Log}");
    }

    private static string[] ArchitecturesOf(CatalogueEntry entry, string version) => entry.Spec.Architecture switch
    {
        null => architectures,
        Hopper when version == "11.8" => [], // does not know it
        var architecture => [architecture],
    };

    private sealed record Result(string Architecture, CatalogueEntry Entry, KernelResources Resources);
}
