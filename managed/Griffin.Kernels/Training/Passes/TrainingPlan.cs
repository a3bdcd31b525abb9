using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>Where every activation of a micro-batch will lie, before any memory is taken.</summary>
internal sealed class TrainingPlan
{
    private readonly WorkspacePlan _plan = new();
    private readonly GriffinConfig _config;
    private readonly ElementType _type;
    private readonly int _tokens;

    /// <param name="config">The model.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="tokens">Tokens of a micro-batch.</param>
    /// <param name="recompute">Whether the layers share one tape.</param>
    /// <param name="logitsRows">Rows of logits held at once.</param>
    /// <param name="scanBytes">Scratch of the forward scan.</param>
    /// <param name="workspaceBytes">Scratch of the way back.</param>
    public TrainingPlan(GriffinConfig config, ElementType type, int tokens, bool recompute, int logitsRows, long scanBytes, long workspaceBytes)
    {
        (_config, _type, _tokens, LogitsRows) = (config, type, tokens, logitsRows);
        Residuals = [.. Enumerable.Range(0, config.Layers + 1).Select(_ => Matrix(config.Width))];
        FinalNormed = Matrix(config.Width);
        Delta = Matrix(config.Width);
        ResidualGradient = Matrix(config.Width);
        Workspace = _plan.Scratch(workspaceBytes);
        WorkspacePart scan = _plan.Scratch(scanBytes);
        if (recompute)
        {
            TapePlan shared = Tape(config.RecurrentLayers > 0, config.AttentionLayers > 0, scan);
            Tapes = [.. Enumerable.Repeat(shared, config.Layers)];
        }
        else
        {
            Tapes = [.. Enumerable.Range(0, config.Layers).Select(layer => config.KindOf(layer) == LayerKind.Recurrent)
                .Select(recurrent => Tape(recurrent, !recurrent, scan))];
        }

        _plan.BeginPhase(); // gradients within a recurrent block
        MixedGradient = Matrix(config.RnnWidth);
        XyGradient = Matrix(2L * config.RnnWidth);
        ConvolvedGradient = Matrix(config.RnnWidth);
        GatesGradient = Matrix(2L * config.RnnWidth);

        _plan.BeginPhase(); // within an attention block
        AttendedGradient = Matrix((long)config.Heads * config.HeadDim);
        QkvGradient = Matrix((config.Heads + 2L) * config.HeadDim);

        _plan.BeginPhase(); // within the MLP
        HiddenGradient = Matrix(config.MlpWidth);

        _plan.BeginPhase(); // the head
        Logits = _plan.Matrix(ElementType.Float32, logitsRows, config.Vocabulary);
        LogitsGradient = _plan.Matrix(type, logitsRows, config.Vocabulary);
    }

    /// <summary>Bytes to allocate.</summary>
    public long Bytes => _plan.Bytes;

    public int LogitsRows { get; }

    public IReadOnlyList<TapePlan> Tapes { get; }

    public IReadOnlyList<WorkspacePart> Residuals { get; }

    public WorkspacePart FinalNormed { get; }

    public WorkspacePart Delta { get; }

    public WorkspacePart ResidualGradient { get; }

    public WorkspacePart Workspace { get; }

    public WorkspacePart MixedGradient { get; }

    public WorkspacePart XyGradient { get; }

    public WorkspacePart ConvolvedGradient { get; }

    public WorkspacePart GatesGradient { get; }

    public WorkspacePart AttendedGradient { get; }

    public WorkspacePart QkvGradient { get; }

    public WorkspacePart HiddenGradient { get; }

    public WorkspacePart Logits { get; }

    public WorkspacePart LogitsGradient { get; }

    private WorkspacePart Matrix(long columns) => _plan.Matrix(_type, _tokens, columns);

    private TapePlan Tape(bool recurrent, bool attention, WorkspacePart scan)
    {
        WorkspacePart normed = Matrix(_config.Width);
        RecurrentTapePlan? recurrentPart = recurrent
            ? new(Matrix(2L * _config.RnnWidth), Matrix(_config.RnnWidth), Matrix(2L * _config.RnnWidth), Matrix(_config.RnnWidth), Matrix(_config.RnnWidth), scan)
            : null;
        AttentionTapePlan? attentionPart = attention
            ? new(Matrix((_config.Heads + 2L) * _config.HeadDim), Matrix((long)_config.Heads * _config.HeadDim), _plan.Matrix(ElementType.Float32, _tokens, _config.Heads))
            : null;
        return new(normed, recurrentPart, attentionPart, Matrix(_config.Width), Matrix(_config.Width), Matrix(2L * _config.MlpWidth), Matrix(_config.MlpWidth));
    }
}

/// <summary>Where a <see cref="LayerTape"/> will lie.</summary>
internal sealed record TapePlan(
    WorkspacePart Normed, RecurrentTapePlan? Recurrent, AttentionTapePlan? Attention, WorkspacePart Middle, WorkspacePart MiddleNormed, WorkspacePart GateUp, WorkspacePart Hidden)
{
    public LayerTape In(DeviceMemory memory)
    {
        return new(View(Normed), Recurrent is { } recurrent ? RecurrentIn(recurrent) : default, Attention is { } attention ? AttentionIn(attention) : default,
            View(Middle), View(MiddleNormed), new MlpBuffers(View(GateUp), View(Hidden)));

        TensorView View(WorkspacePart part) => part.In(memory, part.Rows);

        RecurrentBuffers RecurrentIn(RecurrentTapePlan plan) =>
            new(View(plan.Xy), View(plan.Convolved), View(plan.Gates), View(plan.Mixed), View(plan.Scratch)) { Hidden = View(plan.Hidden) };

        AttentionBuffers AttentionIn(AttentionTapePlan plan) =>
            new(View(plan.Qkv), View(plan.Attended), TensorView.Empty, TensorView.Empty) { LogSumExp = View(plan.LogSumExp) };
    }
}

/// <summary>Where <see cref="RecurrentBuffers"/> will lie.</summary>
internal sealed record RecurrentTapePlan(WorkspacePart Xy, WorkspacePart Convolved, WorkspacePart Gates, WorkspacePart Mixed, WorkspacePart Hidden, WorkspacePart Scratch);

/// <summary>Where <see cref="AttentionBuffers"/> will lie.</summary>
internal sealed record AttentionTapePlan(WorkspacePart Qkv, WorkspacePart Attended, WorkspacePart LogSumExp);
