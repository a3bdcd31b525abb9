using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Training.Passes;

namespace Griffin.Kernels.Training;

/// <summary>Finds where a run's numbers stopped being finite.</summary>
internal static class FiniteCheck
{
    /// <summary>One line: the step, what is not finite, and the first tensor that shows it, weights before gradients.</summary>
    public static string Describe(long step, double loss, TrainingWeights weights)
    {
        string what = double.IsFinite(loss) ? "the gradient's norm" : $"the loss ({loss})";
        string where = First(weights.Master, "weight") ?? First(weights.Gradients, "gradient") ?? "all weights and gradients are finite, but their squares overflow";
        return $"step {step}: {what} is not finite; {where}. Lower the learning rate, clip the gradient (clip_norm), or go back to an earlier checkpoint";
    }

    private static string? First(WeightArena arena, string kind)
    {
        foreach (WeightName name in arena.Layout.Names)
        {
            float[] values = TrainingSession.Read(arena, name);
            int index = Array.FindIndex(values, value => !float.IsFinite(value));
            if (index >= 0) return $"the first such {kind} is element {index} of {CheckpointLayout.HuggingFace.Locate(arena.Config, name).Tensor} ({values[index]})";
        }

        return null;
    }
}
