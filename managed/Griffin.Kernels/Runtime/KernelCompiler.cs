using System.Collections.Concurrent;
using System.Diagnostics;
using Griffin.Kernels.Interop;
using Microsoft.Extensions.Logging;

namespace Griffin.Kernels.Runtime;

/// <summary>How far the compilation of requested kernels has come.</summary>
/// <param name="Completed">Kernels ready.</param>
/// <param name="Total">Kernels requested.</param>
public readonly record struct CompileProgress(int Completed, int Total);

/// <summary>Compiles kernels for one device, in parallel, through the disk cache. Requesting the same kernel twice compiles it once. Safe for use from several threads.</summary>
public sealed partial class KernelCompiler
{
    private readonly DeviceContext _context;
    private readonly GpuHandle _contextHandle;
    private readonly IReadOnlyList<string> _extraOptions;
    private readonly KernelCache? _cache;
    private readonly ILogger _logger;
    private readonly TaskFactory _tasks;
    private readonly ConcurrentDictionary<string, Lazy<LoadedKernel>> _kernels = new(StringComparer.Ordinal);

    internal KernelCompiler(DeviceContext context, GpuHandle contextHandle, (int Major, int Minor) capability, GpuDeviceOptions options, IReadOnlyList<string> extraOptions)
    {
        _context = context;
        _contextHandle = contextHandle;
        _extraOptions = extraOptions;
        _logger = options.Logger;
        int parallel = options.ParallelCompiles > 0 ? options.ParallelCompiles : Environment.ProcessorCount;
        _tasks = new TaskFactory(new ConcurrentExclusiveSchedulerPair(TaskScheduler.Default, parallel).ConcurrentScheduler);
        CacheFolder = options.UseDiskCache ? options.CacheFolder ?? KernelCache.DefaultFolder() : null;
        if (CacheFolder is not null) _cache = new KernelCache(CacheFolder, _logger);
        Architecture = KernelBuild.ArchitectureFor(context.Provider.Nvrtc, capability);
    }

    /// <summary>The target of kernels that name none: "sm_XX", or "compute_XX" when the device is newer than the compiler.</summary>
    public string Architecture { get; }

    /// <summary>The folder of the disk cache; null when that is off.</summary>
    public string? CacheFolder { get; }

    /// <summary>Starts compiling a kernel, if nobody has yet, and completes when it is loaded.</summary>
    /// <exception cref="KernelCompilationException">(in the task) The kernel did not compile.</exception>
    public async Task<CompiledKernel> Request(KernelSpec spec) => (await Load(spec).Task.ConfigureAwait(false)).Compiled;

    /// <summary>A kernel to launch: returns at once, compilation runs in the background, the first launch waits for it and reports its failure.</summary>
    /// <typeparam name="TParams">The kernel's parameter struct; its size is compared with the kernel's where the driver can tell.</typeparam>
    public GpuKernel<TParams> Get<TParams>(KernelSpec spec) where TParams : unmanaged => new(Load(spec));

    /// <summary>Waits until every kernel requested so far is loaded.</summary>
    /// <param name="progress">Told after each kernel.</param>
    /// <param name="cancellationToken">Stops the wait, not the compilations.</param>
    /// <exception cref="KernelCompilationException">One of them did not compile.</exception>
    public async Task WaitAllAsync(IProgress<CompileProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        Task[] pending = [.. _kernels.Values.Select(kernel => kernel.Value.Task)];
        int completed = 0;
        await foreach (Task task in Task.WhenEach(pending).WithCancellation(cancellationToken).ConfigureAwait(false))
        {
            await task.ConfigureAwait(false);
            progress?.Report(new(++completed, pending.Length));
        }
    }

    /// <summary>Compiles a kernel without a device, for instance to see what it needs on a GPU that is not here. The disk cache is not used.</summary>
    /// <param name="nvrtc">A compiler; see <see cref="LibrarySearch.TryOpenNvrtc"/>.</param>
    /// <param name="spec">The kernel.</param>
    /// <param name="architecture">"sm_80", "sm_90a" …; its own <see cref="KernelSpec.Architecture"/> is not looked at.</param>
    /// <returns>The kernel with a log that holds its <see cref="CompiledKernel.Resources"/>.</returns>
    /// <exception cref="KernelCompilationException">The kernel did not compile.</exception>
    public static CompiledKernel CompileOffline(Nvrtc nvrtc, KernelSpec spec, string architecture)
    {
        ArgumentNullException.ThrowIfNull(nvrtc);
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentException.ThrowIfNullOrWhiteSpace(architecture);
        return new KernelBuild(nvrtc, spec, architecture, ["--ptxas-options=-v"]).Compile();
    }

    internal void Close()
    {
        foreach (Lazy<LoadedKernel> kernel in _kernels.Values)
        {
            // A compilation under way loads into the context: wait for it, whatever its outcome.
            Task<LoadedKernel.State> task = kernel.Value.Task;
            ((IAsyncResult)task).AsyncWaitHandle.WaitOne();
            if (task.IsCompletedSuccessfully) task.Result.Module.Dispose();
        }
        _kernels.Clear();
    }

    private LoadedKernel Load(KernelSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        KernelBuild build = new(_context.Provider.Nvrtc, spec, spec.Architecture ?? Architecture, _extraOptions);
        return _kernels.GetOrAdd(build.Key, _ => new(() => new(spec, _context, _tasks.StartNew(() => Build(build))))).Value;
    }

    private LoadedKernel.State Build(KernelBuild build)
    {
        ObjectDisposedException.ThrowIf(_context.IsUnusable, typeof(GpuDevice));
        KernelCache? cache = build.IsCacheable ? _cache : null;
        if (cache?.TryRead(build.Key, build.Spec) is { } cached && TryLoad(cached) is { } state) return state;
        long start = Stopwatch.GetTimestamp();
        CompiledKernel compiled = build.Compile();
        LogCompiled(_logger, build.Spec.NameExpression, build.Spec.Source.Name, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        cache?.Write(build.Key, compiled);
        return LoadModule(compiled);
    }

    private LoadedKernel.State? TryLoad(CompiledKernel compiled)
    {
        try
        {
            return LoadModule(compiled);
        }
        catch (GpuException e) when (e is not DeviceLostException)
        {
            LogRefused(_logger, compiled.Spec.NameExpression, e.Message);
            return null;
        }
    }

    private LoadedKernel.State LoadModule(CompiledKernel compiled)
    {
        CudaDriver driver = _context.Driver;
        _context.MakeCurrent();
        CudaResult result = driver.ModuleLoadData(out nint module, compiled.Image.Span, out string log);
        if (result == CudaResult.UnsupportedPtxVersion)
        {
            _context.Fail(result, "cuModuleLoadDataEx",
                $"the driver is too old for this NVRTC's PTX; update the driver, or use the NVRTC of an older CUDA. {log}");
        }
        if (result != CudaResult.Success) _context.Fail(result, "cuModuleLoadDataEx", $"{compiled.Spec.NameExpression}: {log}");
        ModuleHandle handle = new(_context, _contextHandle, module);
        try
        {
            _context.Check(driver.ModuleGetFunction(out nint function, module, compiled.LoweredName), "cuModuleGetFunction");
            KernelAttributes attributes = new(
                Attribute(function, FunctionAttribute.Registers), Attribute(function, FunctionAttribute.SharedBytes),
                Attribute(function, FunctionAttribute.LocalBytes), Attribute(function, FunctionAttribute.MaxThreadsPerBlock));
            return new(compiled, handle, function, attributes, ParameterBytes(function, compiled.Spec));
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    private int Attribute(nint function, FunctionAttribute attribute)
    {
        _context.Check(_context.Driver.FuncGetAttribute(out int value, attribute, function), "cuFuncGetAttribute");
        return value;
    }

    private int? ParameterBytes(nint function, KernelSpec spec)
    {
        CudaResult first = _context.Driver.FuncGetParamInfo(function, 0, out _, out ulong size);
        if (first == CudaResult.NotSupported) return null;
        _context.Check(first, "cuFuncGetParamInfo");
        if (_context.Driver.FuncGetParamInfo(function, 1, out _, out _) == CudaResult.Success)
            throw new ArgumentException($"{spec.NameExpression} takes more than one parameter; kernels here take one struct by value.");
        return (int)size;
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Compiled {Kernel} of {Source} in {Milliseconds:F0} ms.")]
    private static partial void LogCompiled(ILogger logger, string kernel, string source, double milliseconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Kernel cache: the driver refused the cached {Kernel} ({Reason}); it is compiled anew.")]
    private static partial void LogRefused(ILogger logger, string kernel, string reason);
}
