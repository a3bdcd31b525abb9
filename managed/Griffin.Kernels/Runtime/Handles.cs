using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// A native object that keeps its parent alive: the parent's count is raised before the object is made and lowered after it is released,
/// so objects may be disposed or collected in any order. A borrowed object holds its parent too, and is not released.
/// </summary>
internal abstract class GpuHandle : SafeHandle
{
    private readonly GpuHandle? _parent;

    protected GpuHandle(DeviceContext context, GpuHandle? parent, nint handle, bool owned) : base(0, ownsHandle: true)
    {
        Context = context;
        _parent = parent;
        Owned = owned;
        SetHandle(handle);
        try
        {
            bool held = false;
            parent?.DangerousAddRef(ref held);
        }
        catch (ObjectDisposedException)
        {
            // The parent was disposed by another thread since the native object was made.
            SetHandleAsInvalid();
            if (owned) Release(context.Driver);
            throw;
        }
        if (owned) LiveHandles.Opened();
    }

    public DeviceContext Context { get; }

    private bool Owned { get; }

    public sealed override bool IsInvalid => false;

    public nint Value => handle;

    /// <summary>What is to be given up before the release, of a borrowed object too.</summary>
    protected virtual void Leave()
    {
    }

    /// <summary>Makes the native release call; the context is current.</summary>
    protected abstract (CudaResult Result, string Call) Release(CudaDriver driver);

    /// <summary>Whether the release may disturb captures in the context.</summary>
    protected virtual bool MayDisturb => false;

    /// <summary>Whether it would do so now that there are captures; asked while none begins or ends.</summary>
    internal virtual bool DisturbsNow => true;

    protected sealed override bool ReleaseHandle()
    {
        if (Owned && MayDisturb) Context.Captures.Release(this);
        else ReleaseNow();
        return true;
    }

    /// <summary>Releases the native object, then the parent.</summary>
    internal void ReleaseNow()
    {
        Leave();
        if (Owned)
        {
            Context.MakeCurrentForRelease();
            (CudaResult result, string call) = Release(Context.Driver);
            Context.RecordReleaseError(result, call);
            LiveHandles.Released();
        }
        _parent?.DangerousRelease();
    }
}

/// <summary>A retained primary context.</summary>
internal sealed class ContextHandle(DeviceContext context, int device, bool owned) : GpuHandle(context, null, context.Handle, owned)
{
    protected override (CudaResult, string) Release(CudaDriver driver)
    {
        DeviceContext.ForgetCurrent();
        return (driver.DevicePrimaryCtxRelease(device), "cuDevicePrimaryCtxRelease");
    }
}

internal sealed class StreamHandle(DeviceContext context, GpuHandle parent, nint stream, bool owned) : GpuHandle(context, parent, stream, owned)
{
    public bool IsCapturing { get; private set; }

    public void BeginCapture(int mode) => Context.Captures.Begin(() =>
    {
        Context.Check(Context.Driver.StreamBeginCapture(handle, mode), "cuStreamBeginCapture");
        IsCapturing = true;
    });

    public CudaResult EndCapture(out nint graph)
    {
        CudaResult result = Context.Driver.StreamEndCapture(handle, out graph);
        if (result != CudaResult.StreamCaptureWrongThread) Leave();   // from the wrong thread, the capture goes on
        return result;
    }

    protected override (CudaResult, string) Release(CudaDriver driver) => (driver.StreamDestroy(handle), "cuStreamDestroy");

    /// <summary>Counts its capture no longer.</summary>
    protected override void Leave()
    {
        if (!IsCapturing) return;
        IsCapturing = false;
        Context.Captures.End();
    }
}

internal sealed class EventHandle(DeviceContext context, GpuHandle parent, nint @event) : GpuHandle(context, parent, @event, true)
{
    protected override (CudaResult, string) Release(CudaDriver driver) => (driver.EventDestroy(handle), "cuEventDestroy");
}

internal sealed class ModuleHandle(DeviceContext context, GpuHandle parent, nint module) : GpuHandle(context, parent, module, true)
{
    protected override (CudaResult, string) Release(CudaDriver driver) => (driver.ModuleUnload(handle), "cuModuleUnload");
}

internal sealed class GraphHandle(DeviceContext context, GpuHandle parent, nint executable) : GpuHandle(context, parent, executable, true)
{
    protected override (CudaResult, string) Release(CudaDriver driver) => (driver.GraphExecDestroy(handle), "cuGraphExecDestroy");
}

internal sealed class PinnedHandle(DeviceContext context, GpuHandle parent, nint pointer) : GpuHandle(context, parent, pointer, true)
{
    protected override bool MayDisturb => true;

    protected override (CudaResult, string) Release(CudaDriver driver)
    {
        CudaResult waited = driver.CtxSynchronize();
        CudaResult freed = driver.MemFreeHost(handle);
        return freed == CudaResult.Success ? (waited, "cuCtxSynchronize") : (freed, "cuMemFreeHost");
    }
}

/// <summary>Device memory freed after everything queued on the device before the release has finished.</summary>
internal sealed class MemoryHandle(DeviceContext context, GpuHandle parent, ulong address, bool owned) : GpuHandle(context, parent, (nint)address, owned)
{
    protected override bool MayDisturb => true;

    protected override (CudaResult, string) Release(CudaDriver driver)
    {
        CudaResult waited = driver.CtxSynchronize();
        CudaResult freed = driver.MemFree((ulong)handle);
        return freed == CudaResult.Success ? (waited, "cuCtxSynchronize") : (freed, "cuMemFree");
    }
}

/// <summary>Device memory freed in the order of its home stream, which is its parent: a capture of that one would take the call for a node of the graph.</summary>
internal sealed class StreamMemoryHandle(DeviceContext context, StreamHandle home, ulong address) : GpuHandle(context, home, (nint)address, true)
{
    internal override bool DisturbsNow => home.IsCapturing;

    protected override bool MayDisturb => true;

    protected override (CudaResult, string) Release(CudaDriver driver) => (driver.MemFreeAsync((ulong)handle, home.Value), "cuMemFreeAsync");
}
