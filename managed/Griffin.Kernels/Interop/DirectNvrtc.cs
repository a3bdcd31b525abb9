using System.Text;

namespace Griffin.Kernels.Interop;

/// <summary>NVRTC bound directly, NVIDIA's or the emulator's.</summary>
internal sealed unsafe class DirectNvrtc : Nvrtc
{
    private const int Success = 0;

    private readonly delegate* unmanaged<int*, int*, int> _version;
    private readonly delegate* unmanaged<int, byte*> _getErrorString;
    private readonly delegate* unmanaged<int*, int> _getNumSupportedArchs;
    private readonly delegate* unmanaged<int*, int> _getSupportedArchs;
    private readonly delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> _createProgram;
    private readonly delegate* unmanaged<nint*, int> _destroyProgram;
    private readonly delegate* unmanaged<nint, byte*, int> _addNameExpression;
    private readonly delegate* unmanaged<nint, int, byte**, int> _compileProgram;
    private readonly delegate* unmanaged<nint, nuint*, int> _getProgramLogSize;
    private readonly delegate* unmanaged<nint, byte*, int> _getProgramLog;
    private readonly delegate* unmanaged<nint, byte*, byte**, int> _getLoweredName;
    private readonly delegate* unmanaged<nint, nuint*, int> _getCubinSize;
    private readonly delegate* unmanaged<nint, byte*, int> _getCubin;
    private readonly delegate* unmanaged<nint, nuint*, int> _getPtxSize;
    private readonly delegate* unmanaged<nint, byte*, int> _getPtx;
    private readonly Lazy<string> _identity;

    /// <param name="exports">The library's exports.</param>
    /// <param name="libraryFile">The resolved file, which tells builds of one version apart.</param>
    /// <param name="emulatorIdentity">Names the compiler when the emulator answers; null for NVIDIA's.</param>
    /// <exception cref="EntryPointNotFoundException">The library lacks a call that the runtime cannot do without.</exception>
    public DirectNvrtc(ExportTable exports, string libraryFile, Func<string>? emulatorIdentity = null)
    {
        _identity = new(emulatorIdentity ?? (() => Version(out int major, out int minor) == Success ? $"NVRTC {major}.{minor} {libraryFile}" : $"NVRTC {libraryFile}"));
        _version = (delegate* unmanaged<int*, int*, int>)exports.Required("nvrtcVersion");
        _getErrorString = (delegate* unmanaged<int, byte*>)exports.Required("nvrtcGetErrorString");
        _getNumSupportedArchs = (delegate* unmanaged<int*, int>)exports.Required("nvrtcGetNumSupportedArchs");
        _getSupportedArchs = (delegate* unmanaged<int*, int>)exports.Required("nvrtcGetSupportedArchs");
        _createProgram = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)exports.Required("nvrtcCreateProgram");
        _destroyProgram = (delegate* unmanaged<nint*, int>)exports.Required("nvrtcDestroyProgram");
        _addNameExpression = (delegate* unmanaged<nint, byte*, int>)exports.Required("nvrtcAddNameExpression");
        _compileProgram = (delegate* unmanaged<nint, int, byte**, int>)exports.Required("nvrtcCompileProgram");
        _getProgramLogSize = (delegate* unmanaged<nint, nuint*, int>)exports.Required("nvrtcGetProgramLogSize");
        _getProgramLog = (delegate* unmanaged<nint, byte*, int>)exports.Required("nvrtcGetProgramLog");
        _getLoweredName = (delegate* unmanaged<nint, byte*, byte**, int>)exports.Required("nvrtcGetLoweredName");
        _getCubinSize = (delegate* unmanaged<nint, nuint*, int>)exports.Required("nvrtcGetCUBINSize");
        _getCubin = (delegate* unmanaged<nint, byte*, int>)exports.Required("nvrtcGetCUBIN");
        _getPtxSize = (delegate* unmanaged<nint, nuint*, int>)exports.Required("nvrtcGetPTXSize");
        _getPtx = (delegate* unmanaged<nint, byte*, int>)exports.Required("nvrtcGetPTX");
    }

    public override string Identity => _identity.Value;

    public override int Version(out int major, out int minor)
    {
        major = minor = 0;
        fixed (int* first = &major, second = &minor) return _version(first, second);
    }

    public override string GetErrorString(int result) => NativeText.Read(_getErrorString(result)) ?? $"NVRTC status {result}";

    public override int GetSupportedArchs(out int[] architectures)
    {
        architectures = [];
        int count = 0;
        int status = _getNumSupportedArchs(&count);
        if (status != Success || count <= 0) return status;
        int[] values = new int[count];
        fixed (int* pointer = values) status = _getSupportedArchs(pointer);
        Array.Sort(values);
        architectures = values;
        return status;
    }

    public override int CreateProgram(out nint program, string source, string name, IReadOnlyList<KeyValuePair<string, string>> headers)
    {
        byte[] sourceText = NativeText.Write(source), nameText = NativeText.Write(name);
        nint[] created = new nint[1];
        int status = NativeText.WithPointers([.. headers.Select(header => header.Value)], texts =>
            NativeText.WithPointers([.. headers.Select(header => header.Key)], names =>
            {
                fixed (byte* sourcePointer = sourceText, namePointer = nameText)
                fixed (nint* handle = created) return _createProgram(handle, sourcePointer, namePointer, headers.Count, texts, names);
            }));
        program = created[0];
        return status;
    }

    public override int DestroyProgram(nint program) => _destroyProgram(&program);

    public override int AddNameExpression(nint program, string expression)
    {
        fixed (byte* text = NativeText.Write(expression)) return _addNameExpression(program, text);
    }

    public override int CompileProgram(nint program, IReadOnlyList<string> options) =>
        NativeText.WithPointers(options, pointers => _compileProgram(program, options.Count, pointers));

    public override int GetProgramLog(nint program, out string log)
    {
        int status = Bytes(program, _getProgramLogSize, _getProgramLog, out byte[] text);
        log = Encoding.UTF8.GetString(text).TrimEnd('\0');
        return status;
    }

    public override int GetLoweredName(nint program, string expression, out string name)
    {
        byte* lowered = null;
        int status;
        fixed (byte* text = NativeText.Write(expression)) status = _getLoweredName(program, text, &lowered);
        name = NativeText.Read(lowered) ?? "";
        return status;
    }

    public override int GetCubin(nint program, out byte[] image) => Bytes(program, _getCubinSize, _getCubin, out image);

    public override int GetPtx(nint program, out byte[] image) => Bytes(program, _getPtxSize, _getPtx, out image);

    private static int Bytes(nint program, delegate* unmanaged<nint, nuint*, int> getSize, delegate* unmanaged<nint, byte*, int> get, out byte[] bytes)
    {
        nuint size = 0;
        bytes = [];
        int status = getSize(program, &size);
        if (status != Success || size == 0) return status;
        bytes = new byte[size];
        fixed (byte* pointer = bytes) return get(program, pointer);
    }
}
