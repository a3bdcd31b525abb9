using System.Globalization;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training;

/// <summary>What makes a recipe valid, and the one line said when it is not. Keys are those of the recipe file.</summary>
internal static class RecipeRules
{
    /// <summary>The first thing wrong with a recipe, or null.</summary>
    internal static string? FindProblem(TrainingRecipe recipe) =>
        Inputs(recipe)
        ?? Positive("context", recipe.Context)
        ?? Positive("rows", recipe.Rows)
        ?? Positive("accumulation_steps", recipe.AccumulationSteps)
        ?? Positive("steps", recipe.Steps)
        ?? ((long)recipe.Rows * recipe.Context > int.MaxValue
            ? $"rows {recipe.Rows} · context {recipe.Context} is more than {int.MaxValue} tokens: make rows smaller and accumulation_steps larger"
            : null)
        ?? (recipe.Precision is ElementType.Float32 or ElementType.BFloat16 ? null : $"precision is {recipe.Precision}: it must be bfloat16 or float32")
        ?? LearningRate(recipe)
        ?? Optimizer(recipe)
        ?? NotNegative("evaluate_every", recipe.EvaluateEvery)
        ?? NotNegative("checkpoint_every", recipe.CheckpointEvery)
        ?? Positive("keep_last", recipe.KeepLast)
        ?? Positive("log_every", recipe.LogEvery);

    private static string? Inputs(TrainingRecipe recipe)
    {
        if (recipe.Model is null == recipe.InitFrom is null)
            return recipe.Model is null ? "model and init_from are missing: one of them says what to train" : "model and init_from are both given: leave one out";
        return NotNegative("validation_tokens", recipe.ValidationTokens);
    }

    private static string? LearningRate(TrainingRecipe recipe) =>
        Within("learning_rate", recipe.PeakLearningRate, above: 0, most: double.MaxValue)
        ?? NotNegative("warm_up_steps", recipe.WarmUpSteps)
        ?? (recipe.WarmUpSteps > recipe.Steps ? $"warm_up_steps is {recipe.WarmUpSteps}: more than the {recipe.Steps} steps of the run" : null)
        ?? (recipe.FinalFraction is >= 0 and <= 1 ? null : Say($"final_fraction is {recipe.FinalFraction}: a number from 0 to 1 is needed"));

    private static string? Optimizer(TrainingRecipe recipe) =>
        Beta("beta1", recipe.Beta1)
        ?? Beta("beta2", recipe.Beta2)
        ?? Within("epsilon", recipe.Epsilon, above: 0, most: 1)
        ?? (recipe.WeightDecay >= 0 && double.IsFinite(recipe.WeightDecay) ? null : Say($"weight_decay is {recipe.WeightDecay}: it must not be negative; 0 turns it off"))
        ?? (recipe.ClipNorm >= 0 && double.IsFinite(recipe.ClipNorm) ? null : Say($"clip_norm is {recipe.ClipNorm}: it must not be negative; 0 turns clipping off"));

    private static string? Beta(string key, double value) => value is >= 0 and < 1 ? null : Say($"{key} is {value}: a number from 0 to less than 1 is needed");

    private static string? Within(string key, double value, double above, double most) => value > above && value <= most
        ? null
        : most == double.MaxValue ? Say($"{key} is {value}: it must be positive") : Say($"{key} is {value}: a number above {above} and at most {most} is needed");

    private static string? Positive(string key, long value) => value > 0 ? null : $"{key} is {value}: it must be positive";

    private static string? NotNegative(string key, long value) => value >= 0 ? null : $"{key} is {value}: it must not be negative";

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
