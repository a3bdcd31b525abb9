using System.Text;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>A compiler that makes an image of what it was given, counts its compilations, and can refuse.</summary>
internal sealed class FakeNvrtc(string identity = "fake 1") : Griffin.Kernels.Interop.Nvrtc
{
    private int _compilations;
    private string _source = "";
    private int _headers;

    public int Compilations => _compilations;

    public int HeadersSeen => _headers;

    public int[] Known { get; init; } = [80, 86, 90];

    public bool Refuses { get; init; }

    /// <summary>Called within each compilation.</summary>
    public Action WhileCompiling { get; init; } = () => { };

    public IReadOnlyList<string> LastOptions { get; private set; } = [];

    public override string Identity => identity;

    public override int Version(out int major, out int minor)
    {
        (major, minor) = (12, 4);
        return 0;
    }

    public override string GetErrorString(int result) => $"fake error {result}";

    public override int GetSupportedArchs(out int[] architectures)
    {
        architectures = Known;
        return 0;
    }

    public override int CreateProgram(out nint program, string source, string name, IReadOnlyList<KeyValuePair<string, string>> headers)
    {
        program = 1;
        _source = source;
        _headers = headers.Count;
        return 0;
    }

    public override int DestroyProgram(nint program) => 0;

    public override int AddNameExpression(nint program, string expression) => 0;

    public override int CompileProgram(nint program, IReadOnlyList<string> options)
    {
        Interlocked.Increment(ref _compilations);
        LastOptions = options;
        WhileCompiling();
        return Refuses ? 6 : 0;
    }

    public override int GetProgramLog(nint program, out string log)
    {
        log = Refuses ? "fake.cu(1): error: refused\n" : "a remark";
        return 0;
    }

    public override int GetLoweredName(nint program, string expression, out string name)
    {
        name = "lowered_" + expression;
        return 0;
    }

    public override int GetCubin(nint program, out byte[] image)
    {
        image = Encoding.UTF8.GetBytes("CUBIN" + _source);
        return 0;
    }

    public override int GetPtx(nint program, out byte[] image)
    {
        image = Encoding.UTF8.GetBytes("PTX" + _source);
        return 0;
    }
}
