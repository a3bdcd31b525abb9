namespace Griffin.Kernels.Interop;

/// <summary>The calls of NVIDIA's run-time compiler that the runtime uses; status codes are NVRTC's (<c>nvrtcResult</c>, 0 = success, 6 = compilation error).</summary>
public abstract class Nvrtc
{
    /// <summary><c>nvrtcVersion</c>.</summary>
    public abstract int Version(out int major, out int minor);
    /// <summary>
    /// Everything about this compiler that can change the bits it makes, as one line: version and build, and on the emulator the C++ compiler with its resolved flags.
    /// Empty when no compiler is available behind the interface.
    /// </summary>
    public abstract string Identity { get; }
    /// <summary><c>nvrtcGetErrorString</c>.</summary>
    public abstract string GetErrorString(int result);
    /// <summary><c>nvrtcGetSupportedArchs</c>: compute capabilities as two digits (80, 86, 90 …), ascending.</summary>
    public abstract int GetSupportedArchs(out int[] architectures);
    /// <summary><c>nvrtcCreateProgram</c>.</summary>
    public abstract int CreateProgram(out nint program, string source, string name, IReadOnlyList<KeyValuePair<string, string>> headers);
    /// <summary><c>nvrtcDestroyProgram</c>.</summary>
    public abstract int DestroyProgram(nint program);
    /// <summary><c>nvrtcAddNameExpression</c>.</summary>
    public abstract int AddNameExpression(nint program, string expression);
    /// <summary><c>nvrtcCompileProgram</c>.</summary>
    public abstract int CompileProgram(nint program, IReadOnlyList<string> options);
    /// <summary><c>nvrtcGetProgramLog</c>.</summary>
    public abstract int GetProgramLog(nint program, out string log);
    /// <summary><c>nvrtcGetLoweredName</c>.</summary>
    public abstract int GetLoweredName(nint program, string expression, out string name);
    /// <summary><c>nvrtcGetCUBIN</c>; <c>sm_XX</c> targets only.</summary>
    public abstract int GetCubin(nint program, out byte[] image);
    /// <summary><c>nvrtcGetPTX</c>, with its terminating zero.</summary>
    public abstract int GetPtx(nint program, out byte[] image);
}
