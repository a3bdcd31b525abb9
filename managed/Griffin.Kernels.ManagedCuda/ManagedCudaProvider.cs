using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;
using ManagedCuda;
using ManagedCuda.CudaBlas;
using ManagedCuda.NVRTC;

namespace Griffin.Kernels.ManagedCuda;

/// <summary>
/// CUDA reached through ManagedCuda: its driver calls and handle types, its <see cref="CudaRuntimeCompiler"/> and its <see cref="CudaBlas"/>.
/// Its packages serve one major version of CUDA each and look for unversioned names, so on Linux links named libcuda.so, libnvrtc.so and
/// libcublas.so must lie where the loader looks. GRIFFIN_LIBRARY_PATH has no say here.
/// </summary>
public static class ManagedCudaProvider
{
    /// <summary>Name of the provider in messages and on command lines.</summary>
    public const string Name = "managedcuda";

    private static readonly Lock gate = new();
    private static GpuProvider? opened;

    /// <summary>The provider, for <see cref="GpuDeviceOptions.Provider"/>; one for the process, as ManagedCuda binds its libraries once.</summary>
    /// <exception cref="DeviceUnavailableException">The driver or NVRTC was not found under ManagedCuda's names, or the driver does not start.</exception>
    public static GpuProvider Open()
    {
        lock (gate) return opened ??= Bind();
    }

    private static GpuProvider Bind()
    {
        SearchTrace trace = new();
        bool windows = OperatingSystem.IsWindows();
        string driverName = windows ? "nvcuda" : "libcuda", nvrtcName = windows ? "nvrtc64_120_0" : "nvrtc", blasName = windows ? "cublas64_12" : "cublas";
        nint library = Find(LibrarySearch.DriverLibrary, driverName, typeof(CudaContext).Assembly, trace);
        if (library == 0) throw Missing("the CUDA driver", "libcuda.so", trace);
        nint nvrtc = Find(LibrarySearch.NvrtcLibrary, nvrtcName, typeof(CudaRuntimeCompiler).Assembly, trace);
        if (nvrtc == 0) throw Missing("NVRTC", "libnvrtc.so", trace);
        bool hasBlas = Find(LibrarySearch.BlasLibrary, blasName, typeof(CudaBlas).Assembly, trace) != 0;

        ManagedCudaDriver driver = new(NativeLibrary.TryGetExport(library, "cuMemAllocAsync", out _));
        CudaResult result = driver.Init();
        if (result != CudaResult.Success)
            throw new DeviceUnavailableException($"the CUDA driver that ManagedCuda found does not start: {driver.GetErrorName(result) ?? "error"} ({(int)result})", trace);
        EmulatorControl? emulator = EmulatorControl.TryBind(library);
        if (emulator is not null) trace.Add(new(LibrarySearch.EmulatorLibrary, driverName, true, $"behind the driver's name, version {emulator.Version}"));
        string file = LoadedFile.Describe(LoadedFile.Resolve(windows ? nvrtcName + ".dll" : "libnvrtc.so"));
        ManagedCudaNvrtc compiler = new(() => emulator?.CompilerIdentity() ?? NvrtcIdentity(file));
        return new GpuProvider(Name, driver, compiler, hasBlas ? new ManagedCudaBlas() : null, trace, emulator);
    }

    private static string NvrtcIdentity(string file)
    {
        Version version = CudaRuntimeCompiler.GetVersion();
        return string.Create(CultureInfo.InvariantCulture, $"NVRTC {version.Major}.{version.Minor} {file}");
    }

    /// <summary>Loads a library the way ManagedCuda's own resolver does, so that both hold the same one. 0 when it is not there.</summary>
    private static nint Find(string library, string name, Assembly assembly, SearchTrace trace)
    {
        bool found = NativeLibrary.TryLoad(name, assembly, DllImportSearchPath.SafeDirectories, out nint handle);
        trace.Add(new(library, name, found, found ? "loaded for ManagedCuda" : "not where the system's loader looks"));
        return found ? handle : 0;
    }

    private static DeviceUnavailableException Missing(string what, string link, SearchTrace trace) => new(
        OperatingSystem.IsWindows()
            ? $"ManagedCuda did not find {what}"
            : $"ManagedCuda did not find {what}: it looks for {link}, without a version, on the loader's path (LD_LIBRARY_PATH)", trace);
}
