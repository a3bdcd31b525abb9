using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Soft-capped softmax cross-entropy of float32 logits, and its gradient: y = cap · tanh(x / cap), nll = ln Σ exp(y) - y[target],
/// dlogits = scale · (softmax(y) - onehot) · (1 - (y / cap)²). Rows are independent, so a batch may be done in chunks of them.
/// </summary>
public sealed class CrossEntropy : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int UsualThreads = 256;
    private const int WideThreads = 512;
    private const int Wide = 32_768;   // columns from which a row is worth the larger block
    private const int Columns = 4;     // of a 16-byte access to the logits, whatever the gradient's type

    // A thread of the emulator goes through a whole row faster than a block's threads meet.
    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("cross_entropy.cu"),
        new KernelVariant<int>("serial", q => Plan(q, 1, 1)) { Fits = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<int>("vector", q => Plan(q, Columns, Threads(q))) { Fits = q => q.Shape % Columns == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1, Threads(q))));

    private readonly PlannedKernel<CrossEntropyParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the gradient.</param>
    /// <param name="vocabulary">Columns of a row of logits.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public CrossEntropy(GpuDevice device, ElementType type, int vocabulary, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabulary);
        Vocabulary = vocabulary;
        _kernel = Request<int, CrossEntropyParams>(variants, vocabulary, variant);
    }

    /// <summary>Columns of a row of logits.</summary>
    public int Vocabulary { get; }

    /// <summary>Queues the loss of every row, and the gradient where it is asked for.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="logits">Float32 [n, vocabulary], not capped.</param>
    /// <param name="targets">Int32 [n]; below 0 the row is not scored and its logits are not read.</param>
    /// <param name="cap">Bound of the soft-cap; 0 for none.</param>
    /// <param name="scale">Float32 [1] in device memory: what the gradient is multiplied by; may be empty without a gradient.</param>
    /// <param name="nll">Float32 [n]: gets the loss of each row in nats, 0 where it is not scored, NaN where a logit is NaN or the target is no column.</param>
    /// <param name="dlogits">
    /// [n, vocabulary]: gets the gradient, zeros where a row is not scored; may be exactly <paramref name="logits"/> in float32, or empty for no gradient.
    /// </param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap in part, or the cap is negative or not finite.</exception>
    public void Run(GpuStream stream, in TensorView logits, in TensorView targets, float cap, in TensorView scale, in TensorView nll, in TensorView dlogits)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!(cap >= 0) || !float.IsFinite(cap)) throw new ArgumentOutOfRangeException(nameof(cap), cap, "The cap must be finite, and 0 for none.");
        int rows = Check.Matrix(logits, ElementType.Float32, Vocabulary);
        Check.Vector(targets, ElementType.Int32, rows);
        Check.Vector(nll, ElementType.Float32, rows);
        Check.Aligned(logits, _kernel.Plan.Vector);
        Check.Distinct(nll, logits);
        if (!dlogits.IsEmpty)
        {
            Check.Vector(scale, ElementType.Float32, 1);
            Check.Matrix(dlogits, Type, rows, Vocabulary);
            Check.Aligned(dlogits, _kernel.Plan.Vector);
            if (Type == ElementType.Float32) Check.SameOrDistinct(dlogits, logits);
            else Check.Distinct(dlogits, logits);
            Check.Distinct(dlogits, nll);
        }
        if (rows == 0) return;
        CrossEntropyParams parameters = new()
        {
            Logits = logits.Address,
            Targets = targets.Address,
            Scale = scale.Address,
            Nll = nll.Address,
            Dlogits = dlogits.Address,
            LogitsStride = logits.RowStride,
            DlogitsStride = dlogits.RowStride,
            Width = Vocabulary,
            Cap = cap,
        };
        _kernel.Launch(stream, rows, parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(CrossEntropy), model.Vocabulary, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = 5, vocabulary = SelfTestBench.Vocabulary;
        TensorView dlogits = bench.Output(rows, vocabulary);
        new CrossEntropy(bench.Device, bench.Type, vocabulary, bench.Variant).Run(bench.Stream, bench.Float32Input(rows, vocabulary, 40), bench.Integers(3, -1, 47, 0, 20), 30,
            bench.Float32Input(1, 1, 1), bench.Output(ElementType.Float32, 1, rows), dlogits);
        return dlogits;
    }

    private static int Threads(in VariantQuery<int> query) => query.Shape < Wide ? UsualThreads : WideThreads;

    private static KernelPlan Plan(in VariantQuery<int> query, int vector, int threads) =>
        new($"cross_entropy<{query.T}, {vector}, {threads}>", threads) { Vector = vector };
}

/// <summary>Mirror of CrossEntropyParams in cross_entropy.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CrossEntropyParams
{
    public ulong Logits;
    public ulong Targets;
    public ulong Scale;
    public ulong Nll;
    public ulong Dlogits;
    public long LogitsStride;
    public long DlogitsStride;
    public int Width;
    public float Cap;
}
