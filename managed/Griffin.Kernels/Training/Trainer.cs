using System.Diagnostics;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training.Passes;

namespace Griffin.Kernels.Training;

/// <summary>
/// Trains a model by a recipe, a step at a time. A run is a function of its recipe and data: two runs give the same bits, and so does one that
/// was interrupted anywhere and resumed from its last checkpoint.
/// </summary>
public sealed class Trainer : IDisposable
{
    private const string CheckpointFolder = "checkpoints";

    private readonly OwnedResources _owned = new();
    private readonly TrainingRecipe _recipe;
    private readonly IBatchSource _train;
    private readonly IBatchSource? _heldOut;
    private readonly TrainingSession _session;
    private readonly RunCheckpoints _checkpoints;
    private readonly PinnedBuffer<float> _losses;
    private readonly double? _peakFlops;
    private RunState _state;
    private Task<MicroBatch[]> _next;

    private Trainer(
        GpuDevice device, TrainingRecipe recipe, ICheckpointSource source, IBatchSource train, IBatchSource? heldOut, RunCheckpoints checkpoints, string? resumeFrom,
        IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        (_recipe, _train, _heldOut, _checkpoints) = (recipe, train, heldOut, checkpoints);
        _state = resumeFrom is null ? new RunState(0, 0, 0, train.Identity) : RunState.Read(resumeFrom);
        if (_state.DataIdentity != train.Identity)
            throw new CheckpointException(resumeFrom!, "was trained on other data or with other data settings: resume with the same ones, or start in a new folder");
        try
        {
            _session = _owned.Add(new TrainingSession(device, source, OptionsOf(recipe), progress, cancellationToken));
            if (resumeFrom is not null) RunCheckpoints.LoadMoments(resumeFrom, _session.Weights);
            _losses = _owned.Add(device.AllocatePinned<float>(checked(recipe.Rows * recipe.Context * recipe.AccumulationSteps)));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        _peakFlops = ModelFlops.PeakOf(device);
        _next = Prefetch(_state.MicroBatches);
    }

    /// <summary>Optimiser steps done, those before a resume included.</summary>
    public long Step => _state.Step;

    /// <summary>True when the recipe's steps are done.</summary>
    public bool IsFinished => _state.Step >= _recipe.Steps;

    /// <summary>True when there is held-out data to evaluate.</summary>
    public bool HasHeldOut => _heldOut is not null;

    /// <summary>The model's shape.</summary>
    public GriffinConfig Config => _session.Config;

    /// <summary>Device bytes of a run, computed from the recipe alone.</summary>
    /// <param name="device">Where it would run.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="recipe">The recipe.</param>
    public static MemoryBudget BudgetOf(GpuDevice device, GriffinConfig config, TrainingRecipe recipe)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(recipe);
        using TrainingKernels kernels = new(device, config, OptionsOf(recipe));
        return kernels.Budget;
    }

    /// <summary>Starts a run, or goes on with one.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="recipe">The recipe; validated.</param>
    /// <param name="train">What to train on: micro-batches of the recipe's rows and context.</param>
    /// <param name="heldOut">What <see cref="Evaluate"/> scores: a finite source of the same shape; or null.</param>
    /// <param name="folder">The run's folder; its checkpoints lie in "checkpoints" there.</param>
    /// <param name="resume">Goes on from the newest checkpoint, if there is one; otherwise a folder that has one is refused.</param>
    /// <param name="progress">Told of weights streamed and kernels compiled.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    /// <exception cref="ArgumentException">The recipe is wrong, or a source does not fit it.</exception>
    /// <exception cref="CheckpointException">A checkpoint is damaged, is of other data, or is in the way.</exception>
    public static Trainer Create(
        GpuDevice device, TrainingRecipe recipe, IBatchSource train, IBatchSource? heldOut, string folder, bool resume = false,
        IProgress<ModelProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(recipe);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        recipe.Validate();
        CheckShape(train, recipe, nameof(train));
        if (heldOut is not null)
        {
            CheckShape(heldOut, recipe, nameof(heldOut));
            if (heldOut.Count is null) throw new ArgumentException("The held-out data never ends.", nameof(heldOut));
        }

        RunCheckpoints checkpoints = new(Path.Combine(folder, CheckpointFolder));
        string? latest = checkpoints.Latest;
        if (latest is not null && !resume) throw new CheckpointException(folder, "already holds a run: resume it (--resume) or choose another folder");
        string? start = latest ?? recipe.InitFrom;
        if (start is null) return Start(new RandomCheckpoint(recipe.Model!, recipe.Seed, recipe.Lambda));
        using CheckpointReader reader = CheckpointReader.Open(start);
        return Start(reader);

        Trainer Start(ICheckpointSource source)
        {
            if (source.Config.Vocabulary < train.Vocabulary)
                throw new ArgumentException($"The data has token ids up to {train.Vocabulary - 1}; the model's vocabulary is {source.Config.Vocabulary}.", nameof(train));
            return new Trainer(device, recipe, source, train, heldOut, checkpoints, latest, progress, cancellationToken);
        }
    }

    /// <summary>Runs one optimiser step: the recipe's micro-batches forward and back, then the update.</summary>
    /// <exception cref="InvalidOperationException">The run is finished.</exception>
    /// <exception cref="TrainingStoppedException">The loss or the gradient is not finite; the weights are as before the step.</exception>
    public StepReport RunStep()
    {
        if (IsFinished) throw new InvalidOperationException($"All {_recipe.Steps} steps are done.");
        long started = Stopwatch.GetTimestamp(), step = _state.Step + 1;
        MicroBatch[] batches = _next.GetAwaiter().GetResult();
        long cursor = _state.MicroBatches + batches.Length;
        _next = Prefetch(cursor);
        int scored = batches.Sum(batch => batch.Scored);
        double rate = _recipe.LearningRate.At(step);

        _session.ClearGradients();
        int tokens = batches[0].Rows * batches[0].Length;
        for (int i = 0; i < batches.Length; i++) _session.Accumulate(batches[i], 1f / Math.Max(scored, 1), _losses, i * tokens);
        _session.Update(new AdamWSettings(rate, _recipe.Beta1, _recipe.Beta2, _recipe.Epsilon, _recipe.WeightDecay, _recipe.ClipNorm), step);
        _session.Synchronize();

        double loss = Sum(_losses.Span) / Math.Max(scored, 1);
        double norm = _session.GradientNorm;
        if (!double.IsFinite(loss) || !double.IsFinite(norm)) throw new TrainingStoppedException(FiniteCheck.Describe(step, loss, _session.Weights));
        _state = new RunState(step, cursor, _state.Tokens + scored, _state.DataIdentity);
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds, speed = batches.Length * tokens / seconds;
        double? utilization = _peakFlops is { } peak ? speed * ModelFlops.PerToken(Config, _recipe.Context) / peak : null;
        return new StepReport(step, _state.Tokens, loss, norm, rate, seconds, speed, utilization, HeldOutLoss: null);
    }

    /// <summary>Mean negative log likelihood of the held-out data in nats per scored token.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public double Evaluate()
    {
        if (_heldOut is null) throw new InvalidOperationException("The run has no held-out data.");
        MicroBatch batch = new(_heldOut.Rows, _heldOut.Length);
        double sum = 0;
        long scored = 0;
        for (long index = 0; index < _heldOut.Count; index++)
        {
            _heldOut.Fill(index, batch);
            _session.Score(batch, _losses, 0);
            _session.Synchronize();
            sum += Sum(_losses.Span[..(batch.Rows * batch.Length)]);
            scored += batch.Scored;
        }

        return sum / Math.Max(scored, 1);
    }

    /// <summary>Writes a checkpoint of the run, whole or not at all, and drops the oldest.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void SaveCheckpoint() => _checkpoints.Save(_session.Weights, _state, _recipe.KeepLast);

    /// <summary>Writes the weights alone, in the recipe's precision, as a checkpoint to run or to publish.</summary>
    /// <param name="folder">The folder; a checkpoint in it is replaced.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Export(string folder) =>
        CheckpointWriter.Save(_session.Weights.Weights, folder, new CheckpointWriteOptions { Storage = _recipe.Precision, Overwrite = true });

    /// <summary>Frees everything on the device.</summary>
    public void Dispose()
    {
        // A source may fail while nobody waits for it any more.
        _next.ContinueWith(static task => task.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        _owned.Dispose();
    }

    private static TrainingOptions OptionsOf(TrainingRecipe recipe) => new(recipe.Precision, recipe.Rows, recipe.Context, recipe.Recompute);

    private static void CheckShape(IBatchSource source, TrainingRecipe recipe, string name)
    {
        if (source.Rows != recipe.Rows || source.Length != recipe.Context)
            throw new ArgumentException($"Micro-batches of {source.Rows} rows of {source.Length} tokens do not fit the recipe's {recipe.Rows} rows of {recipe.Context}.", name);
    }

    private static double Sum(ReadOnlySpan<float> values)
    {
        double sum = 0;
        foreach (float value in values) sum += value;
        return sum;
    }

    // The next step's micro-batches are made while this one's run.
    private Task<MicroBatch[]> Prefetch(long first) => Task.Run(() =>
    {
        MicroBatch[] batches = new MicroBatch[_recipe.AccumulationSteps];
        for (int i = 0; i < batches.Length; i++)
        {
            batches[i] = new MicroBatch(_train.Rows, _train.Length);
            long index = first + i;
            _train.Fill(_train.Count is { } count ? index % count : index, batches[i]);
        }

        return batches;
    });
}
