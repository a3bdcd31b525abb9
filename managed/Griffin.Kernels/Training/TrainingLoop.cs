using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Training;

/// <summary>
/// Runs a trainer to its last step, with what belongs around the steps: evaluations, checkpoints, and the logs in the run's folder
/// (<c>log.jsonl</c> and <c>tensorboard/</c>).
/// </summary>
public static class TrainingLoop
{
    private const string TensorBoardFolder = "tensorboard";

    /// <summary>Trains from where the trainer stands. The last step is always evaluated, logged and kept in a checkpoint.</summary>
    /// <param name="trainer">The trainer.</param>
    /// <param name="recipe">Its recipe, which says how often.</param>
    /// <param name="folder">The run's folder; logs in it lose what they say of steps that the trainer has not done.</param>
    /// <param name="onStep">Told of every step.</param>
    /// <param name="cancellationToken">Ends the run behind the step that is under way, with a checkpoint.</param>
    /// <returns>True when the run is finished; false when it was cancelled.</returns>
    /// <exception cref="TrainingStoppedException">A step's loss or gradient is not finite; the last checkpoint stands.</exception>
    /// <exception cref="IOException">A log or a checkpoint cannot be written.</exception>
    public static bool Run(Trainer trainer, TrainingRecipe recipe, string folder, Action<StepReport>? onStep = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(recipe);
        using TrainingLog log = TrainingLog.Open(Path.Combine(folder, TrainingLog.FileName), trainer.Step);
        using TensorBoardLog board = new(Path.Combine(folder, TensorBoardFolder), trainer.Step);
        long saved = trainer.Step;
        while (!trainer.IsFinished && !cancellationToken.IsCancellationRequested)
        {
            StepReport report = trainer.RunStep();
            if (trainer.HasHeldOut && IsDue(report, recipe.EvaluateEvery)) report = report with { HeldOutLoss = trainer.Evaluate() };
            if (IsDue(report, recipe.LogEvery) || report.HeldOutLoss is not null)
            {
                log.Write(report);
                board.Write(report);
            }
            if (IsDue(report, recipe.CheckpointEvery))
            {
                trainer.SaveCheckpoint();
                saved = report.Step;
            }
            onStep?.Invoke(report);
        }
        if (trainer.Step != saved) trainer.SaveCheckpoint();
        return trainer.IsFinished;

        bool IsDue(StepReport report, long every) => trainer.IsFinished || (every > 0 && report.Step % every == 0);
    }
}
