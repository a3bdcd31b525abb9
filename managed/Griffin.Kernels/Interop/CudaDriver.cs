namespace Griffin.Kernels.Interop;

/// <summary>
/// The CUDA driver calls that the runtime uses. One method per native call, named after it, with its argument order and its status;
/// a provider implements them over its own binding. Handles are the native ones (<c>CUcontext</c>, <c>CUstream</c> …), device addresses are <see cref="ulong"/>.
/// Implementations are thread-safe and keep no state of their own beyond the binding.
/// </summary>
public abstract unsafe class CudaDriver
{
    /// <summary><c>cuInit</c> with flags 0.</summary>
    public abstract CudaResult Init();
    /// <summary><c>cuDriverGetVersion</c>: 1000 · major + 10 · minor of the newest CUDA that the driver serves.</summary>
    public abstract CudaResult DriverGetVersion(out int version);
    /// <summary><c>cuGetErrorName</c>; null when the driver does not know the code.</summary>
    public abstract string? GetErrorName(CudaResult result);
    /// <summary><c>cuGetErrorString</c>; null when the driver does not know the code.</summary>
    public abstract string? GetErrorString(CudaResult result);

    /// <summary><c>cuDeviceGetCount</c>.</summary>
    public abstract CudaResult DeviceGetCount(out int count);
    /// <summary><c>cuDeviceGet</c>.</summary>
    public abstract CudaResult DeviceGet(out int device, int ordinal);
    /// <summary><c>cuDeviceGetName</c>.</summary>
    public abstract CudaResult DeviceGetName(out string name, int device);
    /// <summary><c>cuDeviceTotalMem</c>.</summary>
    public abstract CudaResult DeviceTotalMem(out ulong bytes, int device);
    /// <summary><c>cuDeviceGetAttribute</c>.</summary>
    public abstract CudaResult DeviceGetAttribute(out int value, DeviceAttribute attribute, int device);
    /// <summary><c>cuDevicePrimaryCtxRetain</c>.</summary>
    public abstract CudaResult DevicePrimaryCtxRetain(out nint context, int device);
    /// <summary><c>cuDevicePrimaryCtxRelease</c>.</summary>
    public abstract CudaResult DevicePrimaryCtxRelease(int device);

    /// <summary><c>cuCtxSetCurrent</c>.</summary>
    public abstract CudaResult CtxSetCurrent(nint context);
    /// <summary><c>cuCtxGetCurrent</c>.</summary>
    public abstract CudaResult CtxGetCurrent(out nint context);
    /// <summary><c>cuCtxGetDevice</c>.</summary>
    public abstract CudaResult CtxGetDevice(out int device);
    /// <summary><c>cuCtxSynchronize</c>.</summary>
    public abstract CudaResult CtxSynchronize();

    /// <summary><c>cuMemGetInfo</c>.</summary>
    public abstract CudaResult MemGetInfo(out ulong free, out ulong total);
    /// <summary><c>cuMemAlloc</c>.</summary>
    public abstract CudaResult MemAlloc(out ulong address, ulong bytes);
    /// <summary><c>cuMemFree</c>.</summary>
    public abstract CudaResult MemFree(ulong address);
    /// <summary>True when the two stream-ordered calls below exist.</summary>
    public abstract bool HasStreamOrderedMemory { get; }
    /// <summary><c>cuMemAllocAsync</c>.</summary>
    public abstract CudaResult MemAllocAsync(out ulong address, ulong bytes, nint stream);
    /// <summary><c>cuMemFreeAsync</c>.</summary>
    public abstract CudaResult MemFreeAsync(ulong address, nint stream);
    /// <summary><c>cuMemHostAlloc</c>: page-locked host memory.</summary>
    public abstract CudaResult MemHostAlloc(out nint pointer, ulong bytes, uint flags);
    /// <summary><c>cuMemFreeHost</c>.</summary>
    public abstract CudaResult MemFreeHost(nint pointer);
    /// <summary><c>cuMemcpyHtoDAsync</c>.</summary>
    public abstract CudaResult MemcpyHtoDAsync(ulong destination, void* source, ulong bytes, nint stream);
    /// <summary><c>cuMemcpyDtoHAsync</c>.</summary>
    public abstract CudaResult MemcpyDtoHAsync(void* destination, ulong source, ulong bytes, nint stream);
    /// <summary><c>cuMemcpyDtoDAsync</c>.</summary>
    public abstract CudaResult MemcpyDtoDAsync(ulong destination, ulong source, ulong bytes, nint stream);
    /// <summary><c>cuMemsetD8Async</c>.</summary>
    public abstract CudaResult MemsetD8Async(ulong destination, byte value, ulong count, nint stream);
    /// <summary><c>cuMemsetD32Async</c>.</summary>
    public abstract CudaResult MemsetD32Async(ulong destination, uint value, ulong count, nint stream);

    /// <summary><c>cuStreamCreate</c>.</summary>
    public abstract CudaResult StreamCreate(out nint stream, uint flags);
    /// <summary><c>cuStreamDestroy</c>.</summary>
    public abstract CudaResult StreamDestroy(nint stream);
    /// <summary><c>cuStreamSynchronize</c>.</summary>
    public abstract CudaResult StreamSynchronize(nint stream);
    /// <summary><c>cuStreamQuery</c>.</summary>
    public abstract CudaResult StreamQuery(nint stream);
    /// <summary><c>cuStreamWaitEvent</c>.</summary>
    public abstract CudaResult StreamWaitEvent(nint stream, nint @event, uint flags);
    /// <summary><c>cuStreamBeginCapture</c>; mode 1 is thread-local.</summary>
    public abstract CudaResult StreamBeginCapture(nint stream, int mode);
    /// <summary>
    /// <c>cuThreadExchangeStreamCaptureMode</c>: what this thread may call while it captures; 2, relaxed, allows what is not seen by the capture. Gives the mode
    /// before. Or <see cref="CudaResult.NotSupported"/>.
    /// </summary>
    public virtual CudaResult ThreadExchangeStreamCaptureMode(ref int mode) => CudaResult.NotSupported;
    /// <summary><c>cuStreamEndCapture</c>.</summary>
    public abstract CudaResult StreamEndCapture(nint stream, out nint graph);

    /// <summary><c>cuGraphInstantiateWithFlags</c>.</summary>
    public abstract CudaResult GraphInstantiate(out nint executable, nint graph, ulong flags);
    /// <summary><c>cuGraphLaunch</c>.</summary>
    public abstract CudaResult GraphLaunch(nint executable, nint stream);
    /// <summary><c>cuGraphDestroy</c>.</summary>
    public abstract CudaResult GraphDestroy(nint graph);
    /// <summary><c>cuGraphExecDestroy</c>.</summary>
    public abstract CudaResult GraphExecDestroy(nint executable);

    /// <summary><c>cuEventCreate</c>.</summary>
    public abstract CudaResult EventCreate(out nint @event, uint flags);
    /// <summary><c>cuEventDestroy</c>.</summary>
    public abstract CudaResult EventDestroy(nint @event);
    /// <summary><c>cuEventRecord</c>.</summary>
    public abstract CudaResult EventRecord(nint @event, nint stream);
    /// <summary><c>cuEventQuery</c>.</summary>
    public abstract CudaResult EventQuery(nint @event);
    /// <summary><c>cuEventSynchronize</c>.</summary>
    public abstract CudaResult EventSynchronize(nint @event);
    /// <summary><c>cuEventElapsedTime</c>.</summary>
    public abstract CudaResult EventElapsedTime(out float milliseconds, nint start, nint end);

    /// <summary><c>cuModuleLoadDataEx</c> with an error log: <paramref name="log"/> holds what the driver's own compiler said, or is empty.</summary>
    public abstract CudaResult ModuleLoadData(out nint module, ReadOnlySpan<byte> image, out string log);
    /// <summary><c>cuModuleUnload</c>.</summary>
    public abstract CudaResult ModuleUnload(nint module);
    /// <summary><c>cuModuleGetFunction</c>.</summary>
    public abstract CudaResult ModuleGetFunction(out nint function, nint module, string name);
    /// <summary><c>cuFuncGetAttribute</c>.</summary>
    public abstract CudaResult FuncGetAttribute(out int value, FunctionAttribute attribute, nint function);
    /// <summary><c>cuFuncSetAttribute</c>.</summary>
    public abstract CudaResult FuncSetAttribute(nint function, FunctionAttribute attribute, int value);
    /// <summary><c>cuFuncGetParamInfo</c> (CUDA 12.4): <see cref="CudaResult.NotSupported"/> when the driver lacks it, <see cref="CudaResult.InvalidValue"/> past the last parameter.</summary>
    public abstract CudaResult FuncGetParamInfo(nint function, int index, out ulong offset, out ulong size);
    /// <summary>True when <see cref="TensorMapEncodeTiled"/> exists (CUDA 12).</summary>
    public virtual bool HasTensorMaps => false;
    /// <summary><c>cuTensorMapEncodeTiled</c>, without interleaving, element strides of 1, zeros outside the tensor.</summary>
    /// <param name="map">128 bytes at a multiple of 64.</param>
    /// <param name="type">The elements' <c>CUtensorMapDataType</c>.</param>
    /// <param name="rank">Number of dimensions, 1 to 5.</param>
    /// <param name="address">The tensor's first element.</param>
    /// <param name="dimensions">Elements of each dimension, innermost first.</param>
    /// <param name="strides">Bytes from one element to the next of each dimension but the innermost.</param>
    /// <param name="box">Elements of the box that one copy brings, of each dimension.</param>
    /// <param name="swizzle">The <c>CUtensorMapSwizzle</c>.</param>
    public virtual CudaResult TensorMapEncodeTiled(void* map, int type, uint rank, ulong address, ulong* dimensions, ulong* strides, uint* box, int swizzle) => CudaResult.NotSupported;
    /// <summary><c>cuLaunchKernelEx</c>, or <c>cuLaunchKernel</c> where the former is missing and no attribute is asked for.</summary>
    /// <param name="config">Geometry, stream and attributes.</param>
    /// <param name="function">The kernel.</param>
    /// <param name="parameters">One pointer, to the struct that is the kernel's only parameter: the runtime refuses kernels with more.</param>
    public abstract CudaResult LaunchKernel(in LaunchConfig config, nint function, void** parameters);
}
