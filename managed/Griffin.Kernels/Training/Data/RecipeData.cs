using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Training.Data;

/// <summary>The data that a recipe names.</summary>
public static class RecipeData
{
    /// <summary>The packed documents that the recipe trains on.</summary>
    /// <param name="recipe">A valid recipe.</param>
    /// <param name="config">The model's shape.</param>
    /// <exception cref="TrainingInputException">A file is of no use.</exception>
    /// <exception cref="CheckpointException">Text needs a tokenizer that is not there.</exception>
    public static PackedDocuments Training(TrainingRecipe recipe, GriffinConfig config)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        return new PackedDocuments(Read(recipe.Data, recipe, config), config, recipe.Rows, recipe.Context, recipe.Seed);
    }

    /// <summary>The held-out pieces that the recipe evaluates; null when it names no file for them.</summary>
    /// <param name="recipe">A valid recipe.</param>
    /// <param name="config">The model's shape.</param>
    /// <exception cref="TrainingInputException">A file is of no use.</exception>
    /// <exception cref="CheckpointException">Text needs a tokenizer that is not there.</exception>
    public static HeldOutPieces? HeldOut(TrainingRecipe recipe, GriffinConfig config)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        if (recipe.Validation.Count == 0) return null;
        return new HeldOutPieces(Read(recipe.Validation, recipe, config), config, recipe.Rows, recipe.Context, recipe.ValidationTokens);
    }

    /// <summary>The folder whose tokenizer the recipe uses; null: bytes.</summary>
    public static string? TokenizerFolder(TrainingRecipe recipe)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        return recipe.Tokenizer ?? recipe.InitFrom;
    }

    private static DocumentSet Read(ValueList<string> paths, TrainingRecipe recipe, GriffinConfig config) =>
        DocumentFiles.Read(paths, config, () => TokenizerFolder(recipe) is { } folder ? TokenizerFiles.Load(folder, config) : Bytes(paths, config));

    private static ByteTokenizer Bytes(ValueList<string> paths, GriffinConfig config) => config.Vocabulary >= ByteTokenizer.LeastVocabulary
        ? new ByteTokenizer()
        : throw new TrainingInputException(
            paths[0], $"is text: without a tokenizer its bytes are the tokens, which needs a vocab_size of {ByteTokenizer.LeastVocabulary} or more, not {config.Vocabulary}");
}
