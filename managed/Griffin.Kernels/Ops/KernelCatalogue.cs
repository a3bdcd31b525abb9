using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>The sizes of a model that decide which kernels it needs.</summary>
public sealed record ModelDimensions
{
    /// <summary>Width of the residual stream.</summary>
    public required int Width { get; init; }
    /// <summary>Width of the recurrent blocks.</summary>
    public required int RnnWidth { get; init; }
    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }
    /// <summary>Width of a head.</summary>
    public required int HeadDim { get; init; }
    /// <summary>Blocks of the block-diagonal gates.</summary>
    public required int GateBlocks { get; init; }
    /// <summary>Width of one half of the MLP.</summary>
    public required int MlpWidth { get; init; }
    /// <summary>Size of the vocabulary.</summary>
    public required int Vocabulary { get; init; }
    /// <summary>Attention window in tokens; null when every earlier token is visible.</summary>
    public required int? Window { get; init; }
    /// <summary>Taps of the short convolution.</summary>
    public required int ConvTaps { get; init; }
    /// <summary>Whether any layer is recurrent; if not, the sizes of recurrent layers need not go together.</summary>
    public bool HasRecurrentLayers { get; init; } = true;
    /// <summary>Whether any layer is attention; if not, its sizes need not be what the kernels take.</summary>
    public bool HasAttentionLayers { get; init; } = true;
}

/// <summary>One kernel that an op may ask for.</summary>
/// <param name="Op">Name of the op.</param>
/// <param name="Variant">Name of the variant.</param>
/// <param name="Spec">What the compiler gets.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block, in bytes.</param>
public sealed record CatalogueEntry(string Op, string Variant, KernelSpec Spec, int Threads, int SharedBytes)
{
    /// <summary>The kernel waits by itself for the kernels before it.</summary>
    public bool Waits { get; init; }
}

/// <summary>An op that can list its kernels. Implementing it is all that an op does to be found.</summary>
public interface IKernelCatalogue
{
    /// <summary>Every variant of the op that a GPU could be given for a model.</summary>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Type of stored elements.</param>
    static abstract IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type);
}

/// <summary>Finds every op and its kernels; there is no central list.</summary>
public static class KernelCatalogue
{
    /// <summary>Limits that no variant exceeds, for listing variants without a device.</summary>
    internal static DeviceLimits AmpleLimits { get; } = new()
    {
        MultiprocessorCount = 132,
        WarpSize = 32,
        MaxThreadsPerBlock = 1024,
        MaxThreadsPerMultiprocessor = 2048,
        MaxBlock = new Dim3(1024, 1024, 64),
        MaxGrid = new Dim3(int.MaxValue, 65_535, 65_535),
        SharedBytesPerBlock = 48 * 1024,
        SharedBytesPerBlockOptIn = 227 * 1024,
        SharedBytesPerMultiprocessor = 228 * 1024,
        RegistersPerBlock = 65_536,
        RegistersPerMultiprocessor = 65_536,
        L2CacheBytes = 50 * 1024 * 1024,
        MemoryBytes = 80L * 1024 * 1024 * 1024,
        StreamOrderedMemory = true,
        WarpgroupProducts = true,
        TensorCopies = true,
    };

    /// <summary>Every kernel of every op in this library, in order of op and name expression, each once.</summary>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Type of stored elements.</param>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<CatalogueEntry> All(ModelDimensions model, ElementType type) => In(typeof(KernelCatalogue).Assembly, model, type);

    /// <summary>Every kernel of every op in an assembly, in order of op and name expression, each once.</summary>
    /// <param name="assembly">Where to look.</param>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Type of stored elements.</param>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<CatalogueEntry> In(Assembly assembly, ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(assembly);
        ArgumentNullException.ThrowIfNull(model);
        return
        [
            .. Implementations<Func<ModelDimensions, ElementType, IEnumerable<CatalogueEntry>>>(assembly, typeof(IKernelCatalogue))
                .SelectMany(op => op.Method(model, type))
                .DistinctBy(entry => (entry.Op, entry.Variant, entry.Spec.Source.Name, entry.Spec.NameExpression, entry.Spec.Architecture))
                .OrderBy(entry => entry.Op, StringComparer.Ordinal)
                .ThenBy(entry => entry.Spec.NameExpression, StringComparer.Ordinal),
        ];
    }

    /// <summary>The classes of an assembly that implement an interface, each with the one static method that the interface asks for.</summary>
    /// <typeparam name="TMethod">Type of the method.</typeparam>
    /// <param name="assembly">Where to look.</param>
    /// <param name="contract">The interface.</param>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    internal static IEnumerable<(Type Op, TMethod Method)> Implementations<TMethod>(Assembly assembly, Type contract) where TMethod : Delegate =>
        assembly.GetTypes()
            .Where(op => op is { IsClass: true, IsAbstract: false } && contract.IsAssignableFrom(op))
            .Select(op => (op, op.GetInterfaceMap(contract).TargetMethods[0].CreateDelegate<TMethod>()));
}
