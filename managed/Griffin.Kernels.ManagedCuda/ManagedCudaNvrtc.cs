using System.Runtime.InteropServices;
using System.Text;
using Griffin.Kernels.Interop;
using ManagedCuda.NVRTC;

namespace Griffin.Kernels.ManagedCuda;

/// <summary>NVRTC through ManagedCuda's <see cref="CudaRuntimeCompiler"/>: a program of this interface stands for one such object.</summary>
/// <param name="identity">See <see cref="Nvrtc.Identity"/>.</param>
internal sealed class ManagedCudaNvrtc(Func<string> identity) : Nvrtc
{
    private readonly Lazy<string> _identity = new(identity);

    public override string Identity => _identity.Value;

    public override int Version(out int major, out int minor)
    {
        int status = Status(CudaRuntimeCompiler.GetVersion, out Version? version);
        (major, minor) = version is null ? (0, 0) : (version.Major, version.Minor);
        return status;
    }

    public override string GetErrorString(int result) => NVRTCNativeMethods.nvrtcGetErrorString((nvrtcResult)result) ?? $"NVRTC status {result}";

    public override int GetSupportedArchs(out int[] architectures)
    {
        int status = Status(CudaRuntimeCompiler.GetSupportedArchs, out int[]? found);
        architectures = found ?? [];
        Array.Sort(architectures);
        return status;
    }

    public override int CreateProgram(out nint program, string source, string name, IReadOnlyList<KeyValuePair<string, string>> headers)
    {
        int status = Status(() => new CudaRuntimeCompiler(source, name, [.. headers.Select(header => header.Value)], [.. headers.Select(header => header.Key)]),
            out CudaRuntimeCompiler? compiler);
        program = compiler is null ? 0 : GCHandle.ToIntPtr(GCHandle.Alloc(compiler));
        return status;
    }

    public override int DestroyProgram(nint program)
    {
        Of(program).Dispose(); // ManagedCuda ignores the status
        GCHandle.FromIntPtr(program).Free();
        return 0;
    }

    public override int AddNameExpression(nint program, string expression) => Status(() => Of(program).AddNameExpression(expression));

    public override int CompileProgram(nint program, IReadOnlyList<string> options) => Status(() => Of(program).Compile([.. options]));

    public override int GetProgramLog(nint program, out string log)
    {
        int status = Status(Of(program).GetLog, out byte[]? text); // its GetLogAsString reads ASCII
        log = Encoding.UTF8.GetString(text ?? []).TrimEnd('\0');
        return status;
    }

    public override int GetLoweredName(nint program, string expression, out string name)
    {
        int status = Status(() => Of(program).GetLoweredName(expression), out string? lowered);
        name = lowered ?? "";
        return status;
    }

    public override int GetCubin(nint program, out byte[] image)
    {
        int status = Status(Of(program).GetCubin, out byte[]? bytes);
        image = bytes ?? [];
        return status;
    }

    public override int GetPtx(nint program, out byte[] image)
    {
        int status = Status(Of(program).GetPTX, out byte[]? bytes);
        image = bytes ?? [];
        return status;
    }

    private static CudaRuntimeCompiler Of(nint program) => (CudaRuntimeCompiler)GCHandle.FromIntPtr(program).Target!;

    private static int Status(Action call) => Status<object?>(() =>
    {
        call();
        return null;
    }, out _);

    /// <summary>The status of a call that ManagedCuda turns into an exception when it is not success.</summary>
    private static int Status<T>(Func<T> call, out T? value)
    {
        value = default;
        try
        {
            value = call();
            return 0;
        }
        catch (NVRTCException refused)
        {
            return (int)refused.NVRTCError;
        }
    }
}
