using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>NVIDIA's own run-time compilers, as <c>.ci/fetch-nvrtc</c> puts them under artifacts/nvrtc: one folder per version.</summary>
internal static class NvrtcLibraries
{
    private static readonly Dictionary<string, Interop.Nvrtc> opened = new(StringComparer.Ordinal);

    /// <summary>The folder of a version's libraries; skips the calling test, with the reason, when it is not there.</summary>
    public static string FolderOf(string version)
    {
        var folder = Path.Combine(Repository.Root ?? AppContext.BaseDirectory, "artifacts", "nvrtc", version);
        if (!Directory.Exists(folder))
            Assert.Ignore($"NVRTC {version} is not there: run .ci/fetch-nvrtc");
        return folder;
    }

    /// <summary>The compiler of a version; skips the calling test, with the reason, when it is not there.</summary>
    public static Interop.Nvrtc Open(string version)
    {
        lock (opened)
        {
            if (opened.TryGetValue(version, out var nvrtc))
                return nvrtc;
            var folder = FolderOf(version);

            // The compiler asks for its builtins by bare name: they are found because they are loaded already.
            foreach (var builtins in Directory.GetFiles(folder, "libnvrtc-builtins.so.*"))
                NativeLibrary.Load(builtins);
            var library = Directory.GetFiles(folder, "libnvrtc.so.*").Order(StringComparer.Ordinal).First();
            nvrtc = new DirectNvrtc(new ExportTable(NativeLibrary.Load(library), library), library);
            Assert.That(nvrtc.Version(out var major, out var minor), Is.Zero);
            Assert.That($"{major}.{minor}", Is.EqualTo(version), library);
            opened.Add(version, nvrtc);
            return nvrtc;
        }
    }
}
