using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Every op that a model needs, for one storage type: made together, so that their kernels compile in parallel. Under
/// <see cref="GriffinModelOptions.BatchInvariant"/> each is the variant whose results do not depend on the call's size.
/// </summary>
internal sealed class ModelKernels : IDisposable
{
    private readonly List<KernelOp> _ops = [];
    private readonly Dictionary<(int N, int K, ElementType Output), MatMul> _products = [];
    private readonly GpuDevice _device;
    private readonly GriffinModelOptions _options;

    public ModelKernels(GpuDevice device, GriffinConfig config, GriffinModelOptions options)
    {
        _device = device;
        _options = options;
        Config = config;
        ElementType type = options.Precision;
        Embedding = Add(new Embedding(device, type, config.Width));
        Norm = Add(new RmsNorm(device, type, config.Width));
        GeluMultiply = Add(new GeluMultiply(device, type, config.MlpWidth));
        if (!options.BatchInvariant) GatedMatMul = Add(new GatedMatMul(device, type, config.MlpWidth, config.Width, useBlas: options.UseBlas));
        SoftCap = Add(new SoftCap(device, config.Vocabulary));
        Sampler = Add(new Sampler(device, config.Vocabulary));
        Advance = Add(new AdvanceRows(device, step: false));
        AdvanceStep = Add(new AdvanceRows(device, step: true));
        GateUp = Product(2 * config.MlpWidth, config.Width, type);
        Down = Product(config.Width, config.MlpWidth, type);
        Head = Product(config.Vocabulary, config.Width, ElementType.Float32);
        if (config.RecurrentLayers > 0) Recurrent = new RecurrentKernels(this, device, options);
        try
        {
            if (config.AttentionLayers > 0) Attention = new AttentionKernels(this, device, options);
            if (UsesFused()) Fused = new FusedKernels(this, device, type);
            if (ChainedKernels.Wanted(device, config, options)) Chained = new ChainedKernels(this, device, options);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public GriffinConfig Config { get; }

    public bool BatchInvariant => _options.BatchInvariant;

    public Embedding Embedding { get; }

    public RmsNorm Norm { get; }

    public GeluMultiply GeluMultiply { get; }

    /// <summary>The gated MLP's first half in one kernel; null under batch invariance, whose kernel may not follow from the number of rows.</summary>
    public GatedMatMul? GatedMatMul { get; }

    public SoftCap SoftCap { get; }

    public Sampler Sampler { get; }

    public AdvanceRows Advance { get; }

    public AdvanceRows AdvanceStep { get; }

    public MatMul GateUp { get; }

    public MatMul Down { get; }

    /// <summary>The head: its product is float32.</summary>
    public MatMul Head { get; }

    /// <summary>Null in a model without recurrent layers.</summary>
    public RecurrentKernels? Recurrent { get; }

    /// <summary>Null in a model without attention layers.</summary>
    public AttentionKernels? Attention { get; }

    /// <summary>Null where steps take the same kernels as longer calls.</summary>
    public FusedKernels? Fused { get; }

    /// <summary>Null where residual adds and norms are kernels of their own whatever the call.</summary>
    public ChainedKernels? Chained { get; }

    /// <summary>Waits until everything is compiled.</summary>
    /// <exception cref="KernelCompilationException">A kernel did not compile.</exception>
    public async Task WaitAsync(IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        int done = 0;
        await foreach (Task compiled in Task.WhenEach(_ops.Select(op => op.WhenCompiled)).WithCancellation(cancellationToken))
        {
            await compiled;
            progress?.Report(new ModelProgress("kernels", ++done, _ops.Count));
        }
    }

    public void Dispose() => Attention?.Dispose();

    /// <summary>Keeps an op, so that loading waits for its kernels.</summary>
    public T Add<T>(T op) where T : KernelOp
    {
        _ops.Add(op);
        return op;
    }

    /// <summary>The product y [M, n] = x [M, k] · w [n, k]ᵀ, stored in a type of its own; one op for equal shapes.</summary>
    public MatMul Product(int n, int k, ElementType output)
    {
        if (!_products.TryGetValue((n, k, output), out MatMul? product))
            _products[(n, k, output)] = product = Add(new MatMul(_device, _options.Precision, n, k, output, _options.BatchInvariant, _options.UseBlas));
        return product;
    }

    private bool UsesFused() => _options.FusedDecode switch
    {
        FusedDecode.Auto => !BatchInvariant && FusedKernels.Preferred(_device, Config),
        FusedDecode.On when BatchInvariant => throw new ArgumentException("Fused decode sums in an order of its own: it cannot be on together with BatchInvariant."),
        var choice => choice == FusedDecode.On,
    };
}

/// <summary>The ops of recurrent blocks.</summary>
internal sealed class RecurrentKernels
{
    public RecurrentKernels(ModelKernels kernels, GpuDevice device, GriffinModelOptions options)
    {
        GriffinConfig config = kernels.Config;
        ElementType type = options.Precision;
        Xy = kernels.Product(2 * config.RnnWidth, config.Width, type);
        Out = kernels.Product(config.Width, config.RnnWidth, type);
        Conv = kernels.Add(new Conv1D(device, type, config.RnnWidth, config.ConvTaps));
        ConvStep = kernels.Add(new Conv1DStep(device, type, config.RnnWidth, config.ConvTaps));
        Gates = kernels.Add(new BlockDiagonalGates(device, type, config.RnnWidth, config.GateBlocks, options.BatchInvariant));
        ConvGates = kernels.Add(new ConvGates(Conv, Gates));
        Scan = kernels.Add(new RgLru(device, type, config.RnnWidth, options.BatchInvariant ? "sequential" : null));
        // In one kernel the scan cuts time where a call happens to begin.
        Mixer = kernels.Add(new RecurrentMixer(ConvGates, Scan, options.BatchInvariant ? RecurrentMixer.Separate : null));
        ScanStep = kernels.Add(new RgLruStep(device, type, config.RnnWidth));
    }

    public MatMul Xy { get; }

    public MatMul Out { get; }

    public Conv1D Conv { get; }

    public Conv1DStep ConvStep { get; }

    public BlockDiagonalGates Gates { get; }

    /// <summary>The convolution and the gates of several tokens.</summary>
    public ConvGates ConvGates { get; }

    public RgLru Scan { get; }

    /// <summary>Convolution, gates and scan of several tokens, where z and the gates need not last.</summary>
    public RecurrentMixer Mixer { get; }

    public RgLruStep ScanStep { get; }
}

/// <summary>The ops of attention blocks, and the table they share.</summary>
internal sealed class AttentionKernels : IDisposable
{
    private readonly DeviceBuffer<ulong> _phases;

    public AttentionKernels(ModelKernels kernels, GpuDevice device, GriffinModelOptions options)
    {
        GriffinConfig config = kernels.Config;
        ElementType type = options.Precision;
        int attended = config.Heads * config.HeadDim;
        Qkv = kernels.Product(attended + 2 * config.HeadDim, config.Width, type);
        Out = kernels.Product(config.Width, attended, type);
        Rotary = kernels.Add(new RotaryEmbedding(device, type, config.Heads, config.HeadDim, config.RotatedDim));
        RotaryStep = kernels.Add(new RotaryStep(device, type, config.Heads, config.HeadDim, config.RotatedDim));
        Prefill = kernels.Add(new WindowAttention(device, type, config.Heads, config.HeadDim, batchInvariant: options.BatchInvariant));
        Decode = kernels.Add(new DecodeAttention(device, type, config.Heads, config.HeadDim));
        Append = kernels.Add(new RingAppend(device, type, config.Heads, config.HeadDim));
        _phases = device.Upload<ulong>(RotaryPhases.Compute(config.RotatedDim, config.RopeTheta));
    }

    public MatMul Qkv { get; }

    public MatMul Out { get; }

    public RotaryEmbedding Rotary { get; }

    public RotaryStep RotaryStep { get; }

    public WindowAttention Prefill { get; }

    public DecodeAttention Decode { get; }

    public RingAppend Append { get; }

    /// <summary>Turns per position of each rotary frequency, in 64-bit fractions, [rotated / 2].</summary>
    public TensorView Phases => _phases.View();

    public void Dispose() => _phases.Dispose();
}
