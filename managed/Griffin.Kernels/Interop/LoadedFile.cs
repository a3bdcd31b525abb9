using System.Globalization;

namespace Griffin.Kernels.Interop;

/// <summary>Which file a library that was loaded by bare name came from.</summary>
internal static class LoadedFile
{
    /// <summary>The mapped file whose name starts as one of <paramref name="names"/> does; null when the system does not tell.</summary>
    public static string? PathOf(nint handle, IReadOnlyList<string> names)
    {
        if (handle == 0 || !OperatingSystem.IsLinux()) return null;
        foreach (string name in names)
        {
            foreach (string line in File.ReadLines("/proc/self/maps"))
            {
                int slash = line.IndexOf('/', StringComparison.Ordinal);
                if (slash >= 0 && Path.GetFileName(line[slash..]).StartsWith(name, StringComparison.Ordinal)) return line[slash..];
            }
        }
        return null;
    }

    /// <summary>File name and size, links resolved: tells builds of one version apart without reading them.</summary>
    public static string Describe(string path)
    {
        if (!File.Exists(path)) return path;
        FileSystemInfo file = File.ResolveLinkTarget(path, returnFinalTarget: true) ?? new FileInfo(path);
        return string.Create(CultureInfo.InvariantCulture, $"{file.Name} {new FileInfo(file.FullName).Length}");
    }
}
