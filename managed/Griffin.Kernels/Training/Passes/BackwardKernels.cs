using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>Every op that the way back through a model needs, and the optimiser's: made together, so that their kernels compile in parallel.</summary>
internal sealed class BackwardKernels
{
    private readonly List<KernelOp> _ops = [];
    private readonly Dictionary<(int N, int K), ProductGradients> _products = [];
    private readonly Dictionary<int, ColumnSum> _sums = [];
    private readonly GpuDevice _device;
    private readonly ElementType _type;

    public BackwardKernels(GpuDevice device, GriffinConfig config, ElementType type)
    {
        (_device, _type) = (device, type);
        Norm = Add(new RmsNormBackward(device, type, config.Width));
        GeluMultiply = Add(new GeluMultiplyBackward(device, type, config.MlpWidth));
        Embedding = Add(new EmbeddingBackward(device, type, config.Width));
        CrossEntropy = Add(new CrossEntropy(device, type, config.Vocabulary));
        GateUp = Product(2 * config.MlpWidth, config.Width);
        Down = Product(config.Width, config.MlpWidth);
        Head = Product(config.Vocabulary, config.Width);
        GateUpBias = Sum(2 * config.MlpWidth);
        WidthBias = Sum(config.Width);
        GradientNorm = Add(new GradientNorm(device));
        AdamW = Add(new AdamW(device, type));
        if (config.RecurrentLayers > 0) Recurrent = new RecurrentBackwardKernels(this, device, config, type);
        if (config.AttentionLayers > 0) Attention = new AttentionBackwardKernels(this, device, config, type);
    }

    public RmsNormBackward Norm { get; }

    public GeluMultiplyBackward GeluMultiply { get; }

    public EmbeddingBackward Embedding { get; }

    public CrossEntropy CrossEntropy { get; }

    public ProductGradients GateUp { get; }

    public ProductGradients Down { get; }

    public ProductGradients Head { get; }

    public ColumnSum GateUpBias { get; }

    /// <summary>Biases of the residual stream's width.</summary>
    public ColumnSum WidthBias { get; }

    public GradientNorm GradientNorm { get; }

    public AdamW AdamW { get; }

    /// <summary>Null when no layer is recurrent.</summary>
    public RecurrentBackwardKernels? Recurrent { get; }

    /// <summary>Null when no layer attends.</summary>
    public AttentionBackwardKernels? Attention { get; }

    /// <summary>Bytes of scratch that any of the ops may ask for, in a pass over so many tokens in so many rows.</summary>
    public long WorkspaceBytes(int tokens, int rows, int logitsRows)
    {
        long bytes = Math.Max(Norm.WorkspaceBytes(tokens), Head.WorkspaceBytes(logitsRows));
        foreach (ColumnSum sum in _sums.Values) bytes = Math.Max(bytes, sum.WorkspaceBytes(tokens));
        foreach (ProductGradients product in _products.Values) bytes = Math.Max(bytes, product.WorkspaceBytes(tokens));
        if (Recurrent is { } recurrent) bytes = Math.Max(bytes, recurrent.WorkspaceBytes(tokens, rows));
        if (Attention is { } attention) bytes = Math.Max(bytes, attention.Attend.WorkspaceBytes(tokens));
        return bytes;
    }

    /// <summary>Waits for the kernels.</summary>
    /// <exception cref="KernelCompilationException">A kernel does not compile.</exception>
    public Task WaitAsync() => Task.WhenAll(_ops.Select(op => op.WhenCompiled));

    /// <summary>Keeps an op, so that it is waited for.</summary>
    public T Add<T>(T op) where T : KernelOp
    {
        _ops.Add(op);
        return op;
    }

    /// <summary>The two gradients of y [M, n] = x [M, k] · w [n, k]ᵀ; one pair for equal shapes.</summary>
    public ProductGradients Product(int n, int k)
    {
        if (!_products.TryGetValue((n, k), out ProductGradients? product))
            _products[(n, k)] = product = new(Add(new MatMulInputGradient(_device, _type, n, k)), Add(new MatMulWeightGradient(_device, _type, n, k)));
        return product;
    }

    /// <summary>The gradient of a bias of so many columns.</summary>
    public ColumnSum Sum(int width)
    {
        if (!_sums.TryGetValue(width, out ColumnSum? sum)) _sums[width] = sum = Add(new ColumnSum(_device, _type, width));
        return sum;
    }
}

/// <summary>The way back through a plain product y = x · wᵀ.</summary>
internal sealed record ProductGradients(MatMulInputGradient Input, MatMulWeightGradient Weight)
{
    public long WorkspaceBytes(int rows) => Weight.WorkspaceBytes(rows);

    /// <summary>dx = dy · w, and dw += dyᵀ · x.</summary>
    public void Run(GpuStream stream, TensorView dy, TensorView x, TensorView w, TensorView dx, TensorView dw, TensorView workspace)
    {
        Weight.Run(stream, dy, x, dw, workspace);
        Input.Run(stream, dy, w, dx);
    }
}

/// <summary>The ops of the way back through recurrent blocks.</summary>
internal sealed class RecurrentBackwardKernels
{
    public RecurrentBackwardKernels(BackwardKernels kernels, GpuDevice device, GriffinConfig config, ElementType type)
    {
        Xy = kernels.Product(2 * config.RnnWidth, config.Width);
        Out = kernels.Product(config.Width, config.RnnWidth);
        Conv = kernels.Add(new Conv1DBackward(device, type, config.RnnWidth, config.ConvTaps));
        Gates = kernels.Add(new BlockDiagonalGatesBackward(device, type, config.RnnWidth, config.GateBlocks));
        Scan = kernels.Add(new RgLruBackward(device, type, config.RnnWidth));
        Bias = kernels.Sum(config.RnnWidth);
    }

    public ProductGradients Xy { get; }

    public ProductGradients Out { get; }

    public Conv1DBackward Conv { get; }

    public BlockDiagonalGatesBackward Gates { get; }

    public RgLruBackward Scan { get; }

    /// <summary>Biases of the recurrence's width.</summary>
    public ColumnSum Bias { get; }

    public long WorkspaceBytes(int tokens, int rows) =>
        Math.Max(Conv.WorkspaceBytes(tokens), Math.Max(Gates.WorkspaceBytes(tokens), Scan.WorkspaceBytes(tokens, rows)));
}

/// <summary>The ops of the way back through attention blocks.</summary>
internal sealed class AttentionBackwardKernels
{
    public AttentionBackwardKernels(BackwardKernels kernels, GpuDevice device, GriffinConfig config, ElementType type)
    {
        int attended = config.Heads * config.HeadDim;
        Qkv = kernels.Product(attended + 2 * config.HeadDim, config.Width);
        Out = kernels.Product(config.Width, attended);
        Attend = kernels.Add(new WindowAttentionBackward(device, type, config.Heads, config.HeadDim));
    }

    public ProductGradients Qkv { get; }

    public ProductGradients Out { get; }

    public WindowAttentionBackward Attend { get; }
}
