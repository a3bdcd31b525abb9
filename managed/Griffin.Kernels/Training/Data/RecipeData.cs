using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Training.Data;

/// <summary>The data that a recipe names, read into memory.</summary>
public sealed class RecipeData
{
    private readonly string? _tokenizerFolder;
    private readonly int _vocabulary;
    private bool _hasByteTokens;

    /// <summary>Reads the data files.</summary>
    /// <param name="recipe">A valid recipe.</param>
    /// <param name="config">The model's shape.</param>
    /// <exception cref="ArgumentException">The recipe names no file to train on.</exception>
    /// <exception cref="TrainingInputException">A file is of no use.</exception>
    /// <exception cref="CheckpointException">There is text, and the folder that should have a tokenizer for it has none that is read.</exception>
    public RecipeData(TrainingRecipe recipe, GriffinConfig config)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        ArgumentNullException.ThrowIfNull(config);
        if (recipe.Data.Count == 0) throw new ArgumentException("data is missing: name at least one file to train on", nameof(recipe));
        _tokenizerFolder = recipe.Tokenizer ?? recipe.InitFrom;
        _vocabulary = config.Vocabulary;
        Training = new PackedDocuments(Read(recipe.Data, config), config, recipe.Rows, recipe.Context, recipe.Seed);
        if (recipe.Validation.Count > 0)
            HeldOut = new HeldOutPieces(Read(recipe.Validation, config), config, recipe.Rows, recipe.Context, recipe.ValidationTokens);
    }

    /// <summary>The packed documents to train on.</summary>
    public PackedDocuments Training { get; }

    /// <summary>The held-out pieces to evaluate; null when the recipe names no file for them.</summary>
    public HeldOutPieces? HeldOut { get; }

    /// <summary>Puts the tokenizer of the data beside a trained model, where one was told or used.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public void WriteTokenizer(string folder)
    {
        if (_tokenizerFolder is not null) TokenizerFiles.Copy(_tokenizerFolder, folder);
        else if (_hasByteTokens) TokenizerFiles.WriteBytes(folder, _vocabulary);
    }

    private DocumentSet Read(ValueList<string> paths, GriffinConfig config) => DocumentFiles.Read(paths, config, () =>
    {
        if (_tokenizerFolder is not null) return TokenizerFiles.Load(_tokenizerFolder, config);
        _hasByteTokens = true;
        return config.Vocabulary >= ByteTokenizer.LeastVocabulary
            ? new ByteTokenizer()
            : throw new TrainingInputException(
                paths[0], $"is text: without a tokenizer its bytes are the tokens, which needs a vocab_size of {ByteTokenizer.LeastVocabulary} or more, not {config.Vocabulary}");
    });
}
