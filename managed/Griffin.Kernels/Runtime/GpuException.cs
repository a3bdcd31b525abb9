using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>A CUDA call failed.</summary>
public class GpuException : Exception
{
    /// <summary>Makes an exception for a failed call.</summary>
    /// <param name="result">The status returned.</param>
    /// <param name="call">The native call, for instance "cuMemAlloc".</param>
    /// <param name="message">One line saying what happened.</param>
    public GpuException(CudaResult result, string call, string message) : base(message) => (Result, Call) = (result, call);

    /// <summary>The status returned.</summary>
    public CudaResult Result { get; }

    /// <summary>The native call that failed.</summary>
    public string Call { get; }
}

/// <summary>
/// The device's context is lost: an earlier fault cannot be recovered from, and every further call on this device fails the same way.
/// Close the device; a shared primary context is dead for all its users.
/// </summary>
public sealed class DeviceLostException : GpuException
{
    /// <summary>Makes an exception for a lost device.</summary>
    public DeviceLostException(CudaResult result, string call, string message) : base(result, call, message)
    {
    }
}

/// <summary>No device can be had; the message is one line naming the first thing that is missing.</summary>
public sealed class DeviceUnavailableException : Exception
{
    /// <summary>Makes an exception with the whole search trace beside the one-line message.</summary>
    public DeviceUnavailableException(string message, SearchTrace trace) : base(message) => Trace = trace;

    /// <summary>All that was tried.</summary>
    public SearchTrace Trace { get; }
}

/// <summary>A kernel did not compile.</summary>
public sealed class KernelCompilationException : Exception
{
    /// <summary>Makes an exception that carries the compiler's whole log.</summary>
    public KernelCompilationException(KernelSpec spec, IReadOnlyList<string> options, string log, string reason)
        : base($"{spec.Source.Name}: {spec.NameExpression} did not compile: {reason}{(log.Length == 0 ? "" : Environment.NewLine + log)}") =>
        (Spec, Options, Log) = (spec, options, log);

    /// <summary>The kernel asked for.</summary>
    public KernelSpec Spec { get; }

    /// <summary>The name of the source.</summary>
    public new string Source => Spec.Source.Name;

    /// <summary>The options given to the compiler, in order.</summary>
    public IReadOnlyList<string> Options { get; }

    /// <summary>Everything the compiler said.</summary>
    public string Log { get; }
}
