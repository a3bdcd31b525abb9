namespace Griffin.Kernels.Interop;

/// <summary>The driver calls bound directly: one unmanaged function pointer each, filled when the library is loaded.</summary>
internal sealed unsafe partial class DirectCudaDriver : CudaDriver
{
    private readonly delegate* unmanaged<int*, CudaResult> _driverGetVersion;
    private readonly delegate* unmanaged<int*, CudaResult> _deviceGetCount;
    private readonly delegate* unmanaged<int*, int, CudaResult> _deviceGet;
    private readonly delegate* unmanaged<nuint*, int, CudaResult> _deviceTotalMem;
    private readonly delegate* unmanaged<int*, DeviceAttribute, int, CudaResult> _deviceGetAttribute;
    private readonly delegate* unmanaged<nint*, int, CudaResult> _devicePrimaryCtxRetain;
    private readonly delegate* unmanaged<int, CudaResult> _devicePrimaryCtxRelease;
    private readonly delegate* unmanaged<nint, CudaResult> _ctxSetCurrent;
    private readonly delegate* unmanaged<nint*, CudaResult> _ctxGetCurrent;
    private readonly delegate* unmanaged<int*, CudaResult> _ctxGetDevice;
    private readonly delegate* unmanaged<CudaResult> _ctxSynchronize;
    private readonly delegate* unmanaged<nuint*, nuint*, CudaResult> _memGetInfo;
    private readonly delegate* unmanaged<ulong*, nuint, CudaResult> _memAlloc;
    private readonly delegate* unmanaged<ulong, CudaResult> _memFree;
    private readonly delegate* unmanaged<ulong*, nuint, nint, CudaResult> _memAllocAsync;
    private readonly delegate* unmanaged<ulong, nint, CudaResult> _memFreeAsync;
    private readonly delegate* unmanaged<nint*, nuint, uint, CudaResult> _memHostAlloc;
    private readonly delegate* unmanaged<nint, CudaResult> _memFreeHost;
    private readonly delegate* unmanaged<ulong, void*, nuint, nint, CudaResult> _memcpyHtoDAsync;
    private readonly delegate* unmanaged<void*, ulong, nuint, nint, CudaResult> _memcpyDtoHAsync;
    private readonly delegate* unmanaged<ulong, ulong, nuint, nint, CudaResult> _memcpyDtoDAsync;
    private readonly delegate* unmanaged<ulong, byte, nuint, nint, CudaResult> _memsetD8Async;
    private readonly delegate* unmanaged<ulong, uint, nuint, nint, CudaResult> _memsetD32Async;
    private readonly delegate* unmanaged<nint*, uint, CudaResult> _streamCreate;
    private readonly delegate* unmanaged<nint, CudaResult> _streamDestroy;
    private readonly delegate* unmanaged<nint, CudaResult> _streamSynchronize;
    private readonly delegate* unmanaged<nint, CudaResult> _streamQuery;
    private readonly delegate* unmanaged<nint, nint, uint, CudaResult> _streamWaitEvent;
    private readonly delegate* unmanaged<nint, int, CudaResult> _streamBeginCapture;
    private readonly delegate* unmanaged<int*, CudaResult> _threadExchangeStreamCaptureMode;
    private readonly delegate* unmanaged<nint, nint*, CudaResult> _streamEndCapture;
    private readonly delegate* unmanaged<nint*, nint, ulong, CudaResult> _graphInstantiate;
    private readonly delegate* unmanaged<nint, nint, CudaResult> _graphLaunch;
    private readonly delegate* unmanaged<nint, CudaResult> _graphDestroy;
    private readonly delegate* unmanaged<nint, CudaResult> _graphExecDestroy;
    private readonly delegate* unmanaged<nint*, uint, CudaResult> _eventCreate;
    private readonly delegate* unmanaged<nint, CudaResult> _eventDestroy;
    private readonly delegate* unmanaged<nint, nint, CudaResult> _eventRecord;
    private readonly delegate* unmanaged<nint, CudaResult> _eventQuery;
    private readonly delegate* unmanaged<nint, CudaResult> _eventSynchronize;
    private readonly delegate* unmanaged<float*, nint, nint, CudaResult> _eventElapsedTime;
    private readonly delegate* unmanaged<nint, CudaResult> _moduleUnload;
    private readonly delegate* unmanaged<int*, FunctionAttribute, nint, CudaResult> _funcGetAttribute;
    private readonly delegate* unmanaged<nint, FunctionAttribute, int, CudaResult> _funcSetAttribute;

    /// <exception cref="EntryPointNotFoundException">The library lacks a call that the runtime cannot do without.</exception>
    public DirectCudaDriver(ExportTable exports)
    {
        _driverGetVersion = (delegate* unmanaged<int*, CudaResult>)exports.Required("cuDriverGetVersion");
        _deviceGetCount = (delegate* unmanaged<int*, CudaResult>)exports.Required("cuDeviceGetCount");
        _deviceGet = (delegate* unmanaged<int*, int, CudaResult>)exports.Required("cuDeviceGet");
        _deviceTotalMem = (delegate* unmanaged<nuint*, int, CudaResult>)exports.Required("cuDeviceTotalMem_v2");
        _deviceGetAttribute = (delegate* unmanaged<int*, DeviceAttribute, int, CudaResult>)exports.Required("cuDeviceGetAttribute");
        _devicePrimaryCtxRetain = (delegate* unmanaged<nint*, int, CudaResult>)exports.Required("cuDevicePrimaryCtxRetain");
        _devicePrimaryCtxRelease = (delegate* unmanaged<int, CudaResult>)exports.Required("cuDevicePrimaryCtxRelease_v2");
        _ctxSetCurrent = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuCtxSetCurrent");
        _ctxGetCurrent = (delegate* unmanaged<nint*, CudaResult>)exports.Required("cuCtxGetCurrent");
        _ctxGetDevice = (delegate* unmanaged<int*, CudaResult>)exports.Required("cuCtxGetDevice");
        _ctxSynchronize = (delegate* unmanaged<CudaResult>)exports.Required("cuCtxSynchronize");
        _memGetInfo = (delegate* unmanaged<nuint*, nuint*, CudaResult>)exports.Required("cuMemGetInfo_v2");
        _memAlloc = (delegate* unmanaged<ulong*, nuint, CudaResult>)exports.Required("cuMemAlloc_v2");
        _memFree = (delegate* unmanaged<ulong, CudaResult>)exports.Required("cuMemFree_v2");
        _memAllocAsync = (delegate* unmanaged<ulong*, nuint, nint, CudaResult>)exports.Optional("cuMemAllocAsync");
        _memFreeAsync = (delegate* unmanaged<ulong, nint, CudaResult>)exports.Optional("cuMemFreeAsync");
        _memHostAlloc = (delegate* unmanaged<nint*, nuint, uint, CudaResult>)exports.Required("cuMemHostAlloc");
        _memFreeHost = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuMemFreeHost");
        _memcpyHtoDAsync = (delegate* unmanaged<ulong, void*, nuint, nint, CudaResult>)exports.Required("cuMemcpyHtoDAsync_v2");
        _memcpyDtoHAsync = (delegate* unmanaged<void*, ulong, nuint, nint, CudaResult>)exports.Required("cuMemcpyDtoHAsync_v2");
        _memcpyDtoDAsync = (delegate* unmanaged<ulong, ulong, nuint, nint, CudaResult>)exports.Required("cuMemcpyDtoDAsync_v2");
        _memsetD8Async = (delegate* unmanaged<ulong, byte, nuint, nint, CudaResult>)exports.Required("cuMemsetD8Async");
        _memsetD32Async = (delegate* unmanaged<ulong, uint, nuint, nint, CudaResult>)exports.Required("cuMemsetD32Async");
        _streamCreate = (delegate* unmanaged<nint*, uint, CudaResult>)exports.Required("cuStreamCreate");
        _streamDestroy = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuStreamDestroy_v2");
        _streamSynchronize = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuStreamSynchronize");
        _streamQuery = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuStreamQuery");
        _streamWaitEvent = (delegate* unmanaged<nint, nint, uint, CudaResult>)exports.Required("cuStreamWaitEvent");
        _streamBeginCapture = (delegate* unmanaged<nint, int, CudaResult>)exports.Required("cuStreamBeginCapture_v2");
        _threadExchangeStreamCaptureMode = (delegate* unmanaged<int*, CudaResult>)exports.Optional("cuThreadExchangeStreamCaptureMode");
        _streamEndCapture = (delegate* unmanaged<nint, nint*, CudaResult>)exports.Required("cuStreamEndCapture");
        _graphInstantiate = (delegate* unmanaged<nint*, nint, ulong, CudaResult>)exports.Required("cuGraphInstantiateWithFlags");
        _graphLaunch = (delegate* unmanaged<nint, nint, CudaResult>)exports.Required("cuGraphLaunch");
        _graphDestroy = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuGraphDestroy");
        _graphExecDestroy = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuGraphExecDestroy");
        _eventCreate = (delegate* unmanaged<nint*, uint, CudaResult>)exports.Required("cuEventCreate");
        _eventDestroy = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuEventDestroy_v2");
        _eventRecord = (delegate* unmanaged<nint, nint, CudaResult>)exports.Required("cuEventRecord");
        _eventQuery = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuEventQuery");
        _eventSynchronize = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuEventSynchronize");
        _eventElapsedTime = (delegate* unmanaged<float*, nint, nint, CudaResult>)exports.Required("cuEventElapsedTime");
        _moduleUnload = (delegate* unmanaged<nint, CudaResult>)exports.Required("cuModuleUnload");
        _funcGetAttribute = (delegate* unmanaged<int*, FunctionAttribute, nint, CudaResult>)exports.Required("cuFuncGetAttribute");
        _funcSetAttribute = (delegate* unmanaged<nint, FunctionAttribute, int, CudaResult>)exports.Required("cuFuncSetAttribute");
        _init = (delegate* unmanaged<uint, CudaResult>)exports.Required("cuInit");
        _getErrorName = (delegate* unmanaged<CudaResult, byte**, CudaResult>)exports.Required("cuGetErrorName");
        _getErrorString = (delegate* unmanaged<CudaResult, byte**, CudaResult>)exports.Required("cuGetErrorString");
        _deviceGetName = (delegate* unmanaged<byte*, int, int, CudaResult>)exports.Required("cuDeviceGetName");
        _moduleLoadDataEx = (delegate* unmanaged<nint*, void*, uint, int*, void**, CudaResult>)exports.Required("cuModuleLoadDataEx");
        _moduleGetFunction = (delegate* unmanaged<nint*, nint, byte*, CudaResult>)exports.Required("cuModuleGetFunction");
        _funcGetParamInfo = (delegate* unmanaged<nint, nuint, nuint*, nuint*, CudaResult>)exports.Optional("cuFuncGetParamInfo");
        _tensorMapEncodeTiled = (delegate* unmanaged<void*, int, uint, ulong, ulong*, ulong*, uint*, uint*, int, int, int, int, CudaResult>)exports.Optional("cuTensorMapEncodeTiled");
        _launchKernelEx = (delegate* unmanaged<LaunchConfig*, nint, void**, void**, CudaResult>)exports.Optional("cuLaunchKernelEx");
        _launchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, CudaResult>)exports.Required("cuLaunchKernel");
    }

    public override bool HasStreamOrderedMemory => _memAllocAsync != null && _memFreeAsync != null;

    public override CudaResult DriverGetVersion(out int version)
    {
        version = default;
        fixed (int* pointer0 = &version) return _driverGetVersion(pointer0);
    }

    public override CudaResult DeviceGetCount(out int count)
    {
        count = default;
        fixed (int* pointer0 = &count) return _deviceGetCount(pointer0);
    }

    public override CudaResult DeviceGet(out int device, int ordinal)
    {
        device = default;
        fixed (int* pointer0 = &device) return _deviceGet(pointer0, ordinal);
    }

    public override CudaResult DeviceTotalMem(out ulong bytes, int device)
    {
        nuint nativeBytes = 0;
        CudaResult result = _deviceTotalMem(&nativeBytes, device);
        bytes = nativeBytes;
        return result;
    }

    public override CudaResult DeviceGetAttribute(out int value, DeviceAttribute attribute, int device)
    {
        value = default;
        fixed (int* pointer0 = &value) return _deviceGetAttribute(pointer0, attribute, device);
    }

    public override CudaResult DevicePrimaryCtxRetain(out nint context, int device)
    {
        context = default;
        fixed (nint* pointer0 = &context) return _devicePrimaryCtxRetain(pointer0, device);
    }

    public override CudaResult DevicePrimaryCtxRelease(int device) => _devicePrimaryCtxRelease(device);

    public override CudaResult CtxSetCurrent(nint context) => _ctxSetCurrent(context);

    public override CudaResult CtxGetCurrent(out nint context)
    {
        context = default;
        fixed (nint* pointer0 = &context) return _ctxGetCurrent(pointer0);
    }

    public override CudaResult CtxGetDevice(out int device)
    {
        device = default;
        fixed (int* pointer0 = &device) return _ctxGetDevice(pointer0);
    }

    public override CudaResult CtxSynchronize() => _ctxSynchronize();

    public override CudaResult MemGetInfo(out ulong free, out ulong total)
    {
        nuint nativeFree = 0;
        nuint nativeTotal = 0;
        CudaResult result = _memGetInfo(&nativeFree, &nativeTotal);
        free = nativeFree;
        total = nativeTotal;
        return result;
    }

    public override CudaResult MemAlloc(out ulong address, ulong bytes)
    {
        address = default;
        fixed (ulong* pointer0 = &address) return _memAlloc(pointer0, (nuint)bytes);
    }

    public override CudaResult MemFree(ulong address) => _memFree(address);

    public override CudaResult MemAllocAsync(out ulong address, ulong bytes, nint stream)
    {
        address = default;
        fixed (ulong* pointer0 = &address) return _memAllocAsync == null ? CudaResult.NotSupported : _memAllocAsync(pointer0, (nuint)bytes, stream);
    }

    public override CudaResult MemFreeAsync(ulong address, nint stream) => _memFreeAsync == null ? CudaResult.NotSupported : _memFreeAsync(address, stream);

    public override CudaResult MemHostAlloc(out nint pointer, ulong bytes, uint flags)
    {
        pointer = default;
        fixed (nint* pointer0 = &pointer) return _memHostAlloc(pointer0, (nuint)bytes, flags);
    }

    public override CudaResult MemFreeHost(nint pointer) => _memFreeHost(pointer);

    public override CudaResult MemcpyHtoDAsync(ulong destination, void* source, ulong bytes, nint stream) => _memcpyHtoDAsync(destination, source, (nuint)bytes, stream);

    public override CudaResult MemcpyDtoHAsync(void* destination, ulong source, ulong bytes, nint stream) => _memcpyDtoHAsync(destination, source, (nuint)bytes, stream);

    public override CudaResult MemcpyDtoDAsync(ulong destination, ulong source, ulong bytes, nint stream) => _memcpyDtoDAsync(destination, source, (nuint)bytes, stream);

    public override CudaResult MemsetD8Async(ulong destination, byte value, ulong count, nint stream) => _memsetD8Async(destination, value, (nuint)count, stream);

    public override CudaResult MemsetD32Async(ulong destination, uint value, ulong count, nint stream) => _memsetD32Async(destination, value, (nuint)count, stream);

    public override CudaResult StreamCreate(out nint stream, uint flags)
    {
        stream = default;
        fixed (nint* pointer0 = &stream) return _streamCreate(pointer0, flags);
    }

    public override CudaResult StreamDestroy(nint stream) => _streamDestroy(stream);

    public override CudaResult StreamSynchronize(nint stream) => _streamSynchronize(stream);

    public override CudaResult StreamQuery(nint stream) => _streamQuery(stream);

    public override CudaResult StreamWaitEvent(nint stream, nint @event, uint flags) => _streamWaitEvent(stream, @event, flags);

    public override CudaResult StreamBeginCapture(nint stream, int mode) => _streamBeginCapture(stream, mode);

    public override CudaResult ThreadExchangeStreamCaptureMode(ref int mode)
    {
        fixed (int* pointer0 = &mode) return _threadExchangeStreamCaptureMode == null ? CudaResult.NotSupported : _threadExchangeStreamCaptureMode(pointer0);
    }

    public override CudaResult StreamEndCapture(nint stream, out nint graph)
    {
        graph = default;
        fixed (nint* pointer0 = &graph) return _streamEndCapture(stream, pointer0);
    }

    public override CudaResult GraphInstantiate(out nint executable, nint graph, ulong flags)
    {
        executable = default;
        fixed (nint* pointer0 = &executable) return _graphInstantiate(pointer0, graph, flags);
    }

    public override CudaResult GraphLaunch(nint executable, nint stream) => _graphLaunch(executable, stream);

    public override CudaResult GraphDestroy(nint graph) => _graphDestroy(graph);

    public override CudaResult GraphExecDestroy(nint executable) => _graphExecDestroy(executable);

    public override CudaResult EventCreate(out nint @event, uint flags)
    {
        @event = default;
        fixed (nint* pointer0 = &@event) return _eventCreate(pointer0, flags);
    }

    public override CudaResult EventDestroy(nint @event) => _eventDestroy(@event);

    public override CudaResult EventRecord(nint @event, nint stream) => _eventRecord(@event, stream);

    public override CudaResult EventQuery(nint @event) => _eventQuery(@event);

    public override CudaResult EventSynchronize(nint @event) => _eventSynchronize(@event);

    public override CudaResult EventElapsedTime(out float milliseconds, nint start, nint end)
    {
        milliseconds = default;
        fixed (float* pointer0 = &milliseconds) return _eventElapsedTime(pointer0, start, end);
    }

    public override CudaResult ModuleUnload(nint module) => _moduleUnload(module);

    public override CudaResult FuncGetAttribute(out int value, FunctionAttribute attribute, nint function)
    {
        value = default;
        fixed (int* pointer0 = &value) return _funcGetAttribute(pointer0, attribute, function);
    }

    public override CudaResult FuncSetAttribute(nint function, FunctionAttribute attribute, int value) => _funcSetAttribute(function, attribute, value);
}
