using System.Globalization;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;
using Griffin.Kernels.Training.Data;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>Text as bytes, the last tenth of every document held out.</summary>
internal sealed class TextData
{
    /// <summary>Rows of the embedding table: bytes and special tokens.</summary>
    internal const int Vocabulary = 384;

    private const int HeldOutPart = 10;

    /// <param name="paths">The files.</param>
    /// <param name="config">A model of the experiment.</param>
    /// <exception cref="TrainingInputException">A file is of no use, or there is too little text to hold any out.</exception>
    internal TextData(ValueList<string> paths, GriffinConfig config)
    {
        DocumentSet all = DocumentFiles.Read(paths, config, static () => new ByteTokenizer());
        Training = new DocumentSet(all.Name, config.Vocabulary);
        HeldOut = new DocumentSet(all.Name, config.Vocabulary);
        using SourceDigest digest = new("text, a tenth held out 1");
        for (int document = 0; document < all.Count; document++)
        {
            ReadOnlySpan<int> tokens = all[document];
            int cut = tokens.Length - tokens.Length / HeldOutPart;
            Training.Add(tokens[..cut], all.Name);
            HeldOut.Add(tokens[cut..], all.Name);
            digest.Add("document", tokens);
        }
        if (HeldOut.Count == 0) throw new TrainingInputException(all.Name, $"holds no document of {HeldOutPart} tokens or more, of which a tenth could be held out: give more text");
        Identity = digest.Finish();
    }

    /// <summary>What is trained on.</summary>
    internal DocumentSet Training { get; }

    /// <summary>What is scored.</summary>
    internal DocumentSet HeldOut { get; }

    /// <summary>Digest of the text.</summary>
    internal string Identity { get; }

    /// <summary>The text in words.</summary>
    internal string Description => string.Create(
        CultureInfo.InvariantCulture, $"bytes of the given text: {Training.TokenCount:N0} to train on, {HeldOut.TokenCount:N0} held out (the last tenth of each document)");

    /// <summary>A Griffin over bytes in the paper's manner.</summary>
    internal static GriffinConfig Model(int width, int layers, int heads, int window) => new()
    {
        Vocabulary = Vocabulary,
        Width = width,
        Layers = layers,
        Heads = heads,
        MlpWidth = 3 * width,
        Window = window,
        LogitsSoftCap = 0,
        EmbeddingScaleRule = EmbeddingScaleRule.None,
    };

    /// <summary>A published size over bytes.</summary>
    internal static GriffinConfig Preset(string size) => GriffinPresets.Get($"griffin-{size}") with { Vocabulary = Vocabulary };
}
