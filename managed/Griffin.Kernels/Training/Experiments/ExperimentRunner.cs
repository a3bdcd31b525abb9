using System.Globalization;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>
/// Runs an experiment's parts and keeps its files up to date behind each one. A run that was interrupted goes on where it was, and families
/// that are done already are taken from the folder.
/// </summary>
public static class ExperimentRunner
{
    /// <summary>Runs what is not done yet.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="experiment">What to run.</param>
    /// <param name="settings">How.</param>
    /// <param name="onProgress">Told of parts and training steps.</param>
    /// <param name="cancellationToken">Ends the run in good order, behind the step that is under way.</param>
    /// <returns>The table, with what was done before in the same folder.</returns>
    /// <exception cref="ArgumentException">The settings make no sense.</exception>
    /// <exception cref="TrainingInputException">A file of text is of no use, or the folder is of other settings.</exception>
    /// <exception cref="TrainingStoppedException">A loss or a gradient is not finite.</exception>
    /// <exception cref="OperationCanceledException">Interrupted; the same call goes on with it.</exception>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static ExperimentResult Run(
        GpuDevice device, Experiment experiment, ExperimentSettings settings, Action<ExperimentProgress>? onProgress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(experiment);
        ArgumentNullException.ThrowIfNull(settings);
        Check(experiment, settings);
        ExperimentPlan plan = experiment.Plan(settings);
        List<(string Name, string Value)> facts =
        [
            ("scale", Describe(settings.Scale)),
            .. plan.Facts,
            ("precision", settings.Precision == ElementType.Float32 ? "float32" : "bfloat16, float32 master weights"),
            ("seed", settings.Seed.ToString(CultureInfo.InvariantCulture)),
            ("device", device.Description),
        ];
        PartStore store = new(settings.Folder, Identity(experiment, facts, plan.DataIdentity));
        ExperimentPart[] wanted = [.. plan.Parts.Where(part => settings.Families.Contains(part.Family))];
        ExperimentResult result = Collect(experiment, plan, settings, facts, store);
        result.Save(settings.Folder);
        for (int i = 0; i < wanted.Length; i++)
        {
            ExperimentPart part = wanted[i];
            if (store.Find(part, experiment.Columns.Count) is not null) continue;
            cancellationToken.ThrowIfCancellationRequested();
            ExperimentProgress progress = new(part.Name, i + 1, wanted.Length, part.Steps, Step: null);
            onProgress?.Invoke(progress);
            Directory.CreateDirectory(store.FolderOf(part));
            store.Save(part, part.Work(new PartRun(device, store.FolderOf(part), step => onProgress?.Invoke(progress with { Step = step }), cancellationToken)));
            result = Collect(experiment, plan, settings, facts, store);
            result.Save(settings.Folder);
        }
        return result;
    }

    /// <summary>What can be said against settings before anything is opened.</summary>
    /// <param name="experiment">What is to run.</param>
    /// <param name="settings">How.</param>
    /// <exception cref="ArgumentException">The settings make no sense; the message is one line.</exception>
    public static void Check(Experiment experiment, ExperimentSettings settings)
    {
        ArgumentNullException.ThrowIfNull(experiment);
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.Families.Count == 0) throw new ArgumentException("no family is given: name at least one of griffin, hawk, mqa");
        if (experiment.NeedsText && settings.Data.Count == 0)
            throw new ArgumentException($"{experiment.Name} trains on text: name files with --data (text, .jsonl, or byte tokens; the last tenth of each document is held out)");
        if (!experiment.NeedsText && settings.Data.Count > 0) throw new ArgumentException($"{experiment.Name} makes its own data: leave --data out");
    }

    private static ExperimentResult Collect(Experiment experiment, ExperimentPlan plan, ExperimentSettings settings, IReadOnlyList<(string Name, string Value)> facts, PartStore store)
    {
        List<ResultRow> rows = [];
        List<(string, IReadOnlyList<StepReport>)> logs = [];
        (int done, int left) = (0, 0);
        foreach (ExperimentPart part in plan.Parts)
        {
            if (store.Find(part, experiment.Columns.Count) is not { } found)
            {
                left += settings.Families.Contains(part.Family) ? 1 : 0;
                continue;
            }
            done++;
            rows.AddRange(found.Select(values => new ResultRow(part.Family, [.. values])));
            string log = Path.Combine(store.FolderOf(part), TrainingLog.FileName);
            if (File.Exists(log)) logs.Add((part.Name, TrainingLog.Read(log)));
        }
        return new ExperimentResult(experiment, [.. facts, ("done", $"{done} of {done + left} parts")], rows, logs);
    }

    private static string Identity(Experiment experiment, IEnumerable<(string Name, string Value)> facts, string? data)
    {
        using SourceDigest digest = new($"experiment {experiment.Name} 1");
        foreach ((string name, string value) in facts) digest.Add(name, value);
        if (data is not null) digest.Add("data", data);
        return digest.Finish();
    }

    private static string Describe(ExperimentScale scale) => scale switch
    {
        ExperimentScale.Tiny => "tiny: shows only that everything runs",
        ExperimentScale.Small => "small: far below the paper's, for a CPU",
        _ => "full: sized as in the paper, for a GPU",
    };
}
