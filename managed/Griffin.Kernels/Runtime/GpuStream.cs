using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// A queue of work on a device. Work in one stream runs in order; different streams are ordered by events only. Streams do not wait for CUDA's
/// default stream. A stream may be used from any thread, by one thread at a time.
/// </summary>
public sealed partial class GpuStream : IDisposable
{
    private const uint NonBlocking = 1;

    private readonly DeviceContext _context;
    private readonly nint _stream;

    internal GpuStream(GpuDevice device, bool dependentLaunches = false)
    {
        Device = device;
        DependentLaunches = dependentLaunches;
        _context = device.Enter();
        _context.Check(_context.Driver.StreamCreate(out _stream, NonBlocking), "cuStreamCreate");
        Handle = new StreamHandle(_context, device.ContextHandle, _stream, owned: true);
    }

    internal GpuStream(GpuDevice device, nint borrowed)
    {
        Device = device;
        _context = device.Enter();
        _stream = borrowed;
        Handle = new StreamHandle(_context, device.ContextHandle, borrowed, owned: false);
    }

    /// <summary>The device of the stream.</summary>
    public GpuDevice Device { get; }

    /// <summary>Whether kernels that wait by themselves for the ones before them are launched before these have ended.</summary>
    public bool DependentLaunches { get; }

    /// <summary>True between <see cref="BeginCapture"/> and <see cref="EndCapture"/>.</summary>
    public bool IsCapturing => Handle.IsCapturing;

    internal StreamHandle Handle { get; }

    /// <summary>Queues a kernel. Allocates nothing and does not block once the kernel is compiled; the first launch waits for that.</summary>
    /// <typeparam name="TParams">The kernel's parameter struct, passed by value.</typeparam>
    /// <param name="kernel">A kernel of this stream's device.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="block">Threads of a block.</param>
    /// <param name="parameters">Copied before the call returns.</param>
    /// <param name="dynamicSharedBytes">Dynamic shared memory of a block; over 48 KB needs <see cref="GpuKernel{TParams}.SetMaxDynamicSharedBytes"/> first.</param>
    /// <param name="waits">
    /// The kernel waits by itself for the kernels before it (<c>dependency_wait</c> of dependent_launch.cuh), and before that neither writes memory nor reads
    /// what kernels write: where <see cref="DependentLaunches"/> is on, it begins before they have ended.
    /// </param>
    /// <remarks>The memory that the parameters point to must stay alive until the kernel has run: that is checked once per plan or graph by its owner, not here.</remarks>
    /// <exception cref="KernelCompilationException">The kernel did not compile.</exception>
    /// <exception cref="GpuException">The launch was refused.</exception>
    public unsafe void Launch<TParams>(GpuKernel<TParams> kernel, Dim3 grid, Dim3 block, in TParams parameters, int dynamicSharedBytes = 0, bool waits = false)
        where TParams : unmanaged
    {
        ArgumentNullException.ThrowIfNull(kernel);
        DeviceContext context = _context;
        bool early = waits && DependentLaunches;
        if (Handle.IsClosed || kernel.Context != context) RefuseLaunch(kernel);
        nint function = kernel.Function;
        context.MakeCurrent();
        LaunchConfig config = new()
        {
            GridX = (uint)grid.X,
            GridY = (uint)grid.Y,
            GridZ = (uint)grid.Z,
            BlockX = (uint)block.X,
            BlockY = (uint)block.Y,
            BlockZ = (uint)block.Z,
            DynamicSharedBytes = (uint)dynamicSharedBytes,
            Stream = _stream,
            Attributes = early ? LaunchAttribute.ProgrammaticStreamSerialization : 0,
            AttributeCount = early ? 1u : 0u,
        };
        CudaResult result;
        fixed (TParams* pointer = &parameters)
        {
            void* argument = pointer;
            result = context.Driver.LaunchKernel(in config, function, &argument);
        }
        if (result != CudaResult.Success) FailLaunch(result, kernel.Spec, grid, block, dynamicSharedBytes);
    }

    /// <summary>Queues a captured graph.</summary>
    public void Launch(GpuGraph graph)
    {
        ArgumentNullException.ThrowIfNull(graph);
        ObjectDisposedException.ThrowIf(graph.Handle.IsClosed, graph);
        DeviceContext context = Enter();
        context.Check(context.Driver.GraphLaunch(graph.Handle.Value, _stream), "cuGraphLaunch");
    }

    /// <summary>Blocks until everything queued so far has finished; reports faults of kernels.</summary>
    public void Synchronize()
    {
        DeviceContext context = Enter();
        context.Check(context.Driver.StreamSynchronize(_stream), "cuStreamSynchronize");
        context.ThrowReleaseError();
    }

    /// <summary>Completes when everything queued so far has finished. Cancelling stops the wait, not the work.</summary>
    public Task SynchronizeAsync(CancellationToken cancellationToken = default) =>
        IsCompleted ? Task.CompletedTask : Task.Run(Synchronize, CancellationToken.None).WaitAsync(cancellationToken);

    /// <summary>True when nothing queued is unfinished.</summary>
    public bool IsCompleted
    {
        get
        {
            DeviceContext context = Enter();
            CudaResult result = context.Driver.StreamQuery(_stream);
            if (result == CudaResult.NotReady) return false;
            context.Check(result, "cuStreamQuery");
            return true;
        }
    }

    /// <summary>Sets an event after everything queued so far.</summary>
    public void Record(GpuEvent @event)
    {
        ArgumentNullException.ThrowIfNull(@event);
        ObjectDisposedException.ThrowIf(@event.Handle.IsClosed, @event);
        DeviceContext context = Enter();
        context.Check(context.Driver.EventRecord(@event.Handle.Value, _stream), "cuEventRecord");
    }

    /// <summary>Makes later work of this stream wait for an event.</summary>
    public void Wait(GpuEvent @event)
    {
        ArgumentNullException.ThrowIfNull(@event);
        ObjectDisposedException.ThrowIf(@event.Handle.IsClosed, @event);
        DeviceContext context = Enter();
        context.Check(context.Driver.StreamWaitEvent(_stream, @event.Handle.Value, 0), "cuStreamWaitEvent");
    }

    /// <summary>
    /// Starts recording this stream's work into a graph in place of running it. Until the end, this thread must not allocate or synchronise, and no thread may
    /// synchronise the device. Memory that is let go meanwhile, by any thread or the garbage collector, is freed after the end.
    /// </summary>
    public void BeginCapture()
    {
        const int ThreadLocal = 1;
        Enter();
        Handle.BeginCapture(ThreadLocal);
    }

    /// <summary>Ends the recording and makes the graph.</summary>
    /// <param name="uses">Memory that the graph's work touches: kept alive until the graph is disposed.</param>
    /// <exception cref="GpuException">A call since <see cref="BeginCapture"/> was not allowed, or nothing was being captured.</exception>
    public GpuGraph EndCapture(params ReadOnlySpan<DeviceMemory> uses)
    {
        DeviceContext context = Enter();
        CudaDriver driver = context.Driver;
        context.Check(Handle.EndCapture(out nint graph), "cuStreamEndCapture");
        CudaResult result = driver.GraphInstantiate(out nint executable, graph, 0);
        CudaResult destroyed = driver.GraphDestroy(graph);
        context.Check(result, "cuGraphInstantiate");
        GraphHandle handle = new(context, Device.ContextHandle, executable);
        context.RecordReleaseError(destroyed, "cuGraphDestroy");
        return new GpuGraph(Device, handle, uses);
    }

    /// <summary>Gives up a recording, after an error for instance; nothing is thrown.</summary>
    public void AbandonCapture()
    {
        if (!IsCapturing || Handle.IsClosed) return;
        _context.MakeCurrentForRelease();
        if (Handle.EndCapture(out nint graph) == CudaResult.Success && graph != 0) _context.Driver.GraphDestroy(graph);
    }

    /// <summary>
    /// Gives up a recording, and destroys the stream once the work queued on it has finished; waits only to free the workspace of <see cref="Blas"/>. A borrowed stream
    /// is left alone.
    /// </summary>
    public void Dispose()
    {
        AbandonCapture();
        _blas?.Dispose();
        Handle.Dispose();
    }

    internal DeviceContext Enter()
    {
        ObjectDisposedException.ThrowIf(Handle.IsClosed, this);
        _context.MakeCurrent();
        return _context;
    }

    [DoesNotReturn]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void FailLaunch(CudaResult result, KernelSpec spec, Dim3 grid, Dim3 block, int dynamicSharedBytes) =>
        _context.Fail(result, "cuLaunchKernel", $"{spec.NameExpression} with grid ({grid.X}, {grid.Y}, {grid.Z}), "
            + $"block ({block.X}, {block.Y}, {block.Z}), {dynamicSharedBytes} bytes of dynamic shared memory");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void RefuseLaunch<TParams>(GpuKernel<TParams> kernel) where TParams : unmanaged
    {
        ObjectDisposedException.ThrowIf(Handle.IsClosed, this);
        if (kernel.Context.Handle != _context.Handle || kernel.Context.Driver != _context.Driver)
            throw new ArgumentException($"{kernel.Spec.NameExpression} was compiled for another device than this stream's.", nameof(kernel));
    }
}
