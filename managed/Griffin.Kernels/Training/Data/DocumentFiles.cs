using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Training.Data;

/// <summary>
/// Reads data files, whose kind is told by their name: <c>.jsonl</c> and <c>.ndjson</c> hold a document a line, <c>.u16</c>, <c>.u32</c>
/// and <c>.npy</c> hold token ids, and everything else is one document of text.
/// </summary>
public static class DocumentFiles
{
    /// <summary>Reads files, in their order.</summary>
    /// <param name="paths">The files.</param>
    /// <param name="config">The model that the tokens are for.</param>
    /// <param name="tokenizer">Makes the tokenizer when the first text is met.</param>
    /// <exception cref="TrainingInputException">A file is missing, empty or damaged, or holds tokens that the model has not.</exception>
    public static DocumentSet Read(IReadOnlyList<string> paths, GriffinConfig config, Func<ITokenizer> tokenizer)
    {
        ArgumentNullException.ThrowIfNull(paths);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentOutOfRangeException.ThrowIfZero(paths.Count);
        DocumentSet documents = new(paths.Count == 1 ? paths[0] : $"{paths[0]} and {paths.Count - 1} more", config.Vocabulary);
        Lazy<ITokenizer> shared = new(tokenizer);
        foreach (string path in paths)
        {
            int before = documents.TokenCount;
            ReadOne(path, documents, config, shared);
            if (documents.TokenCount == before) throw new TrainingInputException(path, "holds no token to train on or to score: leave the file out");
        }
        return documents;
    }

    private static void ReadOne(string path, DocumentSet documents, GriffinConfig config, Lazy<ITokenizer> tokenizer)
    {
        switch (Path.GetExtension(path).ToLowerInvariant())
        {
            case ".jsonl" or ".ndjson":
                JsonLines.Read(path, documents, config, tokenizer);
                break;
            case ".u16":
                TokenFiles.Read(path, documents, config, TokenFiles.Kind.UInt16);
                break;
            case ".u32":
                TokenFiles.Read(path, documents, config, TokenFiles.Kind.UInt32);
                break;
            case ".npy":
                TokenFiles.Read(path, documents, config, TokenFiles.Kind.Npy);
                break;
            case ".bin":
                throw new TrainingInputException(path, "does not tell the size of its tokens: name it .u16 or .u32");
            default:
                documents.Add(tokenizer.Value.Encode(DataFile.ReadAll(path)), path);
                break;
        }
    }
}
