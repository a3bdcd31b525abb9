using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>
/// The device side of a training run: weights, activations and kernels, planned once. A micro-batch runs as a captured graph that adds to the
/// gradients; another one only scores. Not thread-safe.
/// </summary>
internal sealed class TrainingSession : IDisposable
{
    private readonly OwnedResources _owned = new();
    private readonly GpuStream _stream;
    private readonly TrainingBuffers _buffers;
    private readonly MicroBatchInputs _inputs;
    private readonly Optimizer _optimizer;
    private readonly ForwardPass _forward;
    private readonly BackwardPass _backward;
    private readonly LossHead _head;
    private readonly TrainingContext _context;
    private GpuGraph? _training;
    private GpuGraph? _scoring;

    public TrainingSession(
        GpuDevice device, ICheckpointSource source, TrainingOptions options, IProgress<ModelProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        Options = options;
        try
        {
            TrainingKernels kernels = _owned.Add(new TrainingKernels(device, source.Config, options));
            Weights = _owned.Add(TrainingWeights.Load(device, source, options.Precision, progress, cancellationToken));
            _stream = _owned.Add(device.CreateStream());
            _ = _stream.Blas; // its workspace is set here, never during a capture
            _buffers = _owned.Add(new TrainingBuffers(device, kernels.Plan));
            _inputs = _owned.Add(new MicroBatchInputs(device, options.Rows, options.Length));
            _optimizer = _owned.Add(new Optimizer(device, kernels.Backward, Weights));
            _context = new TrainingContext(kernels.Forward, kernels.Backward, Weights, _buffers, _inputs);
            _forward = new ForwardPass(_context);
            _backward = new BackwardPass(_context, options.Recompute ? _forward : null);
            _head = _owned.Add(new LossHead(device, _context, options.Tokens));
            kernels.WaitAsync(progress, cancellationToken).GetAwaiter().GetResult();
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    public TrainingOptions Options { get; }

    public TrainingWeights Weights { get; }

    public GriffinConfig Config => _context.Config;

    /// <summary>Norm of the last update's gradient; valid once synchronised.</summary>
    public float GradientNorm => _optimizer.LastNorm;

    /// <summary>Queues setting all gradients to zero.</summary>
    public void ClearGradients() => Weights.Gradients.Clear(_stream);

    /// <summary>Queues the forward and backward pass of a micro-batch, which adds to the gradients; its losses go to the host.</summary>
    /// <param name="batch">The micro-batch; may be reused at once.</param>
    /// <param name="scale">Factor of each scored token's gradient: 1 / (scored tokens of the step).</param>
    /// <param name="losses">Receives each token's loss once synchronised.</param>
    /// <param name="start">Where in <paramref name="losses"/>.</param>
    public void Accumulate(MicroBatch batch, float scale, PinnedBuffer<float> losses, int start) =>
        Run(_training ??= Capture(gradients: true), batch, scale, losses, start);

    /// <summary>Queues the forward pass of a micro-batch; its losses go to the host.</summary>
    public void Score(MicroBatch batch, PinnedBuffer<float> losses, int start) => Run(_scoring ??= Capture(gradients: false), batch, 0, losses, start);

    /// <summary>Queues one update of the weights.</summary>
    public void Update(AdamWSettings settings, long step) => _optimizer.Step(_stream, settings, step);

    /// <summary>Waits for everything queued.</summary>
    public void Synchronize() => _stream.Synchronize();

    /// <summary>A tensor of an arena, float32.</summary>
    public static float[] Read(WeightArena arena, WeightName name)
    {
        float[] values = new float[arena.Layout.ElementsOf(name)];
        arena.Read(name, ElementType.Float32, 0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    public void Dispose()
    {
        _training?.Dispose();
        _scoring?.Dispose();
        _owned.Dispose();
    }

    private void Run(GpuGraph graph, MicroBatch batch, float scale, PinnedBuffer<float> losses, int start)
    {
        _inputs.Send(_stream, batch, scale);
        _stream.Launch(graph);
        _stream.CopyToHost(_head.Memory, 0, losses, start, Options.Tokens);
    }

    private GpuGraph Capture(bool gradients)
    {
        _stream.BeginCapture();
        try
        {
            Call call = _context.Call(_stream);
            _forward.Run(call);
            _head.Run(_stream, gradients);
            if (gradients) _backward.Run(call);
            List<DeviceMemory> uses = [.. Weights.Memory, _buffers.Memory, _inputs.Memory, _head.Memory];
            if (_context.Forward.Attention is { } attention) uses.Add(attention.Phases.Owner);
            return _stream.EndCapture([.. uses]);
        }
        catch
        {
            _stream.AbandonCapture();
            throw;
        }
    }
}
