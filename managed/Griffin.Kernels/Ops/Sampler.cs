using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Draws each row's next token from its logits, on the device. Settings and counts of seen tokens lie in the row's sampler slot:
/// <see cref="SamplerSettings.WriteTo"/>, then Int32 counts [vocabulary]; a fresh slot has counts of zero. The draw depends on the logits, the
/// counts, the settings with their seed, and the absolute index of the drawn token: each token left by the restrictions takes part with its
/// logit plus temperature times a Gumbel number of its own, and the largest is drawn.
/// </summary>
public sealed class Sampler : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxVocabulary = 1 << 20;
    private const int NarrowVocabulary = 4096;
    private const int CountThreads = 256;

    private static readonly KernelSource source = KernelSource.BuiltIn("sampler.cu");

    private static readonly VariantTable<int> variants = new(source,
        new KernelVariant<int>("narrow", _ => new KernelPlan("sampler<256>", 256) { Waits = true }) { Preferred = q => q.Shape <= NarrowVocabulary },
        new KernelVariant<int>("wide", _ => new KernelPlan("sampler<512>", 512) { Waits = true }));

    private static readonly VariantTable<int> countVariants = new(source, new KernelVariant<int>("count", _ => new KernelPlan($"sampler_count<{CountThreads}>", CountThreads)));

    private readonly PlannedKernel<SamplerParams> _kernel;
    private readonly PlannedKernel<SamplerCountParams> _count;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="vocabulary">Tokens, at most 2^20.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public Sampler(GpuDevice device, int vocabulary, string? variant = null) : base(device, ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabulary);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(vocabulary, MaxVocabulary);
        Vocabulary = vocabulary;
        _kernel = Request<int, SamplerParams>(variants, vocabulary, variant);
        _count = Request<int, SamplerCountParams>(countVariants, vocabulary);
    }

    /// <summary>Tokens.</summary>
    public int Vocabulary { get; }

    /// <summary>Bytes of a sampler slot: the settings and the counts.</summary>
    /// <param name="vocabulary">Tokens.</param>
    public static long StateBytes(int vocabulary) => SamplerSettings.ByteCount + (long)vocabulary * sizeof(int);

    /// <summary>Queues one draw per row.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="logits">Float32 [B, vocabulary], only read. NaN counts as minus infinity.</param>
    /// <param name="positions">Int32 [B], of the token whose logits these are; -1 for a row without a draw.</param>
    /// <param name="slots">Int32 [B], distinct.</param>
    /// <param name="states">The sampler slots.</param>
    /// <param name="tokens">Int32 [B], written: the drawn tokens, -1 where there was no draw.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong.</exception>
    public void Run(GpuStream stream, in TensorView logits, in TensorView positions, in TensorView slots, in LayerState states, in TensorView tokens)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(logits, ElementType.Float32, Vocabulary);
        Check.Vector(positions, ElementType.Int32, rows);
        Check.Vector(slots, ElementType.Int32, rows);
        Check.Vector(tokens, ElementType.Int32, rows);
        Check.State(states, StateBytes(Vocabulary));
        if (rows == 0) return;
        SamplerParams parameters = new()
        {
            Logits = logits.Address,
            Tokens = tokens.Address,
            Positions = positions.Address,
            Slots = slots.Address,
            States = states.Params,
            LogitsStride = logits.RowStride,
            Vocabulary = Vocabulary,
        };
        _kernel.Launch(stream, (long)rows, parameters);
    }

    /// <summary>
    /// Queues the counting of the tokens that a call or step reads, for the repetition penalty: a row in which a document starts counts from
    /// zero, from its last document on. Padding and tokens outside the vocabulary are left out.
    /// </summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows; their slots are sampler slots here.</param>
    /// <param name="tokens">Int32 [N].</param>
    /// <param name="states">The sampler slots.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong.</exception>
    public void Count(GpuStream stream, in PackedRows rows, in TensorView tokens, in LayerState states)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.Vector(tokens, ElementType.Int32, rows.Tokens);
        Check.State(states, StateBytes(Vocabulary));
        if (rows.Tokens == 0) return;
        SamplerCountParams parameters = new() { Tokens = tokens.Address, Rows = rows.Params, States = states.Params, Vocabulary = Vocabulary };
        _count.Launch(stream, (long)rows.Rows, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(Sampler), model.Vocabulary, ElementType.Float32)
            .Concat(countVariants.Enumerate(nameof(Sampler), model.Vocabulary, ElementType.Float32));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, vocabulary = SelfTestBench.Vocabulary;
        int stateBytes = (int)StateBytes(vocabulary);
        byte[] slots = new byte[rows * stateBytes];
        new SamplerSettings { Temperature = 0.8f, TopK = 20, TopP = 0.9f, Seed = 7 }.WriteTo(slots);
        SamplerSettings.Greedy.WriteTo(slots.AsSpan(stateBytes));
        TensorView states = bench.Integers(MemoryMarshal.Cast<byte, int>(slots));
        TensorView tokens = bench.Output(ElementType.Int32, 1, rows);
        new Sampler(bench.Device, vocabulary, bench.Variant).Run(
            bench.Stream, bench.Float32Input(rows, vocabulary, 4), bench.Integers(5, 9), bench.Integers(0, 1),
            new LayerState(states.Owner, states.Address, stateBytes), tokens);
        return tokens;
    }
}

/// <summary>Mirror of SamplerParams in sampler.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplerParams
{
    public ulong Logits;
    public ulong Tokens;
    public ulong Positions;
    public ulong Slots;
    public SlotMemoryParams States;
    public long LogitsStride;
    public int Vocabulary;
}

/// <summary>Mirror of SamplerCountParams in sampler.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplerCountParams
{
    public ulong Tokens;
    public PackedRowsParams Rows;
    public SlotMemoryParams States;
    public int Vocabulary;
}
