using System.Runtime.InteropServices;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>AdamW over the whole arena, clipped by the gradient's norm, which never leaves the device on the way to the update.</summary>
internal sealed class Optimizer : IDisposable
{
    private readonly OwnedResources _owned = new();
    private readonly BackwardKernels _kernels;
    private readonly TrainingWeights _weights;
    private readonly DeviceBuffer<float> _settings;
    private readonly DeviceBuffer<float> _norm;
    private readonly DeviceMemory _workspace;
    private readonly StagingBuffer _staging;
    private readonly PinnedBuffer<float> _hostNorm;

    public Optimizer(GpuDevice device, BackwardKernels kernels, TrainingWeights weights)
    {
        (_kernels, _weights) = (kernels, weights);
        try
        {
            _settings = _owned.Add(device.Allocate<float>(AdamW.Settings));
            _norm = _owned.Add(device.Allocate<float>(1));
            _workspace = _owned.Add(device.AllocateBytes(GradientNorm.WorkspaceBytes(weights.Gradients.Layout.Elements)));
            _staging = _owned.Add(new StagingBuffer(device, AdamW.Settings * sizeof(float)));
            _hostNorm = _owned.Add(device.AllocatePinned<float>(1));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Norm of the last step's gradient, once the stream has been synchronised.</summary>
    public float LastNorm => _hostNorm.Span[0];

    /// <summary>Device bytes for an arena of so many elements.</summary>
    public static long BytesFor(long elements) => GradientNorm.WorkspaceBytes(elements) + (AdamW.Settings + 1) * sizeof(float);

    /// <summary>Queues one update. A gradient that is not finite leaves weights and moments as they are.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="settings">The step's settings.</param>
    /// <param name="step">The step's number, from 1.</param>
    public void Step(GpuStream stream, AdamWSettings settings, long step)
    {
        Span<byte> bytes = _staging.Take(AdamW.Settings * sizeof(float));
        settings.WriteTo(step, MemoryMarshal.Cast<byte, float>(bytes));
        _staging.Send(stream, _settings.Memory, 0, bytes.Length);
        TensorView workspace = TensorView.Of(_workspace, 0, ElementType.Float32, 1, _workspace.Bytes / sizeof(float));
        _kernels.GradientNorm.Run(stream, _weights.Gradients.Flat, _norm.View(), workspace);
        _kernels.AdamW.Run(stream, _weights.Weights.Flat, _weights.Master.Flat, _weights.Gradients.Flat, _weights.FirstMoment.Flat, _weights.SecondMoment.Flat,
            _weights.Decayed, _norm.View(), _settings.View());
        stream.CopyToHost(_norm.Memory, 0, _hostNorm, 0, 1);
    }

    public void Dispose() => _owned.Dispose();
}
