using System.Globalization;
using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>Finds and binds NVIDIA's libraries (CUDA 11.8, 12 and 13; Linux and Windows) and the emulator, recording every attempt.</summary>
public static class LibrarySearch
{
    /// <summary>Name of the driver in traces.</summary>
    public const string DriverLibrary = "CUDA driver";
    /// <summary>Name of the compiler in traces.</summary>
    public const string NvrtcLibrary = "NVRTC";
    /// <summary>Name of cuBLAS in traces.</summary>
    public const string BlasLibrary = "cuBLAS";
    /// <summary>Name of cuBLASLt in traces.</summary>
    public const string BlasLtLibrary = "cuBLASLt";
    /// <summary>Name of the emulator in traces.</summary>
    public const string EmulatorLibrary = "emulator";

    /// <summary>Loads the CUDA driver; it is not initialised. Null when there is none.</summary>
    public static CudaDriver? TryOpenDriver(SearchTrace trace) =>
        TryBind(DriverLibrary, LibraryPlaces.DriverNames, LibraryPlaces.DriverFolders(), trace, (exports, _) => new DirectCudaDriver(exports), DriverVersion);

    /// <summary>Loads NVRTC. Null when there is none.</summary>
    /// <param name="trace">Receives every attempt.</param>
    /// <param name="driverVersion">Version of the driver (12040 for 12.4) whose major version is preferred; 0 for the newest.</param>
    public static Nvrtc? TryOpenNvrtc(SearchTrace trace, int driverVersion = 0) =>
        TryBind<Nvrtc>(NvrtcLibrary, LibraryPlaces.NvrtcNames(driverVersion / 1000), LibraryPlaces.ToolkitFolders("cuda_nvrtc"), trace,
            (exports, path) => new DirectNvrtc(exports, LoadedFile.Describe(path)), NvrtcVersion, _ => "*nvrtc-builtins*");

    /// <summary>Loads cuBLAS. Null when there is none.</summary>
    /// <param name="trace">Receives every attempt.</param>
    /// <param name="driverVersion">As for <see cref="TryOpenNvrtc"/>.</param>
    public static Blas? TryOpenBlas(SearchTrace trace, int driverVersion = 0) =>
        TryBind<Blas>(BlasLibrary, LibraryPlaces.BlasNames(driverVersion / 1000), LibraryPlaces.ToolkitFolders("cublas"), trace,
            (exports, _) => new DirectBlas(exports), _ => "", LibraryPlaces.LtOf);

    /// <summary>Loads cuBLASLt. Null when there is none.</summary>
    /// <param name="trace">Receives every attempt.</param>
    /// <param name="driverVersion">As for <see cref="TryOpenNvrtc"/>.</param>
    public static BlasLt? TryOpenBlasLt(SearchTrace trace, int driverVersion = 0) =>
        TryBind<BlasLt>(BlasLtLibrary, LibraryPlaces.BlasLtNames(driverVersion / 1000), LibraryPlaces.ToolkitFolders("cublas"), trace,
            (exports, _) => new DirectBlasLt(exports), _ => "");

    /// <summary>Loads the emulator, which stands for all of these libraries, and initialises its driver. Null when it is not there.</summary>
    public static GpuProvider? TryOpenEmulator(SearchTrace trace) =>
        TryBind(EmulatorLibrary, LibraryPlaces.EmulatorNames, LibraryPlaces.EmulatorFolders(), trace, (exports, path) =>
        {
            EmulatorControl control = new(exports);
            DirectCudaDriver driver = new(exports);
            CudaResult result = driver.Init();
            return result == CudaResult.Success
                ? new GpuProvider("emulator", driver, new DirectNvrtc(exports, path, control.CompilerIdentity), new DirectBlas(exports), trace, control) { BlasLt = new DirectBlasLt(exports) }
                : throw new InvalidOperationException($"cuInit of the emulator returned {(int)result}");
        }, provider => $"version {provider.Emulator!.Version}", byNameToo: false);

    private static T? TryBind<T>(string library, IReadOnlyList<string> names, IReadOnlyList<string> folders, SearchTrace trace,
        Func<ExportTable, string, T> bind, Func<T, string> describe, Func<string, string>? companions = null, bool byNameToo = true) where T : class
    {
        ArgumentNullException.ThrowIfNull(trace);
        string[] explicitFolders = LibraryPlaces.ExplicitFolders();
        foreach (string folder in explicitFolders)
            if (TryFolder(folder) is { } found) return found;
        if (byNameToo)
            foreach (string name in names)
                if (TryLoad(name) is { } found) return found;
        foreach (string folder in folders)
            if (TryFolder(folder) is { } found) return found;
        return null;

        T? TryFolder(string folder)
        {
            if (!Directory.Exists(folder))
            {
                trace.Add(new(library, folder, false, "no such folder"));
                return null;
            }
            bool any = false;
            foreach (string name in names)
            {
                string path = Path.Combine(folder, name);
                if (!File.Exists(path)) continue;
                any = true;
                if (companions is not null) Preload(folder, companions(name));
                if (TryLoad(path) is { } found) return found;
            }
            if (!any) trace.Add(new(library, folder, false, $"holds none of {string.Join(", ", names)}"));
            return null;
        }

        T? TryLoad(string candidate)
        {
            nint handle;
            try
            {
                handle = NativeLibrary.Load(candidate);
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                trace.Add(new(library, candidate, false, LoaderMessage(e.Message, candidate)));
                return null;
            }
            try
            {
                string path = LoadedFile.Resolve(candidate);
                T bound = bind(new ExportTable(handle, Path.GetFileName(path)), path);
                string version = describe(bound);
                trace.Add(new(library, candidate, true, version.Length == 0 ? path : $"{path}, {version}"));
                return bound;
            }
            catch (Exception e) when (e is EntryPointNotFoundException or InvalidOperationException)
            {
                NativeLibrary.Free(handle);
                trace.Add(new(library, candidate, false, FirstLine(e.Message)));
                return null;
            }
        }
    }

    /// <summary>Loads the parts that a library will ask for by bare name, from the same folder, so that they are found there.</summary>
    private static void Preload(string folder, string pattern)
    {
        foreach (string file in Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal))
            NativeLibrary.TryLoad(file, out _);
    }

    private static string DriverVersion(CudaDriver driver) =>
        driver.DriverGetVersion(out int version) == CudaResult.Success
            ? string.Create(CultureInfo.InvariantCulture, $"CUDA {version / 1000}.{version % 1000 / 10}")
            : "";

    private static string NvrtcVersion(Nvrtc nvrtc) =>
        nvrtc.Version(out int major, out int minor) == 0 ? string.Create(CultureInfo.InvariantCulture, $"version {major}.{minor}") : "";

    /// <summary>What the system's loader said, out of .NET's longer text that quotes it for each name it tried.</summary>
    private static string LoaderMessage(string text, string candidate)
    {
        string prefix = candidate + ": ";
        string? line = text.Split('\n').Select(one => one.Trim()).FirstOrDefault(one => one.StartsWith(prefix, StringComparison.Ordinal));
        return line is null ? FirstLine(text) : line[prefix.Length..];
    }

    private static string FirstLine(string text) => text.Split('\n')[0].Trim();
}
