using System.Text;
using Griffin.Kernels.Interop;
using ManagedCuda;
using ManagedCuda.BasicTypes;
using static ManagedCuda.DriverAPINativeMethods;

namespace Griffin.Kernels.ManagedCuda;

/// <summary>
/// The driver calls through ManagedCuda: its handle types and its binding. Its classes (<see cref="CudaContext"/>, <see cref="CudaStream"/> …) own what
/// they make and throw where this interface returns a status, so they are met at the edges of a program, in <see cref="ManagedCudaInterop"/>, and
/// not here. Calls that the driver does not have are <see cref="CudaResult.NotSupported"/>.
/// </summary>
/// <param name="hasStreamOrderedMemory">Whether the driver exports the calls of stream-ordered allocation.</param>
internal sealed unsafe partial class ManagedCudaDriver(bool hasStreamOrderedMemory) : CudaDriver
{
    public override bool HasStreamOrderedMemory => hasStreamOrderedMemory;

    public override CudaResult Init() => (CudaResult)cuInit(CUInitializationFlags.None);

    public override CudaResult DriverGetVersion(out int version)
    {
        version = 0;
        return (CudaResult)cuDriverGetVersion(ref version);
    }

    public override string? GetErrorName(CudaResult result)
    {
        nint text = 0;
        return ErrorHandling.cuGetErrorName((CUResult)result, ref text) == CUResult.Success ? Text(text) : null;
    }

    public override string? GetErrorString(CudaResult result)
    {
        nint text = 0;
        return ErrorHandling.cuGetErrorString((CUResult)result, ref text) == CUResult.Success ? Text(text) : null;
    }

    public override CudaResult DeviceGetCount(out int count)
    {
        count = 0;
        return (CudaResult)DeviceManagement.cuDeviceGetCount(ref count);
    }

    public override CudaResult DeviceGet(out int device, int ordinal)
    {
        CUdevice found = default;
        CUResult result = DeviceManagement.cuDeviceGet(ref found, ordinal);
        device = found.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult DeviceGetName(out string name, int device)
    {
        byte[] text = new byte[256];
        CUResult result = DeviceManagement.cuDeviceGetName(text, text.Length, Device(device));
        name = Text(text);
        return (CudaResult)result;
    }

    public override CudaResult DeviceTotalMem(out ulong bytes, int device)
    {
        SizeT size = default;
        CUResult result = DeviceManagement.cuDeviceTotalMem_v2(ref size, Device(device));
        bytes = size;
        return (CudaResult)result;
    }

    public override CudaResult DeviceGetAttribute(out int value, DeviceAttribute attribute, int device)
    {
        value = 0;
        return (CudaResult)DeviceManagement.cuDeviceGetAttribute(ref value, (CUDeviceAttribute)attribute, Device(device));
    }

    public override CudaResult DevicePrimaryCtxRetain(out nint context, int device)
    {
        CUcontext retained = default;
        CUResult result = ContextManagement.cuDevicePrimaryCtxRetain(ref retained, Device(device));
        context = retained.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult DevicePrimaryCtxRelease(int device) => (CudaResult)ContextManagement.cuDevicePrimaryCtxRelease(Device(device));

    public override CudaResult CtxSetCurrent(nint context) => (CudaResult)ContextManagement.cuCtxSetCurrent(new CUcontext { Pointer = context });

    public override CudaResult CtxGetCurrent(out nint context)
    {
        CUcontext current = default;
        CUResult result = ContextManagement.cuCtxGetCurrent(ref current);
        context = current.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult CtxGetDevice(out int device)
    {
        CUdevice found = default;
        CUResult result = ContextManagement.cuCtxGetDevice(ref found);
        device = found.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult CtxSynchronize() => (CudaResult)ContextManagement.cuCtxSynchronize();

    public override CudaResult MemGetInfo(out ulong free, out ulong total)
    {
        SizeT freeSize = default, totalSize = default;
        CUResult result = MemoryManagement.cuMemGetInfo_v2(ref freeSize, ref totalSize);
        (free, total) = (freeSize, totalSize);
        return (CudaResult)result;
    }

    public override CudaResult MemAlloc(out ulong address, ulong bytes)
    {
        CUdeviceptr memory = default;
        CUResult result = MemoryManagement.cuMemAlloc_v2(ref memory, bytes);
        address = memory.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult MemFree(ulong address) => (CudaResult)MemoryManagement.cuMemFree_v2(Memory(address));

    public override CudaResult MemAllocAsync(out ulong address, ulong bytes, nint stream)
    {
        address = 0;
        if (!hasStreamOrderedMemory) return CudaResult.NotSupported;
        CUdeviceptr memory = default;
        CUResult result = MemoryManagement.cuMemAllocAsync(ref memory, bytes, Stream(stream));
        address = memory.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult MemFreeAsync(ulong address, nint stream) =>
        hasStreamOrderedMemory ? (CudaResult)MemoryManagement.cuMemFreeAsync(Memory(address), Stream(stream)) : CudaResult.NotSupported;

    public override CudaResult MemHostAlloc(out nint pointer, ulong bytes, uint flags)
    {
        pointer = 0;
        return (CudaResult)MemoryManagement.cuMemHostAlloc(ref pointer, bytes, (CUMemHostAllocFlags)flags);
    }

    public override CudaResult MemFreeHost(nint pointer) => (CudaResult)MemoryManagement.cuMemFreeHost(pointer);

    public override CudaResult MemcpyHtoDAsync(ulong destination, void* source, ulong bytes, nint stream) =>
        (CudaResult)AsynchronousMemcpy_v2.cuMemcpyHtoDAsync_v2(Memory(destination), (nint)source, bytes, Stream(stream));

    public override CudaResult MemcpyDtoHAsync(void* destination, ulong source, ulong bytes, nint stream) =>
        (CudaResult)AsynchronousMemcpy_v2.cuMemcpyDtoHAsync_v2((nint)destination, Memory(source), bytes, Stream(stream));

    public override CudaResult MemcpyDtoDAsync(ulong destination, ulong source, ulong bytes, nint stream) =>
        (CudaResult)AsynchronousMemcpy_v2.cuMemcpyDtoDAsync_v2(Memory(destination), Memory(source), bytes, Stream(stream));

    public override CudaResult MemsetD8Async(ulong destination, byte value, ulong count, nint stream) =>
        (CudaResult)MemsetAsync.cuMemsetD8Async(Memory(destination), value, count, Stream(stream));

    public override CudaResult MemsetD32Async(ulong destination, uint value, ulong count, nint stream) =>
        (CudaResult)MemsetAsync.cuMemsetD32Async(Memory(destination), value, count, Stream(stream));

    private static CUdevice Device(int device) => new() { Pointer = device };

    private static CUdeviceptr Memory(ulong address) => new() { Pointer = address };

    private static CUstream Stream(nint stream) => new() { Pointer = stream };

    private static string? Text(nint text) => System.Runtime.InteropServices.Marshal.PtrToStringUTF8(text);

    private static string Text(byte[] text)
    {
        int end = Array.IndexOf(text, (byte)0);
        return Encoding.UTF8.GetString(text, 0, end < 0 ? text.Length : end);
    }
}
