using System.Text;

namespace Griffin.Kernels.Text;

/// <summary>
/// Bytes of UTF-8 as tokens, in the ByT5 convention: id = byte + 3. Ids 0 to 2 are special, as are those from 259 on; they have no text.
/// </summary>
public sealed class ByteTokenizer : ITokenizer
{
    /// <summary>The id of byte 0.</summary>
    public const int FirstByte = 3;

    /// <summary>Ids that a model must have at least: three special ones and the bytes.</summary>
    public const int LeastVocabulary = FirstByte + 256;

    /// <inheritdoc/>
    public int[] Encode(string text) => Encode(Encoding.UTF8.GetBytes(text));

    /// <inheritdoc/>
    public int[] Encode(ReadOnlySpan<byte> utf8)
    {
        int[] tokens = new int[utf8.Length];
        for (int i = 0; i < tokens.Length; i++) tokens[i] = utf8[i] + FirstByte;
        return tokens;
    }

    /// <inheritdoc/>
    public ITokenDecoder CreateDecoder() => new ByteDecoder();

    private sealed class ByteDecoder : ITokenDecoder
    {
        private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();

        public string Append(int token) =>
            token is >= FirstByte and < LeastVocabulary ? Decode([(byte)(token - FirstByte)], flush: false) : "";

        public string Finish() => Decode([], flush: true);

        private string Decode(ReadOnlySpan<byte> bytes, bool flush)
        {
            // One byte completes at most a surrogate pair, or a replacement character and what follows it.
            Span<char> characters = stackalloc char[4];
            return new string(characters[.._decoder.GetChars(bytes, characters, flush)]);
        }
    }
}
