using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>The kernels of both directions, and the plan of the memory that they work in.</summary>
internal sealed class TrainingKernels : IDisposable
{
    private readonly GpuDevice _device;
    private readonly TrainingOptions _options;

    public TrainingKernels(GpuDevice device, GriffinConfig config, TrainingOptions options)
    {
        (_device, _options) = (device, options);
        Forward = new ModelKernels(device, config, new GriffinModelOptions { Precision = options.Precision });
        Backward = new BackwardKernels(device, config, options.Precision);
        int logitsRows = options.LogitsRows(config.Vocabulary);
        Plan = new TrainingPlan(config, options.Precision, options.Tokens, options.Recompute, logitsRows,
            Forward.Recurrent?.Scan.WorkspaceBytes(options.Tokens, options.Rows) ?? 0, Backward.WorkspaceBytes(options.Tokens, options.Rows, logitsRows));
    }

    public ModelKernels Forward { get; }

    public BackwardKernels Backward { get; }

    public TrainingPlan Plan { get; }

    /// <summary>Device bytes that a <see cref="TrainingSession"/> will take.</summary>
    public MemoryBudget Budget
    {
        get
        {
            GriffinConfig config = Forward.Config;
            (long weights, long gradients, long optimizer) = TrainingWeights.BytesFor(config, _options.Precision);
            long elements = gradients / sizeof(float);
            long phases = config.AttentionLayers > 0 ? (long)config.RotatedDim / 2 * sizeof(ulong) : 0;
            long other = MicroBatchInputs.BytesFor(_options.Rows, _options.Length) + (long)_options.Tokens * sizeof(float) + phases + Optimizer.BytesFor(elements)
                + GpuBlas.WorkspaceBytesFor(_device);
            return new MemoryBudget(weights, gradients, optimizer, Plan.Bytes, other);
        }
    }

    /// <summary>Waits for all kernels.</summary>
    public async Task WaitAsync(IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        await Forward.WaitAsync(progress, cancellationToken);
        await Backward.WaitAsync().WaitAsync(cancellationToken);
    }

    public void Dispose() => Forward.Dispose();
}
