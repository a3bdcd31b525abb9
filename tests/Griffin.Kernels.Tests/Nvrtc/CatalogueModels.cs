using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>The models whose kernels are compiled: the released sizes, the shipped model, and the golden one with its awkward sizes.</summary>
internal static class CatalogueModels
{
    private static readonly ModelDimensions[] models =
    [
        new() { Width = 2560, RnnWidth = 2560, Heads = 10, HeadDim = 256, GateBlocks = 10, MlpWidth = 7680, Vocabulary = 256000, Window = 2048, ConvTaps = 4 },
        new() { Width = 4096, RnnWidth = 4096, Heads = 16, HeadDim = 256, GateBlocks = 16, MlpWidth = 12288, Vocabulary = 256000, Window = 2048, ConvTaps = 4 },
        new() { Width = 192, RnnWidth = 192, Heads = 3, HeadDim = 64, GateBlocks = 3, MlpWidth = 576, Vocabulary = 384, Window = 128, ConvTaps = 4 },
        new() { Width = 24, RnnWidth = 20, Heads = 2, HeadDim = 12, GateBlocks = 2, MlpWidth = 40, Vocabulary = 11, Window = 3, ConvTaps = 4 },
    ];

    /// <summary>Every variant of every op for these models in both storage types; a kernel that several of them share comes once.</summary>
    public static IReadOnlyList<CatalogueEntry> Entries { get; } =
    [
        .. models
            .SelectMany(model => new[] { ElementType.BFloat16, ElementType.Float32 }.SelectMany(type => KernelCatalogue.All(model, type)))
            .DistinctBy(entry => (entry.Spec.Source.Name, entry.Spec.NameExpression, string.Join(' ', entry.Spec.Options), entry.Spec.Architecture))
            .OrderBy(entry => entry.Spec.Source.Name, StringComparer.Ordinal)
            .ThenBy(entry => entry.Spec.NameExpression, StringComparer.Ordinal),
    ];
}
