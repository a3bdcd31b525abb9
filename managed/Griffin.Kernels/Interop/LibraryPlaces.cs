using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>File names of the native libraries, and the folders where installers, containers and Python packages put them.</summary>
internal static class LibraryPlaces
{
    private const string LibraryPathVariable = "GRIFFIN_LIBRARY_PATH";
    private static readonly string[] toolkitVariables = ["CUDA_PATH", "CUDA_HOME", "CUDA_ROOT"];

    public static IReadOnlyList<string> DriverNames { get; } = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    public static IReadOnlyList<string> EmulatorNames { get; } = ["libgriffin_emulator.so"];

    /// <summary>NVRTC's names, those that the driver can serve first: a cubin of a newer major version than the driver's may be refused.</summary>
    public static IReadOnlyList<string> NvrtcNames(int driverMajor) => Order(driverMajor, OperatingSystem.IsWindows()
        ? [(13, "nvrtc64_130_0.dll"), (12, "nvrtc64_120_0.dll"), (11, "nvrtc64_112_0.dll")]
        : [(13, "libnvrtc.so.13"), (12, "libnvrtc.so.12"), (11, "libnvrtc.so.11.2"), (0, "libnvrtc.so")]);

    /// <summary>cuBLAS's names, in the same order.</summary>
    public static IReadOnlyList<string> BlasNames(int driverMajor) => Order(driverMajor, OperatingSystem.IsWindows()
        ? [(13, "cublas64_13.dll"), (12, "cublas64_12.dll"), (11, "cublas64_11.dll")]
        : [(13, "libcublas.so.13"), (12, "libcublas.so.12"), (11, "libcublas.so.11"), (0, "libcublas.so")]);

    /// <summary>cuBLASLt's names, in the same order.</summary>
    public static IReadOnlyList<string> BlasLtNames(int driverMajor) => [.. BlasNames(driverMajor).Select(LtOf)];

    /// <summary>The cuBLASLt that goes with a cuBLAS: beside it, of its version.</summary>
    public static string LtOf(string blas) => blas.Replace("cublas", "cublasLt", StringComparison.Ordinal);

    /// <summary>Folders named in GRIFFIN_LIBRARY_PATH: looked at before everything else.</summary>
    public static string[] ExplicitFolders() =>
        Environment.GetEnvironmentVariable(LibraryPathVariable)?.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];

    public static IReadOnlyList<string> DriverFolders() => OperatingSystem.IsWindows()
        ? [Environment.SystemDirectory]
        : [.. SystemFolders(), "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"];

    public static IReadOnlyList<string> EmulatorFolders() =>
        [AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar), Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native")];

    /// <summary>Folders of CUDA toolkits and of Python packages that carry one component each.</summary>
    /// <param name="component">The component's folder in NVIDIA's Python packages, for instance "cuda_nvrtc".</param>
    public static IReadOnlyList<string> ToolkitFolders(string component)
    {
        List<string> folders = [];
        foreach (string variable in toolkitVariables)
            if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } root) folders.AddRange(InToolkit(root));
        if (OperatingSystem.IsWindows())
        {
            string programs = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ProgramFiles), "NVIDIA GPU Computing Toolkit", "CUDA");
            foreach (string root in Children(programs, "v*")) folders.AddRange(InToolkit(root));
        }
        else
        {
            folders.AddRange(InToolkit("/usr/local/cuda"));
            foreach (string root in Children("/usr/local", "cuda-*")) folders.AddRange(InToolkit(root));
            folders.AddRange(InToolkit("/opt/cuda"));
            folders.AddRange(SystemFolders());
        }
        if (Environment.GetEnvironmentVariable("CONDA_PREFIX") is { Length: > 0 } conda)
            folders.Add(OperatingSystem.IsWindows() ? Path.Combine(conda, "Library", "bin") : Path.Combine(conda, "lib"));
        foreach (string packages in PythonPackageFolders())
            foreach (string name in (string[])[component, "cu13"])
                folders.AddRange(Existing(Path.Combine(packages, "nvidia", name, OperatingSystem.IsWindows() ? "bin" : "lib")));
        return [.. folders.Distinct()];
    }

    private static string[] InToolkit(string root) => OperatingSystem.IsWindows()
        ? [Path.Combine(root, "bin", "x64"), Path.Combine(root, "bin")]
        : [Path.Combine(root, "lib64"), Path.Combine(root, "targets", RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "sbsa-linux" : "x86_64-linux", "lib")];

    private static string[] SystemFolders() =>
        [$"/usr/lib/{(RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "aarch64" : "x86_64")}-linux-gnu", "/usr/lib64", "/usr/lib"];

    private static IEnumerable<string> PythonPackageFolders()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        List<string> roots = [];
        foreach (string variable in (string[])["VIRTUAL_ENV", "CONDA_PREFIX"])
            if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } root) roots.Add(root);
        if (OperatingSystem.IsWindows()) return roots.Select(root => Path.Combine(root, "Lib", "site-packages"));
        roots.AddRange([Path.Combine(home, ".local"), "/usr/local", "/usr"]);
        return from root in roots
               from python in Children(Path.Combine(root, "lib"), "python3*")
               from kind in (string[])["site-packages", "dist-packages"]
               select Path.Combine(python, kind);
    }

    private static IEnumerable<string> Existing(string folder) => Directory.Exists(folder) ? [folder] : [];

    private static IEnumerable<string> Children(string folder, string pattern)
    {
        try
        {
            return Directory.Exists(folder) ? [.. Directory.GetDirectories(folder, pattern).OrderDescending(StringComparer.Ordinal)] : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string[] Order(int driverMajor, (int Major, string Name)[] names) =>
        [.. names.OrderBy(name => driverMajor > 0 && name.Major > driverMajor).Select(name => name.Name)];
}
