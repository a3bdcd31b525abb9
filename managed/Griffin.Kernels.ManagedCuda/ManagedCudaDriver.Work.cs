using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;
using ManagedCuda;
using ManagedCuda.BasicTypes;
using static ManagedCuda.DriverAPINativeMethods;

namespace Griffin.Kernels.ManagedCuda;

// Streams, events, graphs, modules and launches.
internal sealed unsafe partial class ManagedCudaDriver
{
    private const int LogBytes = 16384;

    // The binding takes the parameters' addresses as a managed array; one for each thread serves every launch.
    [ThreadStatic]
    private static nint[]? launchParameters;

    public override CudaResult StreamCreate(out nint stream, uint flags)
    {
        CUstream created = default;
        CUResult result = Streams.cuStreamCreate(ref created, (CUStreamFlags)flags);
        stream = created.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult StreamDestroy(nint stream) => (CudaResult)Streams.cuStreamDestroy_v2(Stream(stream));

    public override CudaResult StreamSynchronize(nint stream) => (CudaResult)Streams.cuStreamSynchronize(Stream(stream));

    public override CudaResult StreamQuery(nint stream) => (CudaResult)Streams.cuStreamQuery(Stream(stream));

    public override CudaResult StreamWaitEvent(nint stream, nint @event, uint flags) =>
        (CudaResult)Streams.cuStreamWaitEvent(Stream(stream), Event(@event), flags);

    public override CudaResult StreamBeginCapture(nint stream, int mode) => (CudaResult)Streams.cuStreamBeginCapture(Stream(stream), (CUstreamCaptureMode)mode);

    public override CudaResult StreamEndCapture(nint stream, out nint graph)
    {
        CUgraph captured = default;
        CUResult result = Streams.cuStreamEndCapture(Stream(stream), ref captured);
        graph = captured.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult GraphInstantiate(out nint executable, nint graph, ulong flags)
    {
        CUgraphExec instance = default;
        CUResult result = GraphManagment.cuGraphInstantiate(ref instance, Graph(graph), (CUgraphInstantiate_flags)flags);
        executable = instance.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult GraphLaunch(nint executable, nint stream) => (CudaResult)GraphManagment.cuGraphLaunch(Executable(executable), Stream(stream));

    public override CudaResult GraphDestroy(nint graph) => (CudaResult)GraphManagment.cuGraphDestroy(Graph(graph));

    public override CudaResult GraphExecDestroy(nint executable) => (CudaResult)GraphManagment.cuGraphExecDestroy(Executable(executable));

    public override CudaResult EventCreate(out nint @event, uint flags)
    {
        CUevent created = default;
        CUResult result = Events.cuEventCreate(ref created, (CUEventFlags)flags);
        @event = created.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult EventDestroy(nint @event) => (CudaResult)Events.cuEventDestroy_v2(Event(@event));

    public override CudaResult EventRecord(nint @event, nint stream) => (CudaResult)Events.cuEventRecord(Event(@event), Stream(stream));

    public override CudaResult EventQuery(nint @event) => (CudaResult)Events.cuEventQuery(Event(@event));

    public override CudaResult EventSynchronize(nint @event) => (CudaResult)Events.cuEventSynchronize(Event(@event));

    public override CudaResult EventElapsedTime(out float milliseconds, nint start, nint end)
    {
        milliseconds = 0;
        return (CudaResult)Events.cuEventElapsedTime(ref milliseconds, Event(start), Event(end));
    }

    public override CudaResult ModuleLoadData(out nint module, ReadOnlySpan<byte> image, out string log)
    {
        CUmodule loaded = default;
        CUResult result;
        byte[] text = new byte[LogBytes];
        fixed (byte* buffer = text)
        {
            result = ModuleManagement.cuModuleLoadDataEx(ref loaded, image.ToArray(), 2,
                [CUJITOption.ErrorLogBuffer, CUJITOption.ErrorLogBufferSizeBytes], [(nint)buffer, LogBytes]);
        }
        module = loaded.Pointer;
        log = Text(text);
        return (CudaResult)result;
    }

    public override CudaResult ModuleUnload(nint module) => (CudaResult)ModuleManagement.cuModuleUnload(new CUmodule { Pointer = module });

    public override CudaResult ModuleGetFunction(out nint function, nint module, string name)
    {
        CUfunction found = default;
        CUResult result = ModuleManagement.cuModuleGetFunction(ref found, new CUmodule { Pointer = module }, name);
        function = found.Pointer;
        return (CudaResult)result;
    }

    public override CudaResult FuncGetAttribute(out int value, FunctionAttribute attribute, nint function)
    {
        value = 0;
        return (CudaResult)FunctionManagement.cuFuncGetAttribute(ref value, (CUFunctionAttribute)attribute, Function(function));
    }

    public override CudaResult FuncSetAttribute(nint function, FunctionAttribute attribute, int value) =>
        (CudaResult)FunctionManagement.cuFuncSetAttribute(Function(function), (CUFunctionAttribute)attribute, value);

    public override CudaResult FuncGetParamInfo(nint function, int index, out ulong offset, out ulong size)
    {
        SizeT at = default, length = default;
        try
        {
            return (CudaResult)FunctionManagement.cuFuncGetParamInfo(Function(function), index, ref at, ref length);
        }
        catch (EntryPointNotFoundException)
        {
            return CudaResult.NotSupported;
        }
        finally
        {
            (offset, size) = (at, length);
        }
    }

    // Without attributes cuLaunchKernel does the same, and ManagedCuda reaches it without copying the configuration into memory of its own.
    public override CudaResult LaunchKernel(in LaunchConfig config, nint function, void** parameters)
    {
        nint[] addresses = launchParameters ??= new nint[1];
        addresses[0] = (nint)parameters[0];
        if (config.AttributeCount == 0)
        {
            return (CudaResult)Launch.cuLaunchKernel(Function(function), config.GridX, config.GridY, config.GridZ, config.BlockX, config.BlockY, config.BlockZ,
                config.DynamicSharedBytes, Stream(config.Stream), addresses, null);
        }
        CUlaunchConfig withAttributes = new()
        {
            gridDimX = config.GridX,
            gridDimY = config.GridY,
            gridDimZ = config.GridZ,
            blockDimX = config.BlockX,
            blockDimY = config.BlockY,
            blockDimZ = config.BlockZ,
            sharedMemBytes = config.DynamicSharedBytes,
            hStream = Stream(config.Stream),
            attrs = new ReadOnlySpan<CUlaunchAttribute>((void*)config.Attributes, (int)config.AttributeCount).ToArray(),
        };
        try
        {
            return (CudaResult)Launch.cuLaunchKernelEx(ref withAttributes, Function(function), addresses, null);
        }
        catch (EntryPointNotFoundException)
        {
            return CudaResult.NotSupported;
        }
    }

    private static CUevent Event(nint @event) => new() { Pointer = @event };

    private static CUfunction Function(nint function) => new() { Pointer = function };

    private static CUgraph Graph(nint graph) => new() { Pointer = graph };

    private static CUgraphExec Executable(nint executable) => new() { Pointer = executable };
}
