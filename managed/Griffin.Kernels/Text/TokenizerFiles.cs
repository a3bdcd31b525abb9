using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Text;

/// <summary>Finds a checkpoint folder's tokenizer.</summary>
public static class TokenizerFiles
{
    private const string ConfigName = "tokenizer_config.json";

    // Formats with a vocabulary of their own; a reader for one is chosen here when it exists.
    private static readonly string[] vocabularies = ["tokenizer.json", "tokenizer.model"];

    /// <summary>Loads the tokenizer that the folder's <c>tokenizer_config.json</c> names: <c>ByT5Tokenizer</c>, bytes.</summary>
    /// <param name="folder">The checkpoint folder, or a file inside it.</param>
    /// <param name="config">The model's configuration, which the tokenizer must fit.</param>
    /// <exception cref="CheckpointException">There is no tokenizer, it is of a kind that is not read, or it does not fit the model; the message says to give token ids instead.</exception>
    public static ITokenizer Load(string folder, GriffinConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (File.Exists(folder)) folder = Path.GetDirectoryName(Path.GetFullPath(folder))!;
        string path = Path.Combine(folder, ConfigName);
        string? kind = File.Exists(path) ? ReadClass(path) : null;
        if (kind == "ByT5Tokenizer")
        {
            return config.Vocabulary >= ByteTokenizer.LeastVocabulary
                ? new ByteTokenizer()
                : throw new CheckpointException(path, $"names a byte tokenizer of {ByteTokenizer.LeastVocabulary} ids, the model has vocab_size {config.Vocabulary}");
        }
        if (vocabularies.FirstOrDefault(name => File.Exists(Path.Combine(folder, name))) is { } vocabulary)
            throw new CheckpointException(Path.Combine(folder, vocabulary), "this tokenizer format is not read yet: give token ids with --tokens");
        throw kind is null
            ? new CheckpointException(folder, $"has no tokenizer ({ConfigName}): give token ids with --tokens")
            : new CheckpointException(path, $"tokenizer_class '{kind}' is not read, only ByT5Tokenizer: give token ids with --tokens");
    }

    private static string? ReadClass(string path)
    {
        using JsonDocument document = JsonFile.Parse(JsonFile.ReadBytes(path), path);
        return new JsonKeys(JsonFile.RootObject(document, path), path).OptionalString("tokenizer_class");
    }
}
