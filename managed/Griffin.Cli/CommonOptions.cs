using System.CommandLine;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;
using Microsoft.Extensions.Logging;

namespace Griffin.Cli;

/// <summary>The options that every verb has.</summary>
internal sealed class CommonOptions
{
    private readonly Option<string?> _device = new("--device")
    {
        Description = "where to run; auto (the default) takes a GPU when there is one, else the emulator",
        HelpName = "auto|cuda[:N]|emulator",
        Recursive = true,
    };

    private readonly Option<string?> _provider = new("--provider")
    {
        Description = $"how CUDA is reached; {Providers.Direct} is the default, {Providers.ManagedCuda} needs a build with -p:WithManagedCuda=true",
        HelpName = $"{Providers.Direct}|{Providers.ManagedCuda}",
        Recursive = true,
    };

    private readonly Option<string?> _precision = OptionKit.Word("--precision", "storage type of weights and activations (default: bfloat16)", "bfloat16", "float32");

    private readonly Option<bool> _json = new("--json") { Description = "print one JSON object", Recursive = true };

    internal CommonOptions()
    {
        _precision.Recursive = true;
        _device.Validators.Add(result =>
        {
            string device = result.Tokens.Count > 0 ? result.Tokens[0].Value : "auto";
            if (!IsDeviceName(device)) result.AddError($"unknown device '{device}'; use auto, cuda, cuda:N or emulator");
        });
        _provider.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && Providers.Absence(result.Tokens[0].Value) is { } absence) result.AddError(absence);
        });
    }

    internal void AddTo(RootCommand root)
    {
        root.Add(_device);
        root.Add(_provider);
        root.Add(_precision);
        root.Add(_json);
    }

    /// <summary>The values on a command line.</summary>
    internal CommonSettings Read(ParseResult parsed, CliStreams streams) =>
        new(parsed.GetValue(_device) ?? "auto", parsed.GetValue(_provider) ?? Providers.Direct, PrecisionOf(parsed.GetValue(_precision)), parsed.GetValue(_json), streams);

    private static ElementType? PrecisionOf(string? word) => word switch
    {
        null => null,
        "float32" => ElementType.Float32,
        _ => ElementType.BFloat16,
    };

    private static bool IsDeviceName(string device) => device is "auto" or "cuda" or "emulator"
        || (device.StartsWith("cuda:", StringComparison.Ordinal) && device.Length > 5 && device.AsSpan(5).IndexOfAnyExceptInRange('0', '9') < 0);
}

/// <summary>What every verb knows.</summary>
/// <param name="Device">The device asked for.</param>
/// <param name="ProviderName">The way to CUDA asked for.</param>
/// <param name="GivenPrecision">The storage type, when one was asked for.</param>
/// <param name="Json">Whether the result is one JSON object.</param>
/// <param name="Streams">Where to write.</param>
internal sealed record CommonSettings(string Device, string ProviderName, ElementType? GivenPrecision, bool Json, CliStreams Streams)
{
    /// <summary>The storage type.</summary>
    internal ElementType Precision => GivenPrecision ?? ElementType.BFloat16;

    /// <summary>Long work with progress on the error stream, unless nobody watches.</summary>
    internal LongWork Work => new(Streams, visible: Streams.Interactive);

    /// <summary>The provider asked for, opened; null for the library's own search.</summary>
    internal GpuProvider? Provider => Providers.Open(ProviderName);

    /// <summary>Opens the device and says on the error stream which one runs.</summary>
    internal GpuDevice OpenDevice()
    {
        GpuDevice device = GpuDevice.Open(Device, new GpuDeviceOptions { Logger = new WarningLogger(Streams.Error), Provider = Provider });
        Streams.Error.WriteLine($"device: {device.Description}");
        return device;
    }
}

/// <summary>Writes the library's warnings to the error stream, one line each.</summary>
internal sealed class WarningLogger(TextWriter error) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel)) error.WriteLine($"warning: {formatter(state, exception).ReplaceLineEndings(" ")}");
    }
}
