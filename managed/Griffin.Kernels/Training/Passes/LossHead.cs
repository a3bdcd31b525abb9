using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>The head with its loss, and their way back, over some rows of logits at a time: the logits of a whole micro-batch are never held.</summary>
internal sealed class LossHead : IDisposable
{
    private readonly TrainingContext _context;
    private readonly DeviceBuffer<float> _losses;

    public LossHead(GpuDevice device, TrainingContext context, int tokens)
    {
        _context = context;
        _losses = device.Allocate<float>(tokens);
    }

    /// <summary>Negative log likelihood of each token's target in nats, 0 where there is none, [1, tokens].</summary>
    public TensorView Losses => _losses.View();

    public DeviceMemory Memory => _losses.Memory;

    /// <summary>Queues the losses, and with <paramref name="gradients"/> the gradient of the final norm's result and the head's part of the embedding's.</summary>
    public void Run(GpuStream stream, bool gradients)
    {
        TrainingBuffers buffers = _context.Buffers;
        long tokens = _losses.Length;
        for (long first = 0; first < tokens; first += buffers.LogitsRows)
        {
            long rows = Math.Min(buffers.LogitsRows, tokens - first);
            TensorView normed = buffers.FinalNormed.RowRange(first, rows);
            TensorView logits = buffers.Logits(rows);
            TensorView logitsGradient = gradients ? buffers.LogitsGradient(rows) : TensorView.Empty;
            _context.Forward.Head.Run(stream, normed, _context.Embedding, logits);
            _context.Backward.CrossEntropy.Run(stream, logits, _context.Inputs.Targets.ColumnRange(first, rows), _context.Config.LogitsSoftCap, _context.Inputs.Scale,
                Losses.ColumnRange(first, rows), logitsGradient);
            if (gradients)
                _context.Backward.Head.Run(stream, logitsGradient, normed, _context.Embedding, buffers.Delta.RowRange(first, rows), _context.EmbeddingGradient, buffers.Workspace);
        }
    }

    public void Dispose() => _losses.Dispose();
}
