using System.Globalization;
using System.Text.Json;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Data;

namespace Griffin.Cli;

/// <summary>What a run will do, in words and in JSON.</summary>
internal sealed class TrainingPlanText(TrainingRecipe recipe, GriffinConfig config, RecipeData data, MemoryBudget budget)
{
    /// <summary>The plan for people, by name.</summary>
    internal IReadOnlyList<(string Name, string Value)> Lines { get; } = Describe(recipe, config, data, budget);

    /// <summary>Writes the plan as members of an object.</summary>
    internal void WriteTo(Utf8JsonWriter json)
    {
        json.WriteNumber("parameters", config.Parameters);
        json.WriteNumber("steps", recipe.Steps);
        json.WriteNumber("tokens_per_step", recipe.TokensPerStep);
        json.WriteNumber("tokens_of_epoch", data.Training.TokensOfEpoch);
        json.WriteNumber("validation_tokens", data.HeldOut?.Tokens ?? 0);
        json.WriteStartObject("memory_bytes");
        foreach ((string name, long bytes) in Parts(budget)) json.WriteNumber(name, bytes);
        json.WriteNumber("total", budget.Total);
        json.WriteEndObject();
    }

    private static List<(string Name, string Value)> Describe(TrainingRecipe recipe, GriffinConfig config, RecipeData data, MemoryBudget budget)
    {
        double tokens = recipe.Steps * (double)recipe.TokensPerStep, epochs = tokens / data.Training.TokensOfEpoch;
        List<(string, string)> lines =
        [
            ("model", Say($"{config.Parameters:N0} parameters, {(recipe.Precision == ElementType.Float32 ? "float32" : "bfloat16")}{(recipe.Recompute ? ", activations recomputed" : "")}")),
            ("step", Say($"{recipe.TokensPerStep:N0} tokens: {recipe.Rows} rows of {recipe.Context}, {recipe.AccumulationSteps} micro-batch(es)")),
            ("run", Say($"{recipe.Steps:N0} steps, {tokens:N0} tokens, {epochs:F2} epochs of {data.Training.TokensOfEpoch:N0} tokens")),
        ];
        if (data.HeldOut is { } heldOut) lines.Add(("held out", Say($"{heldOut.Tokens:N0} tokens")));
        lines.Add(("memory", $"{Size(budget.Total)} on the device: {string.Join(", ", Parts(budget).Select(part => $"{part.Name} {Size(part.Bytes)}"))}"));
        return lines;
    }

    private static (string Name, long Bytes)[] Parts(MemoryBudget budget) =>
    [
        ("weights", budget.Weights), ("gradients", budget.Gradients), ("optimizer", budget.Optimizer), ("activations", budget.Activations), ("other", budget.Other),
    ];

    private static string Size(long bytes) => bytes >= 1L << 30 ? Say($"{bytes / (double)(1L << 30):F2} GiB") : Say($"{bytes / (double)(1L << 20):F1} MiB");

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
