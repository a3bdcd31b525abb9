using System.Text;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Tests.Text;

internal sealed class ByteTokenizerTests
{
    private static readonly ByteTokenizer tokenizer = new();

    [Test]
    public void An_id_is_the_byte_plus_three() =>
        Assert.That(tokenizer.Encode("A é"), Is.EqualTo(new[] { 0x41 + 3, 0x20 + 3, 0xC3 + 3, 0xA9 + 3 }));

    [Test]
    public void Nothing_encodes_to_nothing() => Assert.That(tokenizer.Encode(""), Is.Empty);

    [TestCase("plain")]
    [TestCase("naïve — 漢字 — 😀😀 mixed\n\t")]
    [TestCase("")]
    public void Text_survives(string text) => Assert.That(tokenizer.Decode(tokenizer.Encode(text)), Is.EqualTo(text));

    [Test]
    public void A_character_appears_with_its_last_byte_only()
    {
        ITokenDecoder decoder = tokenizer.CreateDecoder();
        string[] pieces = [.. tokenizer.Encode("é😀").Select(decoder.Append)];
        Assert.That(pieces, Is.EqualTo(new[] { "", "é", "", "", "", "😀" }));
        Assert.That(decoder.Finish(), Is.Empty);
    }

    [Test]
    public void Broken_sequences_become_replacement_characters()
    {
        ITokenDecoder decoder = tokenizer.CreateDecoder();
        string text = decoder.Append(0xF0 + 3) + decoder.Append(0x9F + 3) + decoder.Append('A' + 3) + decoder.Append(0xFF + 3) + decoder.Append(0xC3 + 3);
        Assert.That(text, Is.EqualTo("\uFFFDA\uFFFD"));
        Assert.That(decoder.Finish(), Is.EqualTo("\uFFFD"));
    }

    [Test]
    public void Every_pair_of_bytes_decodes_as_the_framework_does()
    {
        Span<byte> bytes = stackalloc byte[2];
        for (int pair = 0; pair < 65536; pair++)
        {
            (bytes[0], bytes[1]) = ((byte)pair, (byte)(pair >> 8));
            Assert.That(tokenizer.Decode([bytes[0] + 3, bytes[1] + 3]), Is.EqualTo(Encoding.UTF8.GetString(bytes)));
        }
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(259)]
    [TestCase(383)]
    public void Special_ids_have_no_text(int token) => Assert.That(tokenizer.Decode(['a' + 3, token, 'b' + 3]), Is.EqualTo("ab"));

    [Test]
    public void The_shipped_models_tokenizer_is_found()
    {
        GriffinConfig config = ConfigFile.Read(Path.Combine(TestData.AustenTiny, "config.json"));
        Assert.That(TokenizerFiles.Load(TestData.AustenTiny, config), Is.TypeOf<ByteTokenizer>());
        Assert.That(TokenizerFiles.Load(Path.Combine(TestData.AustenTiny, "model.safetensors"), config), Is.TypeOf<ByteTokenizer>());
    }

    [TestCase(null, null, "{0}: has no tokenizer (tokenizer_config.json): give token ids with --tokens")]
    [TestCase("""{"tokenizer_class": "GemmaTokenizer"}""", "tokenizer.json", "{0}/tokenizer.json: this tokenizer format is not read yet: give token ids with --tokens")]
    [TestCase(null, "tokenizer.model", "{0}/tokenizer.model: this tokenizer format is not read yet: give token ids with --tokens")]
    [TestCase("""{"tokenizer_class": "GemmaTokenizer"}""", null, "{0}/tokenizer_config.json: tokenizer_class 'GemmaTokenizer' is not read, only ByT5Tokenizer: give token ids with --tokens")]
    [TestCase("""{"tokenizer_class": "ByT5Tokenizer"}""", null, "{0}/tokenizer_config.json: names a byte tokenizer of 259 ids, the model has vocab_size 11")]
    public void Each_missing_tokenizer_has_its_line(string? config, string? vocabulary, string line)
    {
        using TempFolder folder = new();
        if (config is not null) File.WriteAllText(folder.File("tokenizer_config.json"), config);
        if (vocabulary is not null) File.WriteAllText(folder.File(vocabulary), "{}");
        GriffinConfig model = new() { Vocabulary = 11, Width = 24, Layers = 4, Heads = 2, MlpWidth = 40 };
        string expected = line.Replace("{0}", folder.Path, StringComparison.Ordinal).Replace('/', Path.DirectorySeparatorChar);
        Assert.That(() => TokenizerFiles.Load(folder.Path, model), Throws.TypeOf<CheckpointException>().With.Message.EqualTo(expected));
    }
}
