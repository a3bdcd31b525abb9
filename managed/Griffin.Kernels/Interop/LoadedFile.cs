using System.Globalization;

namespace Griffin.Kernels.Interop;

/// <summary>Which file a library that was loaded by bare name came from.</summary>
public static class LoadedFile
{
    /// <summary>The file behind a candidate that was just loaded: itself when it is a path, else the mapped file of that name where the system tells.</summary>
    public static string Resolve(string candidate)
    {
        if (Path.IsPathRooted(candidate) || !OperatingSystem.IsLinux()) return candidate;
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            int slash = line.IndexOf('/', StringComparison.Ordinal);
            if (slash >= 0 && Path.GetFileName(line[slash..]).StartsWith(candidate, StringComparison.Ordinal)) return line[slash..];
        }
        return candidate;
    }

    /// <summary>File name and size, links resolved: tells builds of one version apart without reading them.</summary>
    public static string Describe(string path)
    {
        if (!File.Exists(path)) return path;
        FileSystemInfo file = File.ResolveLinkTarget(path, returnFinalTarget: true) ?? new FileInfo(path);
        return string.Create(CultureInfo.InvariantCulture, $"{file.Name} {new FileInfo(file.FullName).Length}");
    }
}
