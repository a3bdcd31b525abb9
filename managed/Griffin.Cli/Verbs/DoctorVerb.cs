using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Griffin.Kernels.Diagnostics;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Cli.Verbs;

/// <summary>Shows every library sought and found, the device, and whether each kernel computes what it should.</summary>
internal sealed class DoctorVerb : Verb
{
    private static readonly string[] libraries =
        [LibrarySearch.DriverLibrary, LibrarySearch.NvrtcLibrary, LibrarySearch.BlasLibrary, LibrarySearch.BlasLtLibrary, LibrarySearch.EmulatorLibrary];

    internal DoctorVerb() : base("doctor", "show every library sought and found, the device, and a self-test of each kernel")
    {
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        SearchTrace trace = SearchOf(settings);
        if (!settings.Json) WriteTrace(settings.Streams.Output, trace);

        GpuDevice device;
        try
        {
            device = settings.OpenDevice();
        }
        catch (DeviceUnavailableException missing) when (settings.Json)
        {
            JsonOutput.Write(settings.Streams.Output, json => WriteFindings(json, trace, null, missing.Message));
            return Task.FromResult(ExitCode.Failure);
        }
        using (device)
        {
            if (!settings.Json) WriteDevice(settings.Streams.Output, device);
            IReadOnlyList<SelfTestResult> results = settings.Work.Run(progress => KernelSelfTest.Run(
                device, new ProgressAdapter<(int Done, int Total)>(progress, report => new StageProgress("self-test", report.Done, report.Total)), cancellationToken));
            if (settings.Json)
            {
                JsonOutput.Write(settings.Streams.Output, json =>
                {
                    WriteFindings(json, trace, device, null);
                    WriteResults(json, results);
                });
            }
            else
            {
                WriteResults(settings.Streams.Output, results);
            }
            return Task.FromResult(results.All(result => result.Passed) ? ExitCode.Success : ExitCode.Failure);
        }
    }

    /// <summary>Where the libraries were sought: by the provider asked for, or else by the library in all its places.</summary>
    private static SearchTrace SearchOf(CommonSettings settings)
    {
        try
        {
            if (settings.Provider is { } provider) return provider.Trace;
        }
        catch (DeviceUnavailableException missing)
        {
            return missing.Trace;
        }
        SearchTrace trace = new();
        // The driver's version steers the search, here as when the device is opened: the same files are found.
        int version = 0;
        LibrarySearch.TryOpenDriver(trace)?.DriverGetVersion(out version);
        LibrarySearch.TryOpenNvrtc(trace, version);
        LibrarySearch.TryOpenBlas(trace, version);
        LibrarySearch.TryOpenBlasLt(trace, version);
        LibrarySearch.TryOpenEmulator(trace);
        return trace;
    }

    private static void WriteTrace(TextWriter output, SearchTrace trace)
    {
        foreach (string library in libraries)
        {
            output.WriteLine($"{library}: {trace.Found(library)?.Detail ?? "not found"}");
            foreach (SearchStep step in trace.Steps.Where(step => step.Library == library && !step.Found))
                output.WriteLine($"    {step.Candidate}: {step.Detail}");
        }
    }

    private static void WriteDevice(TextWriter output, GpuDevice device)
    {
        (long free, long total) = device.MemoryInfo;
        foreach ((string name, string value) in (ReadOnlySpan<(string, string)>)
        [
            ("device", device.Description),
            ("provider", device.Provider.Name),
            ("compute capability", $"{device.ComputeCapability.Major}.{device.ComputeCapability.Minor}, kernels for {device.Compiler.Architecture}"),
            ("multiprocessors", Text(device.Limits.MultiprocessorCount)),
            ("shared memory of a block", $"{Text(device.Limits.SharedBytesPerBlockOptIn)} bytes"),
            ("memory", $"{Text(free >> 20)} of {Text(total >> 20)} MiB free"),
            ("compiler", device.Provider.Nvrtc.Identity),
            ("matrix products", !device.HasBlas ? "own kernels" : device.HasBlasLt ? "cuBLAS and cuBLASLt of the provider" : "cuBLAS of the provider"),
            ("kernel cache", device.Compiler.CacheFolder ?? "off"),
        ])
        {
            output.WriteLine($"{name}: {value}");
        }
    }

    private static void WriteFindings(Utf8JsonWriter json, SearchTrace trace, GpuDevice? device, string? problem)
    {
        json.WriteStartArray("libraries");
        foreach (string library in libraries)
        {
            json.WriteStartObject();
            json.WriteString("name", library);
            json.WriteString("found", trace.Found(library)?.Detail);
            json.WriteStartArray("tried");
            foreach (SearchStep step in trace.Steps.Where(step => step.Library == library && !step.Found)) json.WriteStringValue($"{step.Candidate}: {step.Detail}");
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteString("device", device?.Description);
        if (problem is not null) json.WriteString("problem", problem);
        if (device is null) return;
        json.WriteString("compute_capability", $"{device.ComputeCapability.Major}.{device.ComputeCapability.Minor}");
        json.WriteNumber("memory_bytes", device.MemoryInfo.Total);
        json.WriteString("compiler", device.Provider.Nvrtc.Identity);
        json.WriteBoolean("cublas", device.HasBlas);
        json.WriteBoolean("cublaslt", device.HasBlasLt);
        json.WriteString("kernel_cache", device.Compiler.CacheFolder);
    }

    private static void WriteResults(TextWriter output, IReadOnlyList<SelfTestResult> results)
    {
        output.WriteLine($"self-test: {results.Count(result => result.Passed)} of {results.Count} kernel variants are right");
        foreach (SelfTestResult result in results)
        {
            string outcome = result.Problem ?? string.Create(CultureInfo.InvariantCulture, $"error {result.LargestError:G3} of {result.Tolerance:G3}");
            output.WriteLine($"    {result.Op} {result.Variant} {result.Type.CudaName()}: {(result.Passed ? "right" : "WRONG")}, {outcome.Split('\n')[0]}");
        }
    }

    private static void WriteResults(Utf8JsonWriter json, IReadOnlyList<SelfTestResult> results)
    {
        json.WriteStartArray("self_test");
        foreach (SelfTestResult result in results)
        {
            json.WriteStartObject();
            json.WriteString("op", result.Op);
            json.WriteString("variant", result.Variant);
            json.WriteString("type", result.Type.CudaName());
            json.WriteBoolean("passed", result.Passed);
            if (double.IsFinite(result.LargestError)) json.WriteNumber("error", result.LargestError);
            json.WriteNumber("tolerance", result.Tolerance);
            if (result.Problem is not null) json.WriteString("problem", result.Problem);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
