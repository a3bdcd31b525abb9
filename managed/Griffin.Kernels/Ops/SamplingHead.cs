using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The head of a decode step that draws: norm, product, soft-cap, repetition penalty and the choice of the token, with no logits in memory. It is
/// <see cref="NormProduct"/> and <see cref="Sampler"/>, and chooses the token that these choose, for settings that do not restrict the draw
/// (<see cref="SamplerSettings.RestrictsDraws"/>): top-k, top-p and min-p in a slot are not looked at.
/// </summary>
public sealed class SamplingHead : SkinnyProduct, IKernelCatalogue, ISelfTested
{
    private const int MergeThreads = 256;

    private static readonly VariantTable<SkinnyShape> variants = Variants("sampling_head");

    private static readonly VariantTable<SkinnyShape> mergeVariants = new(KernelSource.BuiltIn("sampling_head.cu"),
        new KernelVariant<SkinnyShape>("merge", _ => new KernelPlan($"sampling_merge<{MergeThreads}>", MergeThreads) { Waits = true }));

    private readonly PlannedKernel<SamplingHeadParams>[] _kernels;
    private readonly PlannedKernel<SamplingMergeParams> _merge;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of input, scale and weight.</param>
    /// <param name="vocabulary">Tokens, rows of the weight.</param>
    /// <param name="inner">K: columns of the input and of the weight.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public SamplingHead(GpuDevice device, ElementType type, int vocabulary, int inner, string? variant = null) : base(device, type, inner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabulary);
        Vocabulary = vocabulary;
        _kernels = Request<SamplingHeadParams>(variants, variant);
        _merge = Request<SkinnyShape, SamplingMergeParams>(mergeVariants, new(inner, int.MaxValue));
    }

    /// <summary>Tokens.</summary>
    public int Vocabulary { get; }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(_kernels, rows).Variant;

    /// <summary>Tiles of the vocabulary in a call of so many rows: the columns of its workspace.</summary>
    public int TilesFor(int rows) => Tiling.Count(Vocabulary, KernelFor(_kernels, rows).Plan.TileColumns);

    /// <summary>Queues one choice per row.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="input">Rows [B, K] to norm.</param>
    /// <param name="w">[vocabulary, K].</param>
    /// <param name="cap">The soft-cap of the logits; 0 for none.</param>
    /// <param name="positions">Int32 [B], of the token that the rows stand for; -1 for a row without a choice.</param>
    /// <param name="slots">Int32 [B], distinct.</param>
    /// <param name="states">The sampler slots: temperature, penalty, seed and counts are read.</param>
    /// <param name="tokens">Int32 [B], written: the chosen tokens, -1 where there was no choice.</param>
    /// <param name="best">Workspace, UInt64 [B, <see cref="TilesFor"/>].</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or the cap is negative or not finite.</exception>
    public void Run(
        GpuStream stream, in NormedInput input, in TensorView w, float cap, in TensorView positions, in TensorView slots, in LayerState states,
        in TensorView tokens, in TensorView best)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!(cap >= 0) || !float.IsFinite(cap)) throw new ArgumentOutOfRangeException(nameof(cap), cap, "The cap must be finite, and positive or 0.");
        PlannedKernel<SamplingHeadParams> kernel = KernelFor(_kernels, input.X.Rows);
        SkinnyProductParams product = Product(kernel.Plan, input.X, w, Vocabulary);
        int rows = product.Rows;
        NormInputParams norm = Norm(kernel.Plan, input);
        Check.Vector(positions, ElementType.Int32, rows);
        Check.Vector(slots, ElementType.Int32, rows);
        Check.Vector(tokens, ElementType.Int32, rows);
        Check.State(states, Sampler.StateBytes(Vocabulary));
        Check.AdjacentRows(best, ElementType.UInt64, rows, TilesFor(rows));
        if (rows == 0) return;
        SamplingHeadParams parameters = new()
        {
            Product = product,
            Norm = norm,
            Positions = positions.Address,
            Slots = slots.Address,
            Best = best.Address,
            States = states.Params,
            Vocabulary = Vocabulary,
            Cap = cap,
        };
        Launch(stream, kernel, rows, Vocabulary, kernel.Plan.TileColumns, parameters);
        SamplingMergeParams merge = new() { Best = best.Address, Positions = positions.Address, Tokens = tokens.Address, Tiles = TilesFor(rows) };
        _merge.Launch(stream, (long)rows, merge);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        SkinnyShape shape = new(model.Width, int.MaxValue);
        return variants.Enumerate(nameof(SamplingHead), shape, type).Concat(mergeVariants.Enumerate(nameof(SamplingHead), shape, type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, vocabulary = SelfTestBench.Vocabulary, inner = SelfTestBench.Width;
        int stateBytes = (int)Sampler.StateBytes(vocabulary);
        byte[] slots = new byte[rows * stateBytes];
        new SamplerSettings { Temperature = 0.8f, Seed = 7 }.WriteTo(slots);
        SamplerSettings.Greedy.WriteTo(slots.AsSpan(stateBytes));
        TensorView states = bench.Integers(MemoryMarshal.Cast<byte, int>(slots));
        TensorView tokens = bench.Output(ElementType.Int32, 1, rows);
        SamplingHead op = new(bench.Device, bench.Type, vocabulary, inner, bench.Variant);
        op.Run(
            bench.Stream, bench.Normed(rows, inner), bench.Input(vocabulary, inner, 0.0625f), 30, bench.Integers(5, 9), bench.Integers(0, 1),
            new LayerState(states.Owner, states.Address, stateBytes), tokens, bench.Output(ElementType.UInt64, rows, op.TilesFor(rows)));
        return tokens;
    }
}

/// <summary>Mirror of SamplingHeadParams in sampling_head.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplingHeadParams
{
    public SkinnyProductParams Product;
    public NormInputParams Norm;
    public ulong Positions;
    public ulong Slots;
    public ulong Best;
    public SlotMemoryParams States;
    public int Vocabulary;
    public float Cap;
}

/// <summary>Mirror of SamplingMergeParams in sampling_head.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplingMergeParams
{
    public ulong Best;
    public ulong Positions;
    public ulong Tokens;
    public int Tiles;
}
