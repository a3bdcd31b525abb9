using System.Collections.Concurrent;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>A kernel as machine code for one architecture.</summary>
internal sealed record MachineKernel(string Architecture, CatalogueEntry Entry, byte[] Image, KernelResources Resources)
{
    public override string ToString() => $"{Entry.Spec.NameExpression} for {Architecture}";
}

/// <summary>Kernels of <see cref="CatalogueModels"/>, compiled once a run by each of NVIDIA's compilers, whichever test asks first.</summary>
internal static class CompiledKernels
{
    private static readonly ConcurrentDictionary<(string Version, CatalogueEntry Entry, string Architecture), Lazy<MachineKernel>> results = new();

    public static IReadOnlyList<string> Architectures { get; } = ["sm_80", "sm_86", "sm_89", "sm_90"];
    public const string Hopper = "sm_90a";

    /// <summary>Every kernel for every architecture that a compiler version knows; skips the calling test, with the reason, when it is not there.</summary>
    public static IReadOnlyList<MachineKernel> By(string version) =>
        [.. CatalogueModels.Entries.SelectMany(entry => ArchitecturesOf(entry, version).Select(architecture => Of(version, entry, architecture)))];

    /// <summary>One kernel.</summary>
    public static MachineKernel Of(string version, CatalogueEntry entry, string architecture)
    {
        var nvrtc = NvrtcLibraries.Open(version);
        return results.GetOrAdd((version, entry, architecture), key => new(() => Compile(nvrtc, key.Entry, key.Architecture))).Value;
    }

    /// <summary>The same kernel from a compilation of its own.</summary>
    public static MachineKernel Anew(string version, MachineKernel kernel) => Compile(NvrtcLibraries.Open(version), kernel.Entry, kernel.Architecture);

    /// <summary>The architectures of the table that a kernel is compiled for.</summary>
    public static IReadOnlyList<string> ArchitecturesOf(CatalogueEntry entry, string version) => entry.Spec.Architecture switch
    {
        null => Architectures,
        Hopper when version == "11.8" => [], // does not know it
        var architecture => [architecture],
    };

    // One program a kernel, as the runtime compiles them: in a larger program, functions that are not inlined take the tightest kernel's registers.
    // One after another in a library, as `griffin kernels` compiles them.
    private static MachineKernel Compile(Interop.Nvrtc nvrtc, CatalogueEntry entry, string architecture)
    {
        lock (nvrtc)
        {
            var compiled = KernelCompiler.CompileOffline(nvrtc, entry.Spec, architecture);
            Assert.That(compiled.Image.Length, Is.GreaterThan(0));
            // Where registers of a product under way are touched, ptxas waits after each product; it passes over setmaxnreg where it cannot tell the registers
            // at the kernel's start. The log alone says so.
            if (architecture == Hopper) Assert.That(compiled.Log, Does.Not.Contain("Potential Performance Loss"), entry.Spec.NameExpression);
            var resources = compiled.Resources ?? throw new InvalidOperationException($"{entry.Spec.NameExpression}: no report in the log\n{compiled.Log}");
            return new(architecture, entry, compiled.Image.ToArray(), resources);
        }
    }
}
