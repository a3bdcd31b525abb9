using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Selective copying (the paper: length 1024, 16 data tokens, window 512, 5 layers of width 64).</summary>
public sealed class SelectiveCopyingExperiment : TaskExperiment
{
    internal SelectiveCopyingExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "selective-copying";

    /// <inheritdoc/>
    public override string Title => "Selective copying";

    /// <inheritdoc/>
    public override string Summary => "Data tokens scattered at random places in noise are to be given out in their order at the sequence's end.";

    private protected override string SizeName => "tokens";

    private protected override TaskScale Sizes(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(Size: 16, Window: 8, Width: 16, Layers: 3, Rows: 4, Steps: 4, LearningRate: 3e-3, Sequences: 10, Asked: [16]),
        ExperimentScale.Small => new(Size: 64, Window: 32, Width: 32, Layers: 3, Rows: 32, Steps: 4500, LearningRate: 3e-3, Sequences: 1000, Asked: [64]),
        _ => new(Size: 1024, Window: 512, Width: 64, Layers: 5, Rows: 64, Steps: 100_000, LearningRate: 1e-3, Sequences: 1000, Asked: [1024]),
    };

    private protected override string Describe(ExperimentScale scale) =>
        $"selective copying: vocabulary 16, {DataTokens(scale)} data tokens, all of which must be right in a solved sequence (the paper: 16 in sequences of 1,024)";

    private protected override IBatchSource Task(ExperimentScale scale, int size, TaskSettings settings) => new SelectiveCopying(settings, Vocabulary, DataTokens(scale));

    private static int DataTokens(ExperimentScale scale) => scale == ExperimentScale.Full ? 16 : 4;
}
