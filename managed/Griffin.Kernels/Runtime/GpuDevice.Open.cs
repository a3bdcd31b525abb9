using System.Globalization;
using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

public sealed partial class GpuDevice
{
    private const int OldestMajor = 8;

    private static readonly Lock emulatorLock = new();
    private static GpuProvider? emulator;

    /// <summary>Opens a device.</summary>
    /// <param name="device">
    /// "auto": the first GPU when there is one, else the emulator (a GPU that is present but cannot be used is an error, not a reason to emulate);
    /// "cuda" or "cuda:N": a GPU; "emulator": the emulator's plain device.
    /// </param>
    /// <param name="options">Logging, caching, or a provider of your own.</param>
    /// <exception cref="ArgumentException">The name is none of these.</exception>
    /// <exception cref="DeviceUnavailableException">There is no such device; one line names the first thing missing.</exception>
    public static GpuDevice Open(string device = "auto", GpuDeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        options ??= new();
        int ordinal = 0;
        bool valid = device is "auto" or "cuda" or "emulator"
            || (device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(device.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out ordinal));
        if (!valid) throw new ArgumentException($"unknown device '{device}'; use auto, cuda, cuda:N or emulator", nameof(device));
        SearchTrace trace = options.Provider?.Trace ?? new();
        if (options.Provider is { } given)
        {
            string behind = given.Emulator is null ? "cuda" : "emulator";
            if (device != "auto" && !device.StartsWith(behind, StringComparison.Ordinal))
                throw new DeviceUnavailableException($"'{device}' was asked for, but behind the provider {given.Name} is {(given.Emulator is null ? "a GPU driver" : "the emulator")}", trace);
            return FromProvider(given, ordinal, given.Emulator is null ? $"cuda:{ordinal}" : behind, false, options);
        }
        if (device == "emulator") return FromProvider(Emulator(trace), 0, "emulator", false, options);
        (CudaDriver? driver, string? missing) = ProbeGpu(LibrarySearch.TryOpenDriver(trace), trace);
        if (driver is null)
        {
            if (device == "auto") return FromProvider(Emulator(trace), 0, "emulator", false, options);
            throw new DeviceUnavailableException(missing!, trace);
        }
        return OpenGpu(driver, ordinal, trace, options);
    }

    /// <summary>Opens an emulated device of its own, with its own memory and context.</summary>
    /// <exception cref="DeviceUnavailableException">The emulator is not available on this machine.</exception>
    public static GpuDevice OpenEmulator(EmulatorOptions emulatorOptions, GpuDeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(emulatorOptions);
        options ??= new();
        GpuProvider provider = options.Provider ?? Emulator(new());
        EmulatorControl control = provider.Emulator ?? throw new ArgumentException("The given provider is not an emulator.", nameof(options));
        if (emulatorOptions.ComputeCapability is not ((8, 0) or (8, 6) or (9, 0)))
            throw new ArgumentException($"The emulator has devices of compute capability 8.0, 8.6 and 9.0, not {emulatorOptions.ComputeCapability}.", nameof(emulatorOptions));
        int ordinal = control.AddDevice(emulatorOptions.ComputeCapability.Major, emulatorOptions.ComputeCapability.Minor,
            emulatorOptions.Checked, emulatorOptions.CountAccesses, emulatorOptions.Seed, emulatorOptions.Workers, emulatorOptions.MemoryBytes);
        if (ordinal < 1) throw new ArgumentException($"The emulator refused these options: {emulatorOptions}.", nameof(emulatorOptions));
        return FromProvider(provider, ordinal, "emulator", emulatorOptions.Checked, options, emulatorOptions.CountAccesses);
    }

    internal static GpuDevice FromContext(GpuProvider provider, nint context, GpuDeviceOptions options)
    {
        DeviceContext wrapped = new(provider, context);
        wrapped.MakeCurrent();
        wrapped.Check(provider.Driver.CtxGetDevice(out int device), "cuCtxGetDevice");
        return new(provider, wrapped, device, provider.Name, ownsContext: false, isChecked: false, options);
    }

    /// <summary>The driver when it says that there is a GPU; else why there is none. A driver that is broken throws.</summary>
    internal static (CudaDriver? Driver, string? Missing) ProbeGpu(CudaDriver? driver, SearchTrace trace)
    {
        if (driver is null) return (null, $"no CUDA driver was found ({string.Join(", ", LibraryPlaces.DriverNames)})");
        CudaResult result = driver.Init();
        int count = 0;
        if (result == CudaResult.Success) result = driver.DeviceGetCount(out count);
        if (result is CudaResult.NoDevice or CudaResult.StubLibrary || (result == CudaResult.Success && count == 0))
        {
            return (null, result == CudaResult.StubLibrary
                ? "only the toolkit's stub of the CUDA driver was found"
                : "the CUDA driver reports no device");
        }
        if (result != CudaResult.Success)
            throw new DeviceUnavailableException($"the CUDA driver does not start: {driver.GetErrorName(result) ?? "error"} ({(int)result})", trace);
        return (driver, null);
    }

    private static GpuDevice OpenGpu(CudaDriver driver, int ordinal, SearchTrace trace, GpuDeviceOptions options)
    {
        string where = string.Create(CultureInfo.InvariantCulture, $"cuda:{ordinal}");
        if (driver.DeviceGetCount(out int count) != CudaResult.Success || ordinal >= count)
            throw new DeviceUnavailableException($"there is no {where}: the CUDA driver reports {count} device{(count == 1 ? "" : "s")}", trace);
        RefuseOld(driver, ordinal, where, trace);
        driver.DriverGetVersion(out int version);
        Nvrtc nvrtc = LibrarySearch.TryOpenNvrtc(trace, version)
            ?? throw new DeviceUnavailableException($"{where} cannot be used: NVRTC was not found "
                + $"({string.Join(", ", LibraryPlaces.NvrtcNames(version / 1000))}); install it, or name its folder in GRIFFIN_LIBRARY_PATH", trace);
        GpuProvider provider = new("nvidia", driver, nvrtc, LibrarySearch.TryOpenBlas(trace, version), trace) { BlasLt = LibrarySearch.TryOpenBlasLt(trace, version) };
        return FromProvider(provider, ordinal, where, false, options);
    }

    private static void RefuseOld(CudaDriver driver, int ordinal, string where, SearchTrace trace)
    {
        if (driver.DeviceGet(out int device, ordinal) != CudaResult.Success
            || driver.DeviceGetAttribute(out int major, DeviceAttribute.ComputeCapabilityMajor, device) != CudaResult.Success
            || driver.DeviceGetAttribute(out int minor, DeviceAttribute.ComputeCapabilityMinor, device) != CudaResult.Success)
            throw new DeviceUnavailableException($"{where} does not answer", trace);
        if (major >= OldestMajor) return;
        driver.DeviceGetName(out string name, device);
        throw new DeviceUnavailableException($"{where} ({name}) has compute capability {major}.{minor}; the kernels need {OldestMajor}.0 or newer", trace);
    }

    private static GpuProvider Emulator(SearchTrace trace)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
            throw new DeviceUnavailableException("the emulator runs on Linux x86-64 only", trace);
        lock (emulatorLock)
        {
            return emulator ??= LibrarySearch.TryOpenEmulator(trace)
                ?? throw new DeviceUnavailableException(
                    $"the emulator was not found ({LibraryPlaces.EmulatorNames[0]} beside the program); it is built with CMake and a C++ compiler", trace);
        }
    }

    private static GpuDevice FromProvider(GpuProvider provider, int ordinal, string where, bool isChecked, GpuDeviceOptions options, bool counts = false)
    {
        CudaDriver driver = provider.Driver;
        if (driver.DeviceGet(out int device, ordinal) != CudaResult.Success)
            throw new DeviceUnavailableException($"there is no device {ordinal} behind {provider.Name}", provider.Trace);
        RefuseOld(driver, ordinal, where, provider.Trace);
        CudaResult result = driver.DevicePrimaryCtxRetain(out nint context, device);
        if (result != CudaResult.Success)
            throw new DeviceUnavailableException($"{where} gives no context: {driver.GetErrorName(result) ?? "error"} ({(int)result})", provider.Trace);
        return new(provider, new DeviceContext(provider, context), device, where, ownsContext: true, isChecked, options, counts ? ordinal : null);
    }

    private static (int Major, int Minor) Capability(DeviceContext context, int device)
    {
        context.Check(context.Driver.DeviceGetAttribute(out int major, DeviceAttribute.ComputeCapabilityMajor, device), "cuDeviceGetAttribute");
        context.Check(context.Driver.DeviceGetAttribute(out int minor, DeviceAttribute.ComputeCapabilityMinor, device), "cuDeviceGetAttribute");
        return (major, minor);
    }
}
