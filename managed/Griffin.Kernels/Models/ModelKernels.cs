using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Every op that a model needs, for one storage type: made together, so that their kernels compile in parallel. Under
/// <see cref="GriffinModelOptions.BatchInvariant"/> each is the variant whose results do not depend on the call's size.
/// </summary>
internal sealed class ModelKernels : IDisposable
{
    private readonly Dictionary<(int N, int K, ElementType Output), MatMul> _products = [];
    private readonly GpuDevice _device;
    private readonly GriffinModelOptions _options;
    private readonly DeviceBuffer<ulong> _phases;

    public ModelKernels(GpuDevice device, GriffinConfig config, GriffinModelOptions options)
    {
        _device = device;
        _options = options;
        Config = config;
        ElementType type = options.Precision;
        Embedding = new Embedding(device, type, config.Width);
        Norm = new RmsNorm(device, type, config.Width);
        GeluMultiply = new GeluMultiply(device, type, config.MlpWidth);
        Conv = new Conv1D(device, type, config.RnnWidth, config.ConvTaps);
        ConvStep = new Conv1DStep(device, type, config.RnnWidth, config.ConvTaps);
        Gates = new BlockDiagonalGates(device, type, config.RnnWidth, config.GateBlocks, options.BatchInvariant);
        Scan = new RgLru(device, type, config.RnnWidth, options.BatchInvariant ? "sequential" : null);
        ScanStep = new RgLruStep(device, type, config.RnnWidth);
        Rotary = new RotaryEmbedding(device, type, config.Heads, config.HeadDim, config.RotatedDim);
        RotaryStep = new RotaryStep(device, type, config.Heads, config.HeadDim, config.RotatedDim);
        Attention = new WindowAttention(device, type, config.Heads, config.HeadDim);
        DecodeAttention = new DecodeAttention(device, type, config.Heads, config.HeadDim);
        Append = new RingAppend(device, type, config.Heads, config.HeadDim);
        SoftCap = new SoftCap(device, config.Vocabulary);
        Sampler = new Sampler(device, config.Vocabulary);
        Advance = new AdvanceRows(device, step: false);
        AdvanceStep = new AdvanceRows(device, step: true);
        _phases = device.Upload<ulong>(RotaryPhases.Compute(config.RotatedDim, config.RopeTheta));
    }

    public GriffinConfig Config { get; }

    public bool BatchInvariant => _options.BatchInvariant;

    public Embedding Embedding { get; }

    public RmsNorm Norm { get; }

    public GeluMultiply GeluMultiply { get; }

    public Conv1D Conv { get; }

    public Conv1DStep ConvStep { get; }

    public BlockDiagonalGates Gates { get; }

    public RgLru Scan { get; }

    public RgLruStep ScanStep { get; }

    public RotaryEmbedding Rotary { get; }

    public RotaryStep RotaryStep { get; }

    public WindowAttention Attention { get; }

    public DecodeAttention DecodeAttention { get; }

    public RingAppend Append { get; }

    public SoftCap SoftCap { get; }

    public Sampler Sampler { get; }

    public AdvanceRows Advance { get; }

    public AdvanceRows AdvanceStep { get; }

    /// <summary>Turns per position of each rotary frequency, in 64-bit fractions, [rotated / 2].</summary>
    public TensorView Phases => _phases.View();

    /// <summary>The product y [M, n] = x [M, k] · w [n, k]ᵀ, stored in the storage type.</summary>
    public MatMul Product(int n, int k) => Product(n, k, _options.Precision);

    /// <summary>The product y [M, n] = x [M, k] · w [n, k]ᵀ, stored in a type of its own: logits are float32.</summary>
    public MatMul Product(int n, int k, ElementType output)
    {
        if (!_products.TryGetValue((n, k, output), out MatMul? product))
            _products[(n, k, output)] = product = new MatMul(_device, _options.Precision, n, k, output, _options.BatchInvariant, _options.UseBlas);
        return product;
    }

    public void Dispose() => _phases.Dispose();
}
