using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>What a layer's forward pass leaves for the way back.</summary>
/// <param name="Normed">Norm before the temporal block, [tokens, d].</param>
/// <param name="Recurrent">The temporal block's intermediate results, in a recurrent layer.</param>
/// <param name="Attention">The same in an attention layer.</param>
/// <param name="Middle">Residual stream between the blocks, [tokens, d].</param>
/// <param name="MiddleNormed">Norm before the MLP, [tokens, d].</param>
/// <param name="Mlp">The MLP's intermediate results.</param>
internal readonly record struct LayerTape(
    TensorView Normed, RecurrentBuffers Recurrent, AttentionBuffers Attention, TensorView Middle, TensorView MiddleNormed, MlpBuffers Mlp);

/// <summary>
/// The activations and activation gradients of a micro-batch, planned once. Every layer has a tape of its own; with recomputation all share
/// one, only the residual stream between layers is kept, and the way back runs each layer's forward pass again.
/// </summary>
internal sealed class TrainingBuffers : IDisposable
{
    private readonly TrainingPlan _plan;
    private readonly DeviceMemory _memory;

    public TrainingBuffers(GpuDevice device, TrainingPlan plan)
    {
        _plan = plan;
        _memory = device.AllocateBytes(plan.Bytes);
        Tapes = [.. plan.Tapes.Select(tape => tape.In(_memory))];
        Residuals = [.. plan.Residuals.Select(All)];
        FinalNormed = All(plan.FinalNormed);
        Delta = All(plan.Delta);
        ResidualGradient = All(plan.ResidualGradient);
        HiddenGradient = All(plan.HiddenGradient);
        MixedGradient = All(plan.MixedGradient);
        XyGradient = All(plan.XyGradient);
        ConvolvedGradient = All(plan.ConvolvedGradient);
        GatesGradient = All(plan.GatesGradient);
        AttendedGradient = All(plan.AttendedGradient);
        QkvGradient = All(plan.QkvGradient);
        Workspace = All(plan.Workspace);
    }

    public DeviceMemory Memory => _memory;

    /// <summary>Rows of logits held at once.</summary>
    public int LogitsRows => _plan.LogitsRows;

    /// <summary>By layer.</summary>
    public LayerTape[] Tapes { get; }

    /// <summary>The residual stream before each layer and after the last, [tokens, d].</summary>
    public TensorView[] Residuals { get; }

    public TensorView FinalNormed { get; }

    /// <summary>What a block adds to the residual stream; on the way back, the gradient of a norm's result, [tokens, d].</summary>
    public TensorView Delta { get; }

    /// <summary>Gradient of the residual stream, [tokens, d].</summary>
    public TensorView ResidualGradient { get; }

    /// <summary>[tokens, D].</summary>
    public TensorView HiddenGradient { get; }

    /// <summary>[tokens, l].</summary>
    public TensorView MixedGradient { get; }

    /// <summary>[tokens, 2l].</summary>
    public TensorView XyGradient { get; }

    /// <summary>[tokens, l].</summary>
    public TensorView ConvolvedGradient { get; }

    /// <summary>[tokens, 2l].</summary>
    public TensorView GatesGradient { get; }

    /// <summary>[tokens, H·hd].</summary>
    public TensorView AttendedGradient { get; }

    /// <summary>[tokens, (H + 2)·hd].</summary>
    public TensorView QkvGradient { get; }

    /// <summary>Scratch of any op of the way back.</summary>
    public TensorView Workspace { get; }

    /// <summary>Float32 [rows, V].</summary>
    public TensorView Logits(long rows) => _plan.Logits.In(_memory, rows);

    /// <summary>[rows, V].</summary>
    public TensorView LogitsGradient(long rows) => _plan.LogitsGradient.In(_memory, rows);

    public void Dispose() => _memory.Dispose();

    private TensorView All(WorkspacePart part) => part.In(_memory, part.Rows);
}
