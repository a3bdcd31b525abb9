namespace Griffin.Kernels.Runtime;

/// <summary>One kernel to be compiled: a source and the C++ name expression that picks the template instance in it. Each spec becomes a module of its own.</summary>
/// <param name="Source">The source text and its headers.</param>
/// <param name="NameExpression">For instance "rms_norm&lt;bf16, 256&gt;".</param>
/// <param name="Options">Compiler options beyond the library's own (<c>--std=c++17 --fmad=false</c> and the architecture), in order.</param>
public sealed record KernelSpec(KernelSource Source, string NameExpression, IReadOnlyList<string> Options)
{
    /// <summary>A kernel with the library's own options.</summary>
    public KernelSpec(KernelSource source, string nameExpression) : this(source, nameExpression, [])
    {
    }

    /// <summary>An architecture that this kernel needs in place of the device's own, for instance "sm_90a"; null for the device's own.</summary>
    public string? Architecture { get; init; }
}
