using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>Compiles several instances of one kernel file as one program: the file is parsed once.</summary>
internal static class KernelBatch
{
    /// <summary>What each entry needs; all entries are of one file and have the same options.</summary>
    public static List<(CatalogueEntry Entry, KernelResources Resources)> Compile(Interop.Nvrtc nvrtc, CatalogueEntry[] entries, string architecture)
    {
        var source = entries[0].Spec.Source;
        var options = new KernelBuild(nvrtc, entries[0].Spec, architecture, ["--ptxas-options=-v"]).Options;
        Check(nvrtc.CreateProgram(out var program, source.Text, source.Name, IncludeScanner.Reach(source).Headers));
        try
        {
            foreach (var entry in entries)
                Check(nvrtc.AddNameExpression(program, entry.Spec.NameExpression));
            var status = nvrtc.CompileProgram(program, options);
            Check(nvrtc.GetProgramLog(program, out var log));
            if (status != 0)
                throw new InvalidOperationException($"{source.Name} for {architecture}: {nvrtc.GetErrorString(status)}\n{log}");
            var results = new List<(CatalogueEntry, KernelResources)>();
            foreach (var entry in entries)
            {
                Check(nvrtc.GetLoweredName(program, entry.Spec.NameExpression, out var name));
                var resources = KernelResources.Parse(log, name) ?? throw new InvalidOperationException($"{entry.Spec.NameExpression}: no report in the log\n{log}");
                results.Add((entry, resources));
            }

            Check(nvrtc.GetCubin(program, out var image));
            Assert.That(image, Is.Not.Empty);
            return results;
        }
        finally
        {
            nvrtc.DestroyProgram(program);
        }

        void Check(int status)
        {
            if (status != 0)
                throw new InvalidOperationException($"{source.Name} for {architecture}: {nvrtc.GetErrorString(status)}");
        }
    }
}
