using Griffin.Kernels.Training.Tasks;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Phonebook lookup, trained on generated books and asked in shorter and longer ones (the paper: 7B language models, not trained for it).</summary>
public sealed class PhonebookExperiment : TaskExperiment
{
    internal PhonebookExperiment()
    {
    }

    /// <inheritdoc/>
    public override string Name => "phonebook";

    /// <inheritdoc/>
    public override string Title => "Phonebook lookup";

    /// <inheritdoc/>
    public override string Summary => "A book of names and numbers, two of its entries again as examples, then a name whose number is wanted.";

    private protected override string SizeName => "entries";

    private protected override int Vocabulary => 384;

    private protected override TaskScale Sizes(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => new(Size: 3, Window: 32, Width: 16, Layers: 3, Rows: 2, Steps: 3, LearningRate: 3e-3, Sequences: 4, Asked: [3, 4]),
        ExperimentScale.Small => new(Size: 3, Window: 64, Width: 48, Layers: 3, Rows: 16, Steps: 4000, LearningRate: 3e-3, Sequences: 200, Asked: [3, 4, 6]),
        _ => new(Size: 70, Window: 1024, Width: 1024, Layers: 12, Rows: 32, Steps: 50_000, LearningRate: 5e-4, Sequences: 500, Asked: [9, 18, 35, 70, 140]),
    };

    private protected override string Describe(ExperimentScale scale) =>
        "phonebook lookup over bytes: a book, two of its entries as examples, a name asked; all 8 bytes of the number must be right (the paper asks 7B language models that were not trained on books)";

    private protected override int Length(int size) => Phonebook.LengthFor(size);

    private protected override IBatchSource Task(ExperimentScale scale, int size, TaskSettings settings) => new Phonebook(settings, size, Vocabulary);
}
