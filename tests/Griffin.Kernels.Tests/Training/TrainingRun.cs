using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Passes;

namespace Griffin.Kernels.Tests.Training;

/// <summary>The device side of a training run on a small model, and what tests ask of it.</summary>
internal sealed class TrainingRun : IDisposable
{
    private readonly PinnedBuffer<float> _losses;

    public TrainingRun(GpuDevice device, ICheckpointSource source, ElementType precision, int rows, int length, bool recompute = false, long logitsBytes = 1 << 20)
    {
        Session = new TrainingSession(device, source, new TrainingOptions(precision, rows, length, recompute) { LogitsBytes = logitsBytes });
        _losses = device.AllocatePinned<float>(rows * length);
        Session.ClearGradients();
    }

    public TrainingSession Session { get; }

    /// <summary>A model written by <paramref name="write"/> into a folder that is gone when this returns.</summary>
    public static TrainingRun FromFolder(GpuDevice device, Action<string> write, ElementType precision, int rows, int length, bool recompute = false, long logitsBytes = 1 << 20)
    {
        using var folder = new TempFolder();
        write(folder.Path);
        using var reader = CheckpointReader.Open(folder.Path);
        return new TrainingRun(device, reader, precision, rows, length, recompute, logitsBytes);
    }

    /// <summary>Adds a micro-batch's gradients and returns the losses of its tokens.</summary>
    public float[] Accumulate(MicroBatch batch, double scale)
    {
        Session.Accumulate(batch, (float)scale, _losses, 0);
        Session.Synchronize();
        return _losses.Span.ToArray();
    }

    /// <summary>The losses of a micro-batch's tokens.</summary>
    public float[] Score(MicroBatch batch)
    {
        Session.Score(batch, _losses, 0);
        Session.Synchronize();
        return _losses.Span.ToArray();
    }

    /// <summary>Gradients by Hugging Face name.</summary>
    public Dictionary<string, float[]> Gradients() => Session.Weights.Gradients.Layout.Names.ToDictionary(
        name => CheckpointLayout.HuggingFace.Locate(Session.Config, name).Tensor, name => TrainingSession.Read(Session.Weights.Gradients, name));

    public void Dispose()
    {
        _losses.Dispose();
        Session.Dispose();
    }
}
