namespace Griffin.Kernels.Text;

/// <summary>Text to token ids and back. A begin-of-sequence token is the caller's to add.</summary>
public interface ITokenizer
{
    /// <summary>The token ids of a text.</summary>
    int[] Encode(string text);

    /// <summary>The token ids of a text in UTF-8; bytes that are no valid UTF-8 are kept where the tokenizer can.</summary>
    int[] Encode(ReadOnlySpan<byte> utf8);

    /// <summary>Makes a decoder for one stream of tokens.</summary>
    ITokenDecoder CreateDecoder();
}

/// <summary>Turns a stream of tokens into text, piece by piece, never showing half a character.</summary>
public interface ITokenDecoder
{
    /// <summary>The text that became certain with this token; empty while a character is incomplete, and for special tokens.</summary>
    string Append(int token);

    /// <summary>The rest at the end of the stream: a replacement character when it ended inside a character.</summary>
    string Finish();
}

/// <summary>Whole-sequence decoding.</summary>
public static class Tokenizers
{
    /// <summary>The text of a token sequence.</summary>
    public static string Decode(this ITokenizer tokenizer, ReadOnlySpan<int> tokens)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ITokenDecoder decoder = tokenizer.CreateDecoder();
        System.Text.StringBuilder text = new();
        foreach (int token in tokens) text.Append(decoder.Append(token));
        return text.Append(decoder.Finish()).ToString();
    }
}
