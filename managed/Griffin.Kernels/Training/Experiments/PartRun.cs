using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>What the work of a part runs with.</summary>
/// <param name="device">Where it runs.</param>
/// <param name="folder">The part's folder; exists.</param>
/// <param name="onStep">Told of training steps.</param>
/// <param name="cancellationToken">Ends the part in good order.</param>
internal sealed class PartRun(GpuDevice device, string folder, Action<StepReport> onStep, CancellationToken cancellationToken)
{
    private const string RecipeName = "recipe.json";
    private const string ModelFolder = "model";

    internal GpuDevice Device => device;

    internal string Folder => folder;

    internal CancellationToken CancellationToken => cancellationToken;

    /// <summary>Trains to the recipe's end, from the newest checkpoint where there is one.</summary>
    /// <returns>The log of all steps.</returns>
    /// <exception cref="OperationCanceledException">Interrupted; the last step is kept in a checkpoint.</exception>
    internal IReadOnlyList<StepReport> Train(TrainingRecipe recipe, IBatchSource training, IBatchSource? heldOut = null)
    {
        using Trainer trainer = Trainer.Create(device, recipe, training, heldOut, folder, resume: true, cancellationToken: cancellationToken);
        RecipeFile.Save(Path.Combine(folder, RecipeName), recipe);
        if (!TrainingLoop.Run(trainer, recipe, folder, onStep, cancellationToken)) throw new OperationCanceledException(cancellationToken);
        trainer.Export(Path.Combine(folder, ModelFolder));
        return TrainingLog.Read(Path.Combine(folder, TrainingLog.FileName));
    }

    /// <summary>Loads the model that <see cref="Train"/> left.</summary>
    internal GriffinModel LoadModel(ElementType precision) =>
        GriffinModel.Load(device, Path.Combine(folder, ModelFolder), new GriffinModelOptions { Precision = precision }, cancellationToken: cancellationToken);
}
