using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;

namespace Griffin.Bench;

/// <summary>
/// A driver whose calls do nothing and succeed at once, reached through the same table of function pointers as the real one: what is measured over it
/// is the library's own cost. No kernel runs and no memory exists behind its addresses.
/// </summary>
internal static unsafe class StubCuda
{
    /// <summary>Binds the stub.</summary>
    /// <param name="overrides">Exports to replace, by name; an address of 0 removes one.</param>
    public static CudaDriver CreateDriver(IReadOnlyDictionary<string, nint>? overrides = null) =>
        new DirectCudaDriver(new ExportTable(name => overrides is not null && overrides.TryGetValue(name, out nint address) ? address : AddressOf(name), "stub"));

    /// <summary>A provider of the stub driver and a compiler that accepts everything.</summary>
    public static GpuProvider CreateProvider(IReadOnlyDictionary<string, nint>? overrides = null) =>
        new("stub", CreateDriver(overrides), new StubNvrtc(), Blas: null, new SearchTrace());

    private static nint AddressOf(string name) => name switch
    {
        "cuFuncGetParamInfo" => 0,
        "cuDriverGetVersion" => (nint)(delegate* unmanaged<int*, int>)&GiveVersion,
        "cuDeviceGetCount" => (nint)(delegate* unmanaged<int*, int>)&GiveOne,
        "cuDeviceGet" => (nint)(delegate* unmanaged<int*, int>)&GiveZero,
        "cuDeviceTotalMem_v2" => (nint)(delegate* unmanaged<nint*, int>)&GiveHandle,
        "cuDeviceGetAttribute" => (nint)(delegate* unmanaged<int*, int, int, int>)&GiveAttribute,
        "cuDevicePrimaryCtxRetain" or "cuMemAlloc_v2" or "cuMemAllocAsync" or "cuStreamCreate" or "cuEventCreate" or "cuModuleLoadDataEx"
            or "cuModuleGetFunction" or "cuGraphInstantiateWithFlags" => (nint)(delegate* unmanaged<nint*, int>)&GiveHandle,
        "cuFuncGetAttribute" => (nint)(delegate* unmanaged<int*, int>)&GiveZero,
        "cuGetErrorName" or "cuGetErrorString" => (nint)(delegate* unmanaged<int, nint*, int>)&GiveNoText,
        _ => (nint)(delegate* unmanaged<int>)&Succeed,
    };

    // Arguments that a function does not name are passed and ignored: both 64-bit calling conventions allow that.
    [UnmanagedCallersOnly]
    private static int Succeed() => 0;

    [UnmanagedCallersOnly]
    private static int GiveHandle(nint* value)
    {
        *value = 0x1000;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GiveOne(int* value)
    {
        *value = 1;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GiveZero(int* value)
    {
        *value = 0;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GiveVersion(int* value)
    {
        *value = 12040;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GiveAttribute(int* value, int attribute, int device)
    {
        *value = (DeviceAttribute)attribute switch
        {
            DeviceAttribute.ComputeCapabilityMajor => 8,
            DeviceAttribute.ComputeCapabilityMinor => 0,
            _ => 1024,
        };
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GiveNoText(int result, nint* text)
    {
        *text = 0;
        return (int)CudaResult.InvalidValue;
    }

    private sealed class StubNvrtc : Nvrtc
    {
        public override string Identity => "stub";

        public override int Version(out int major, out int minor)
        {
            (major, minor) = (12, 4);
            return 0;
        }

        public override string GetErrorString(int result) => "stub";

        public override int GetSupportedArchs(out int[] architectures)
        {
            architectures = [80];
            return 0;
        }

        public override int CreateProgram(out nint program, string source, string name, IReadOnlyList<KeyValuePair<string, string>> headers)
        {
            program = 1;
            return 0;
        }

        public override int DestroyProgram(nint program) => 0;

        public override int AddNameExpression(nint program, string expression) => 0;

        public override int CompileProgram(nint program, IReadOnlyList<string> options) => 0;

        public override int GetProgramLog(nint program, out string log)
        {
            log = "";
            return 0;
        }

        public override int GetLoweredName(nint program, string expression, out string name)
        {
            name = expression;
            return 0;
        }

        public override int GetCubin(nint program, out byte[] image)
        {
            image = [0];
            return 0;
        }

        public override int GetPtx(nint program, out byte[] image)
        {
            image = [0];
            return 0;
        }
    }
}
