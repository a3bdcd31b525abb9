using System.Text;

namespace Griffin.Kernels.Interop;

internal sealed unsafe partial class DirectCudaDriver
{
    private const int LogBytes = 16384;

    private readonly delegate* unmanaged<uint, CudaResult> _init;
    private readonly delegate* unmanaged<CudaResult, byte**, CudaResult> _getErrorName;
    private readonly delegate* unmanaged<CudaResult, byte**, CudaResult> _getErrorString;
    private readonly delegate* unmanaged<byte*, int, int, CudaResult> _deviceGetName;
    private readonly delegate* unmanaged<nint*, void*, uint, int*, void**, CudaResult> _moduleLoadDataEx;
    private readonly delegate* unmanaged<nint*, nint, byte*, CudaResult> _moduleGetFunction;
    private readonly delegate* unmanaged<nint, nuint, nuint*, nuint*, CudaResult> _funcGetParamInfo;
    private readonly delegate* unmanaged<LaunchConfig*, nint, void**, void**, CudaResult> _launchKernelEx;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, CudaResult> _launchKernel;

    private readonly delegate* unmanaged<void*, int, uint, ulong, ulong*, ulong*, uint*, uint*, int, int, int, int, CudaResult> _tensorMapEncodeTiled;

    public override bool HasTensorMaps => _tensorMapEncodeTiled != null;

    public override CudaResult Init() => _init(0);

    public override string? GetErrorName(CudaResult result)
    {
        byte* text = null;
        return _getErrorName(result, &text) == CudaResult.Success ? NativeText.Read(text) : null;
    }

    public override string? GetErrorString(CudaResult result)
    {
        byte* text = null;
        return _getErrorString(result, &text) == CudaResult.Success ? NativeText.Read(text) : null;
    }

    public override CudaResult DeviceGetName(out string name, int device)
    {
        const int Length = 256;
        byte* text = stackalloc byte[Length];
        text[0] = 0;
        CudaResult result = _deviceGetName(text, Length, device);
        name = NativeText.Read(text) ?? "";
        return result;
    }

    public override CudaResult ModuleLoadData(out nint module, ReadOnlySpan<byte> image, out string log)
    {
        const int ErrorLogBuffer = 5;
        const int ErrorLogBufferBytes = 6;
        int* options = stackalloc int[] { ErrorLogBuffer, ErrorLogBufferBytes };
        byte[] text = new byte[LogBytes];
        module = 0;
        CudaResult result;
        fixed (byte* data = image, buffer = text)
        fixed (nint* handle = &module)
        {
            void** values = stackalloc void*[] { buffer, (void*)LogBytes };
            result = _moduleLoadDataEx(handle, data, 2, options, values);
        }
        int end = Array.IndexOf(text, (byte)0);
        log = Encoding.UTF8.GetString(text, 0, end < 0 ? LogBytes : end);
        return result;
    }

    public override CudaResult ModuleGetFunction(out nint function, nint module, string name)
    {
        function = 0;
        fixed (nint* handle = &function)
        fixed (byte* text = NativeText.Write(name)) return _moduleGetFunction(handle, module, text);
    }

    public override CudaResult FuncGetParamInfo(nint function, int index, out ulong offset, out ulong size)
    {
        offset = size = 0;
        if (_funcGetParamInfo == null) return CudaResult.NotSupported;
        nuint nativeOffset = 0, nativeSize = 0;
        CudaResult result = _funcGetParamInfo(function, (nuint)index, &nativeOffset, &nativeSize);
        (offset, size) = (nativeOffset, nativeSize);
        return result;
    }

    public override CudaResult TensorMapEncodeTiled(void* map, int type, uint rank, ulong address, ulong* dimensions, ulong* strides, uint* box, int swizzle)
    {
        const int NoInterleave = 0, PromoteTo128Bytes = 2, ZeroFill = 0;
        if (_tensorMapEncodeTiled == null) return CudaResult.NotSupported;
        uint* elementStrides = stackalloc uint[] { 1, 1, 1, 1, 1 };
        return _tensorMapEncodeTiled(map, type, rank, address, dimensions, strides, box, elementStrides, NoInterleave, swizzle, PromoteTo128Bytes, ZeroFill);
    }

    public override CudaResult LaunchKernel(in LaunchConfig config, nint function, void** parameters)
    {
        if (_launchKernelEx != null)
        {
            fixed (LaunchConfig* pointer = &config) return _launchKernelEx(pointer, function, parameters, null);
        }
        if (config.AttributeCount != 0) return CudaResult.NotSupported;
        return _launchKernel(function, config.GridX, config.GridY, config.GridZ, config.BlockX, config.BlockY, config.BlockZ,
            config.DynamicSharedBytes, config.Stream, parameters, null);
    }
}
