using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Induction heads (the paper: length 256, window 128, 5 layers of width 64), asked also at longer sequences than trained on.</summary>
public sealed class InductionHeadsExperiment : TaskExperiment
{
    internal InductionHeadsExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "induction-heads";

    /// <inheritdoc/>
    public override string Title => "Induction heads";

    /// <inheritdoc/>
    public override string Summary => "One special token among random ones; where it comes again, at the sequence's end, the token that followed its first appearance is wanted.";

    private protected override string SizeName => "tokens";

    private protected override TaskScale Sizes(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(Size: 16, Window: 8, Width: 16, Layers: 3, Rows: 4, Steps: 4, LearningRate: 3e-3, Sequences: 10, Asked: [16, 32]),
        ExperimentScale.Small => new(Size: 64, Window: 32, Width: 32, Layers: 3, Rows: 32, Steps: 3000, LearningRate: 3e-3, Sequences: 1000, Asked: [64, 128, 256, 512]),
        _ => new(Size: 256, Window: 128, Width: 64, Layers: 5, Rows: 64, Steps: 100_000, LearningRate: 1e-3, Sequences: 1000, Asked: [256, 512, 1024, 2048]),
    };

    private protected override string Describe(ExperimentScale scale) => "induction heads: vocabulary 16, one of it special, one recall (the paper: sequences of 256 tokens)";

    private protected override IBatchSource Task(ExperimentScale scale, int size, TaskSettings settings) => new InductionHeads(settings, Vocabulary);
}
