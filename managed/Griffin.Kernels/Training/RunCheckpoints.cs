using System.Globalization;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training.Passes;

namespace Griffin.Kernels.Training;

/// <summary>
/// The checkpoints of a run: folders "step-00000120" that appear whole or not at all. Each holds the float32 weights as a checkpoint that any
/// reader of the family loads, the two moments in the same layout in folders of their own, and where the run stands.
/// </summary>
internal sealed class RunCheckpoints
{
    private const string Prefix = "step-";
    private const string PartPrefix = ".part-";
    private const string FirstMoment = "first_moment";
    private const string SecondMoment = "second_moment";

    private readonly string _folder;

    /// <param name="folder">Where the run's checkpoints lie; made when it does not exist. What an interrupted write left is removed.</param>
    public RunCheckpoints(string folder)
    {
        _folder = folder;
        Directory.CreateDirectory(folder);
        foreach (string part in Directory.EnumerateDirectories(folder, PartPrefix + "*")) Directory.Delete(part, recursive: true);
    }

    /// <summary>The newest checkpoint, or null.</summary>
    public string? Latest => All().LastOrDefault().Path;

    /// <summary>Writes a checkpoint and drops all but the newest.</summary>
    /// <param name="weights">Weights and moments.</param>
    /// <param name="state">Where the run stands.</param>
    /// <param name="keep">Checkpoints to keep.</param>
    public void Save(TrainingWeights weights, RunState state, int keep)
    {
        string final = Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"{Prefix}{state.Step:D8}"));
        string part = Path.Combine(_folder, $"{PartPrefix}{Guid.NewGuid():N}");
        CheckpointWriteOptions options = new() { Storage = ElementType.Float32 };
        CheckpointWriter.Save(weights.Master, part, options);
        CheckpointWriter.Save(weights.FirstMoment, Path.Combine(part, FirstMoment), options);
        CheckpointWriter.Save(weights.SecondMoment, Path.Combine(part, SecondMoment), options);
        state.Write(part);
        if (Directory.Exists(final)) Remove(final);
        Directory.Move(part, final);
        foreach ((_, string path) in All().SkipLast(Math.Max(keep, 1))) Remove(path);
    }

    /// <summary>Reads the moments of a checkpoint; its weights are read by opening the folder itself.</summary>
    public static void LoadMoments(string checkpoint, TrainingWeights weights)
    {
        weights.FirstMoment.Load(Path.Combine(checkpoint, FirstMoment));
        weights.SecondMoment.Load(Path.Combine(checkpoint, SecondMoment));
    }

    // Renamed first: a folder that is half deleted must not look like a checkpoint.
    private void Remove(string path)
    {
        string part = Path.Combine(_folder, $"{PartPrefix}{Guid.NewGuid():N}");
        Directory.Move(path, part);
        Directory.Delete(part, recursive: true);
    }

    private IEnumerable<(long Step, string Path)> All() => Directory.EnumerateDirectories(_folder, Prefix + "*")
        .Select(path => (Known: long.TryParse(Path.GetFileName(path).AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step), Step: step, Path: path))
        .Where(entry => entry.Known)
        .OrderBy(entry => entry.Step)
        .Select(entry => (entry.Step, entry.Path));
}
