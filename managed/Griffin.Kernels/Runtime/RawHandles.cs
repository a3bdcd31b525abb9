using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// The one door to native handles: for engines that bring their own contexts, streams and memory, or that take ours. Every call of the library
/// leaves its device's context current on the calling thread; an engine with a context of its own sets that again afterwards.
/// </summary>
public static class RawHandles
{
    /// <summary>The device's context (<c>CUcontext</c>), valid while the device is open.</summary>
    public static nint ContextOf(GpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.Enter().Handle;
    }

    /// <summary>The stream's handle (<c>CUstream</c>), valid until it is disposed.</summary>
    public static nint StreamOf(GpuStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        stream.Enter();
        return stream.Handle.Value;
    }

    /// <summary>The event's handle (<c>CUevent</c>), valid until it is disposed.</summary>
    public static nint EventOf(GpuEvent @event)
    {
        ArgumentNullException.ThrowIfNull(@event);
        ObjectDisposedException.ThrowIf(@event.Handle.IsClosed, @event);
        return @event.Handle.Value;
    }

    /// <summary>The kernel's function (<c>CUfunction</c>), valid while its device is open; waits for its compilation.</summary>
    public static nint FunctionOf<TParams>(GpuKernel<TParams> kernel) where TParams : unmanaged
    {
        ArgumentNullException.ThrowIfNull(kernel);
        return kernel.Function;
    }

    /// <summary>Opens a device on a context that the caller owns and keeps alive; it is not destroyed on disposal.</summary>
    /// <param name="provider">The provider whose driver made the context.</param>
    /// <param name="context">A <c>CUcontext</c>.</param>
    /// <param name="options">Options of the device; its provider is ignored.</param>
    public static GpuDevice BorrowContext(GpuProvider provider, nint context, GpuDeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(provider);
        return GpuDevice.FromContext(provider, context, options ?? new());
    }

    /// <summary>Wraps a stream that the caller owns and keeps alive.</summary>
    public static GpuStream BorrowStream(GpuDevice device, nint stream)
    {
        ArgumentNullException.ThrowIfNull(device);
        return new(device, stream);
    }

    /// <summary>Wraps device memory that the caller owns and keeps alive.</summary>
    public static DeviceMemory BorrowMemory(GpuDevice device, ulong address, long bytes)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        return new(device, new MemoryHandle(device.Enter(), device.ContextHandle, address, owned: false), bytes);
    }

    /// <summary>
    /// To be called on a thread after code outside the library changed its current context: the library remembers per thread what it made current
    /// and does not ask the driver again.
    /// </summary>
    public static void CurrentContextChanged() => DeviceContext.ForgetCurrent();
}
