using System.Runtime.CompilerServices;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;
using ManagedCuda;
using ManagedCuda.BasicTypes;

namespace Griffin.Kernels.ManagedCuda;

/// <summary>
/// Our objects for ManagedCuda's, and the other way round. Nothing is copied: both sides see the same context, the same queue and the same memory,
/// and what is wrapped still belongs to its owner, who keeps it alive for as long as the other side uses it. Every call of ours leaves its device's
/// context current on the calling thread; after making another context current there, call <see cref="RawHandles.CurrentContextChanged"/>.
/// ManagedCuda cannot wrap an event: order its streams after ours with <c>stream.AsCudaStream().WaitEvent(event.AsCUevent())</c>, and ours after
/// its own with <c>stream.AsCudaStream().WaitEvent(cudaEvent.Event)</c>.
/// </summary>
public static class ManagedCudaInterop
{
    /// <summary>A device on an engine's context; disposing it leaves the context alone.</summary>
    /// <param name="context">The context: of its own, or a <see cref="PrimaryContext"/>.</param>
    /// <param name="options">Options of the device; its provider is ignored.</param>
    /// <exception cref="DeviceUnavailableException">ManagedCuda's libraries are not complete: see <see cref="ManagedCudaProvider.Open"/>.</exception>
    public static GpuDevice AsGpuDevice(this CudaContext context, GpuDeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(context);
        return RawHandles.BorrowContext(ManagedCudaProvider.Open(), context.Context.Pointer, options);
    }

    /// <summary>ManagedCuda's view of our device's context, which becomes current; disposing it leaves the context alone.</summary>
    /// <exception cref="ArgumentException">The device was opened through another provider.</exception>
    public static CudaContext AsCudaContext(this GpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.Provider.Name != ManagedCudaProvider.Name)
            throw new ArgumentException($"{device.Description} was opened through the provider {device.Provider.Name}, not {ManagedCudaProvider.Name}.", nameof(device));
        RawHandles.ContextOf(device);
        // Bound to the current context, a CudaContext does not own it; it asks for the ordinal of the context's device.
        CudaDriver driver = device.Provider.Driver;
        driver.CtxGetDevice(out int current);
        int ordinal = 0;
        while (driver.DeviceGet(out int candidate, ordinal) == CudaResult.Success && candidate != current) ordinal++;
        return new CudaContext(ordinal, createNew: false);
    }

    /// <summary>An engine's stream as one of ours; disposing it leaves the stream alone.</summary>
    /// <param name="stream">The stream, of the device's context.</param>
    /// <param name="device">The device.</param>
    public static GpuStream AsGpuStream(this CudaStream stream, GpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return RawHandles.BorrowStream(device, stream.Stream.Pointer);
    }

    /// <summary>Our stream as one of ManagedCuda's; disposing it leaves the stream alone.</summary>
    public static CudaStream AsCudaStream(this GpuStream stream) => new(new CUstream { Pointer = RawHandles.StreamOf(stream) });

    /// <summary>Our event's handle, for the calls of ManagedCuda that take one.</summary>
    public static CUevent AsCUevent(this GpuEvent @event) => new() { Pointer = RawHandles.EventOf(@event) };

    /// <summary>An engine's variable as device memory of ours; disposing it leaves the variable alone.</summary>
    /// <param name="variable">The variable, allocated in the device's context.</param>
    /// <param name="device">The device.</param>
    public static DeviceMemory AsDeviceMemory<T>(this CudaDeviceVariable<T> variable, GpuDevice device) where T : struct
    {
        ArgumentNullException.ThrowIfNull(variable);
        return RawHandles.BorrowMemory(device, variable.DevicePointer.Pointer, variable.SizeInBytes);
    }

    /// <summary>An engine's variable as what ops take: rows of <typeparamref name="T"/>.</summary>
    /// <param name="variable">The variable, allocated in the device's context.</param>
    /// <param name="device">The device.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="rowStride">Elements from row to row; null for <paramref name="columns"/>.</param>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is no element type (see <see cref="ElementTypes.Of{T}"/>); name one in the other overload.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The variable is shorter than that.</exception>
    public static TensorView AsTensorView<T>(this CudaDeviceVariable<T> variable, GpuDevice device, long rows, long columns, long? rowStride = null)
        where T : unmanaged => variable.AsTensorView(device, ElementTypes.Of<T>(), rows, columns, rowStride);

    /// <summary>An engine's variable as what ops take, with an element type that its C# type does not tell: bfloat16 kept as <see cref="ushort"/>, for instance.</summary>
    /// <param name="variable">The variable, allocated in the device's context.</param>
    /// <param name="device">The device.</param>
    /// <param name="type">The type of the elements, as large as <typeparamref name="T"/>.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="rowStride">Elements from row to row; null for <paramref name="columns"/>.</param>
    /// <exception cref="ArgumentException"><typeparamref name="T"/> has another size than <paramref name="type"/>.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The variable is shorter than that.</exception>
    public static TensorView AsTensorView<T>(this CudaDeviceVariable<T> variable, GpuDevice device, ElementType type, long rows, long columns, long? rowStride = null)
        where T : unmanaged
    {
        if (Unsafe.SizeOf<T>() != type.SizeOf())
            throw new ArgumentException($"An element of {type} has {type.SizeOf()} bytes, {typeof(T).Name} has {Unsafe.SizeOf<T>()}.", nameof(type));
        return TensorView.Of(variable.AsDeviceMemory(device), 0, type, rows, columns, rowStride);
    }

    /// <summary>Our buffer as one of ManagedCuda's variables; disposing it leaves the buffer alone.</summary>
    public static CudaDeviceVariable<T> AsCudaDeviceVariable<T>(this DeviceBuffer<T> buffer) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(buffer);
        return new(new CUdeviceptr { Pointer = buffer.Address }, buffer.Length * Unsafe.SizeOf<T>());
    }
}
