using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>How a model is held and computed.</summary>
public sealed record GriffinModelOptions
{
    /// <summary>Storage type of weights, activations, keys and values: bfloat16 (default) or float32.</summary>
    public ElementType Precision { get; init; } = ElementType.BFloat16;

    /// <summary>
    /// Makes a token's results independent, to the bit, of how its sequence was cut into calls and of what else is in the batch: one
    /// fixed kernel for everything, chosen by model, element type and device alone. Slower; off by default.
    /// </summary>
    public bool BatchInvariant { get; init; }

    /// <summary>Lets plain products go to cuBLAS where the provider has it (default). Ignored under <see cref="BatchInvariant"/>.</summary>
    public bool UseBlas { get; init; } = true;

    /// <summary>Whether decode steps of up to 64 rows go through the fused kernels; they agree with the others up to the order of float32 sums.</summary>
    public FusedDecode FusedDecode { get; init; }

    /// <summary>Whether longer calls add residuals and norm in the epilogues of the products; within one rounding of the separate kernels.</summary>
    public FusedPrefill FusedPrefill { get; init; }
}

/// <summary>Progress of long work on a model.</summary>
/// <param name="Stage">What is being done: <c>weights</c> (bytes) or <c>kernels</c> (modules).</param>
/// <param name="Done">Units done.</param>
/// <param name="Total">Units in all.</param>
public sealed record ModelProgress(string Stage, long Done, long Total);

/// <summary>Sizes of a session, fixed when it is made.</summary>
public sealed record SessionOptions
{
    /// <summary>Sequences whose state can be held at once.</summary>
    public int Slots { get; init; } = 1;

    /// <summary>Most rows (sequences) of one call or decode step.</summary>
    public int MaxBatch { get; init; } = 1;

    /// <summary>Most tokens that run through the layers at once; longer calls are cut. 0 takes 512.</summary>
    public int ChunkTokens { get; init; }

    /// <summary>Tokens that a layer without a window can hold; more is an error. Models with a window ignore it.</summary>
    public int GlobalCapacity { get; init; } = 8192;

    /// <summary>Whether the kernels of a step begin while the ones before them still run.</summary>
    public DependentLaunch DependentLaunch { get; init; }
}

/// <summary>Which positions' logits a call returns.</summary>
public enum LogitsSelection
{
    /// <summary>None: only the state moves on.</summary>
    None,

    /// <summary>The last token of each row, [rows, vocabulary].</summary>
    Last,

    /// <summary>Every token, [tokens, vocabulary].</summary>
    All,
}
