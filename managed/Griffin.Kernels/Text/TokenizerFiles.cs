using System.Text.Encodings.Web;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Text;

/// <summary>Finds a checkpoint folder's tokenizer.</summary>
public static class TokenizerFiles
{
    private const string ConfigName = "tokenizer_config.json";
    private const string ByteClass = "ByT5Tokenizer";

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
        if (kind == ByteClass)
        {
            return config.Vocabulary >= ByteTokenizer.LeastVocabulary
                ? new ByteTokenizer()
                : throw new CheckpointException(path, $"names a byte tokenizer of {ByteTokenizer.LeastVocabulary} ids, the model has vocab_size {config.Vocabulary}");
        }
        if (vocabularies.FirstOrDefault(name => File.Exists(Path.Combine(folder, name))) is { } vocabulary)
            throw new CheckpointException(Path.Combine(folder, vocabulary), "this tokenizer format is not read yet: give token ids with --tokens");
        throw kind is null
            ? new CheckpointException(folder, $"has no tokenizer ({ConfigName}): give token ids with --tokens")
            : new CheckpointException(path, $"tokenizer_class '{kind}' is not read, only {ByteClass}: give token ids with --tokens");
    }

    /// <summary>Makes a folder name the byte tokenizer.</summary>
    /// <param name="folder">The checkpoint folder.</param>
    /// <param name="vocabulary">The model's vocabulary.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void WriteBytes(string folder, int vocabulary)
    {
        using AtomicFile file = AtomicFile.Create(Path.Combine(folder, ConfigName));
        using (Utf8JsonWriter json = new(file.Stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("tokenizer_class", ByteClass);
            json.WriteString("pad_token", "<pad>");
            json.WriteString("eos_token", "</s>");
            json.WriteString("bos_token", "<bos>");
            json.WriteNumber("extra_ids", vocabulary - ByteTokenizer.LeastVocabulary);
            json.WriteEndObject();
        }
        file.Commit();
    }

    /// <summary>Copies what says which tokenizer a checkpoint has to another folder; nothing where it does not say.</summary>
    /// <param name="from">A checkpoint folder, or a file inside it.</param>
    /// <param name="to">The other folder.</param>
    /// <exception cref="IOException">A file cannot be copied.</exception>
    public static void Copy(string from, string to)
    {
        if (File.Exists(from)) from = Path.GetDirectoryName(Path.GetFullPath(from))!;
        foreach (string name in (string[])[ConfigName, .. vocabularies])
        {
            string path = Path.Combine(from, name);
            if (!File.Exists(path)) continue;
            using FileStream source = File.OpenRead(path);
            using AtomicFile file = AtomicFile.Create(Path.Combine(to, name));
            source.CopyTo(file.Stream);
            file.Commit();
        }
    }

    private static string? ReadClass(string path)
    {
        using JsonDocument document = JsonFile.Parse(JsonFile.ReadBytes(path), path);
        return new JsonKeys(JsonFile.RootObject(document, path), path).OptionalString("tokenizer_class");
    }
}
