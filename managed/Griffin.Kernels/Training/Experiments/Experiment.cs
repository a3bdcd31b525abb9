using Griffin.Kernels.Training.Report;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>One of the paper's experiments: what it measures, and how its table and charts look.</summary>
public abstract class Experiment
{
    private protected Experiment()
    {
    }

    /// <summary>Every experiment.</summary>
    public static IReadOnlyList<Experiment> All { get; } =
    [
        new SelectiveCopyingExperiment(), new InductionHeadsExperiment(), new PhonebookExperiment(),
        new LengthExtrapolationExperiment(), new ScalingExperiment(), new CostExperiment(),
    ];

    /// <summary>Its name on command lines and in files.</summary>
    public abstract string Name { get; }

    /// <summary>The heading of its page.</summary>
    public abstract string Title { get; }

    /// <summary>What it shows, in a sentence.</summary>
    public abstract string Summary { get; }

    /// <summary>Whether it trains on files of text.</summary>
    public virtual bool NeedsText => false;

    /// <summary>The families that it compares when nobody says which.</summary>
    public virtual IReadOnlyList<ModelFamily> UsualFamilies => ModelFamilies.All;

    /// <summary>The columns behind the family's.</summary>
    internal abstract IReadOnlyList<ResultColumn> Columns { get; }

    /// <summary>What a run consists of, for all families.</summary>
    /// <exception cref="ArgumentException">The settings make no sense.</exception>
    /// <exception cref="TrainingInputException">A file of text is of no use.</exception>
    internal abstract ExperimentPlan Plan(ExperimentSettings settings);

    /// <summary>The charts of some rows.</summary>
    internal abstract IEnumerable<LineChart> Charts(IReadOnlyList<ResultRow> rows);

    /// <summary>One line a family through two of the columns.</summary>
    private protected List<ChartSeries> Lines(IReadOnlyList<ResultRow> rows, string x, string y)
    {
        int atX = IndexOf(x), atY = IndexOf(y);
        return [.. rows.GroupBy(row => row.Family).Select(group => new ChartSeries(
            group.Key.Name(), [.. group.Select(row => (row.Values[atX], row.Values[atY])).OrderBy(point => point.Item1)]))];
    }

    private int IndexOf(string key)
    {
        for (int i = 0; i < Columns.Count; i++)
        {
            if (Columns[i].Key == key) return i;
        }
        throw new ArgumentException($"There is no column '{key}'.", nameof(key));
    }
}

/// <summary>What a run consists of.</summary>
/// <param name="Parts">Its parts, each done once.</param>
/// <param name="Facts">The honest scale: model, data, training, by name. Whatever decides a part's numbers is said here.</param>
/// <param name="DataIdentity">Digest of the files of text; null: none.</param>
internal sealed record ExperimentPlan(IReadOnlyList<ExperimentPart> Parts, IReadOnlyList<(string Name, string Value)> Facts, string? DataIdentity = null);

/// <summary>A piece of an experiment whose result is kept as soon as it is there.</summary>
/// <param name="Name">Its name, also of its folder.</param>
/// <param name="Family">Whose it is.</param>
/// <param name="Steps">Training steps.</param>
/// <param name="Work">Does it; one array of column values for each row.</param>
internal sealed record ExperimentPart(string Name, ModelFamily Family, long Steps, Func<PartRun, IReadOnlyList<double[]>> Work);
