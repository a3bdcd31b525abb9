using System.Buffers.Binary;
using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>One compilation, fully determined: the source reached, the options in order, and the compiler. Its key names the result in the cache.</summary>
internal sealed class KernelBuild
{
    private const string KeyFormat = "griffin kernel 1";
    private const int CompilationError = 6;

    private static readonly string libraryVersion = typeof(KernelBuild).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    private readonly Nvrtc _nvrtc;
    private readonly IReadOnlyList<KeyValuePair<string, string>> _headers;

    /// <param name="nvrtc">The compiler.</param>
    /// <param name="spec">The kernel.</param>
    /// <param name="architecture">"sm_80" for a cubin, "compute_90" for PTX.</param>
    /// <param name="extraOptions">Options that come after the spec's own.</param>
    public KernelBuild(Nvrtc nvrtc, KernelSpec spec, string architecture, IReadOnlyList<string> extraOptions)
    {
        _nvrtc = nvrtc;
        Spec = spec;
        IsPtx = architecture.StartsWith("compute_", StringComparison.Ordinal);
        Options = ["--std=c++17", "--fmad=false", $"--gpu-architecture={architecture}", .. spec.Options, .. extraOptions];
        (_headers, IsCacheable) = IncludeScanner.Reach(spec.Source);
        Key = ComputeKey();
    }

    public KernelSpec Spec { get; }

    public IReadOnlyList<string> Options { get; }

    public bool IsPtx { get; }

    /// <summary>False when the source may read files that the key does not cover.</summary>
    public bool IsCacheable { get; }

    /// <summary>SHA-256, in hexadecimal, of everything that can change the result.</summary>
    public string Key { get; }

    /// <summary>The exact architecture when the compiler knows it, else the newest virtual one that it knows below.</summary>
    public static string ArchitectureFor(Nvrtc nvrtc, (int Major, int Minor) capability)
    {
        int wanted = capability.Major * 10 + capability.Minor;
        if (nvrtc.GetSupportedArchs(out int[] known) != 0 || known.Contains(wanted)) return string.Create(CultureInfo.InvariantCulture, $"sm_{wanted}");
        int newest = known.Where(architecture => architecture < wanted).DefaultIfEmpty(wanted).Max();
        return string.Create(CultureInfo.InvariantCulture, $"compute_{newest}");
    }

    /// <summary>The number in an architecture's name: what <c>__CUDA_ARCH__</c> is in its kernels, divided by ten.</summary>
    public static int NumberOf(string architecture) =>
        int.Parse(architecture.AsSpan(architecture.IndexOf('_') + 1).TrimEnd("af"), NumberStyles.None, CultureInfo.InvariantCulture);

    /// <summary>Compiles; throws with the whole log when that fails.</summary>
    public CompiledKernel Compile()
    {
        if (_nvrtc.Identity.Length == 0)
            throw new KernelCompilationException(Spec, Options, "",
                "no C++ compiler was found; the emulator needs g++ or clang++ on the PATH (or named by GRIFFIN_CXX)");
        Check(_nvrtc.CreateProgram(out nint program, Spec.Source.Text, Spec.Source.Name, _headers), "nvrtcCreateProgram");
        try
        {
            Check(_nvrtc.AddNameExpression(program, Spec.NameExpression), "nvrtcAddNameExpression");
            int status = _nvrtc.CompileProgram(program, Options);
            if (_nvrtc.GetProgramLog(program, out string log) != 0) log = "";
            if (status != 0)
                throw new KernelCompilationException(Spec, Options, log, status == CompilationError ? "the compiler refused it" : _nvrtc.GetErrorString(status));
            Check(_nvrtc.GetLoweredName(program, Spec.NameExpression, out string name), "nvrtcGetLoweredName", log);
            byte[] image;
            if (IsPtx) Check(_nvrtc.GetPtx(program, out image), "nvrtcGetPTX", log);
            else Check(_nvrtc.GetCubin(program, out image), "nvrtcGetCUBIN", log);
            return new(Spec, name, image, IsPtx, log, FromCache: false);
        }
        finally
        {
            _nvrtc.DestroyProgram(program);
        }
    }

    private void Check(int status, string call, string log = "")
    {
        if (status != 0) throw new KernelCompilationException(Spec, Options, log, $"{call}: {_nvrtc.GetErrorString(status)}");
    }

    private string ComputeKey()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(KeyFormat);
        Add(libraryVersion);
        Add(_nvrtc.Identity);
        Add(Spec.NameExpression);
        AddCount(Options.Count);
        foreach (string option in Options) Add(option);
        Add(Spec.Source.Name);
        Add(Spec.Source.Text);
        AddCount(_headers.Count);
        foreach ((string name, string text) in _headers)
        {
            Add(name);
            Add(text);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Add(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            AddCount(bytes.Length);
            hash.AppendData(bytes);
        }

        void AddCount(int count)
        {
            Span<byte> bytes = stackalloc byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, count);
            hash.AppendData(bytes);
        }
    }
}
