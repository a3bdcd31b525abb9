using System.Text;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Data;

namespace Griffin.Kernels.Tests.Training;

internal sealed class DocumentFilesTests
{
    private static readonly GriffinConfig config = new GriffinConfig { Vocabulary = 384, Width = 8, Layers = 1, Heads = 1, MlpWidth = 8, EosTokens = [1, 380] }.Validate();

    [Test]
    public void A_text_file_is_one_document_of_bytes() =>
        Assert.That(Read("a.txt", "Aé\n"u8), Is.EqualTo(new[] { new[] { 68, 198, 172, 13 } }));

    [Test]
    public void JSON_lines_hold_texts_and_tokens() =>
        Assert.That(
            Read("a.jsonl", Encoding.UTF8.GetBytes("{\"id\": 3, \"text\": \"A\\u00e9\"}\n\n  \n{\"tokens\": [2, 5, 1, 6, 1]}\r\n{\"tokens\": [2, 1]}\n{\"text\": \"\"}\n{\"tokens\": [7]}")),
            Is.EqualTo(new[] { new[] { 68, 198, 172 }, [5, 1, 6], [7] }));

    [TestCase("a.u16", 2)]
    [TestCase("a.u32", 4)]
    [TestCase("A.U16", 2)]
    public void Raw_tokens_are_split_behind_each_EOS(string name, int size) =>
        Assert.That(Read(name, [.. new[] { 2, 5, 6, 1, 1, 7, 380, 2, 2, 8 }.SelectMany(token => BitConverter.GetBytes(token).Take(size))]), Is.EqualTo(new[] { new[] { 5, 6 }, [7], [2, 8] }));

    [Test]
    public void NumPy_tokens_are_read()
    {
        byte[] header = Encoding.ASCII.GetBytes("{'descr': '<u2', 'fortran_order': False, 'shape': (3,), }\n");
        Assert.That(Read("a.npy", [0x93, .. "NUMPY"u8, 1, 0, .. BitConverter.GetBytes((ushort)header.Length), .. header, 5, 0, 44, 1, 1, 0]), Is.EqualTo(new[] { new[] { 5, 300 } }));
    }

    [Test]
    public void Files_follow_one_another_and_one_tokenizer_serves_them()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("b.txt"), "B");
        File.WriteAllText(folder.File("a.txt"), "A");
        int made = 0;
        DocumentSet documents = DocumentFiles.Read([folder.File("b.txt"), folder.File("a.txt")], config, () =>
        {
            made++;
            return new ByteTokenizer();
        });
        Assert.That(All(documents), Is.EqualTo(new[] { new[] { 69 }, [68] }));
        Assert.That((made, documents.TokenCount), Is.EqualTo((1, 2)));
    }

    [TestCase("a.txt", "", "{0}: holds no token to train on or to score: leave the file out")]
    [TestCase("a.jsonl", "\n{\"text\": \"\"}\n", "{0}: holds no token to train on or to score: leave the file out")]
    [TestCase("a.u16", "", "{0}: holds no token to train on or to score: leave the file out")]
    [TestCase("a.u16", "abc", "{0}: has 3 bytes, which are no whole number of 2-byte tokens: truncated, or of another size")]
    [TestCase("a.u16", "aa", "{0}: token 24929 at index 0 is outside the vocabulary, 0 to 383: the data is for another model")]
    [TestCase("a.u32", "abcd", "{0}: token 1684234849 at index 0 is outside the vocabulary, 0 to 383: the data is for another model")]
    [TestCase("a.npy", "abcd", "{0}: is no NumPy .npy file")]
    [TestCase("a.bin", "abcd", "{0}: does not tell the size of its tokens: name it .u16 or .u32")]
    [TestCase("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \n", "{0} line 2: is not valid JSON near byte 9: mend or remove the line")]
    [TestCase("a.jsonl", "[1]", "{0} line 1: is no JSON object: {{\"text\": …}} or {{\"tokens\": […]}} is needed")]
    [TestCase("a.jsonl", "{\"body\": \"a\"}", "{0} line 1: has neither \"text\" nor \"tokens\": one of them is needed")]
    [TestCase("a.jsonl", "{\"text\": \"a\", \"tokens\": []}", "{0} line 1: has both \"text\" and \"tokens\": one of them is needed")]
    [TestCase("a.jsonl", "{\"text\": 3}", "{0} line 1: \"text\" is no string")]
    [TestCase("a.jsonl", "{\"tokens\": 3}", "{0} line 1: \"tokens\" is no list")]
    [TestCase("a.jsonl", "{\"tokens\": [3, 4.5]}", "{0} line 1: element 1 of \"tokens\" is no token id")]
    [TestCase("a.jsonl", "{\"tokens\": [3]}\n{\"tokens\": [3, 384]}", "{0} line 2: token 384 at index 1 is outside the vocabulary, 0 to 383: the data is for another model")]
    [TestCase("a.jsonl", "{\"tokens\": [-1]}", "{0} line 1: token -1 at index 0 is outside the vocabulary, 0 to 383: the data is for another model")]
    public void Each_mistake_has_its_line(string name, string content, string line)
    {
        using TempFolder folder = new();
        string path = folder.File(name);
        File.WriteAllText(path, content);
        TrainingInputException error = Assert.Throws<TrainingInputException>(() => Load(path))!;
        Assert.That(error.Message, Is.EqualTo(string.Format(null, line, path)));
    }

    [Test]
    public void Missing_files_and_folders_have_their_line()
    {
        using TempFolder folder = new();
        Assert.That(() => Load("/nowhere/a.txt"), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo("/nowhere/a.txt: no such file"));
        Assert.That(() => Load("/nowhere/a.jsonl"), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo("/nowhere/a.jsonl: no such file"));
        Assert.That(() => Load(folder.Path), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo($"{folder.Path}: is a folder: name the files in it"));
    }

    [Test]
    public void Text_without_a_tokenizer_needs_room_for_bytes()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("a.txt"), "abc");
        TrainingRecipe recipe = new() { Data = [folder.File("a.txt")], Context = 2, Rows = 1 };
        Assert.That(() => new RecipeData(recipe, config with { Vocabulary = 258 }), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo(
            $"{folder.File("a.txt")}: is text: without a tokenizer its bytes are the tokens, which needs a vocab_size of 259 or more, not 258"));
        RecipeData data = new(recipe, config);
        Assert.That((data.Training.TokensOfEpoch, data.HeldOut), Is.EqualTo((4L, (HeldOutPieces?)null)));
        Assert.That(new RecipeData(recipe with { Validation = [folder.File("a.txt")], ValidationTokens = 2 }, config).HeldOut!.Tokens, Is.EqualTo(2));
    }

    [Test]
    public void A_recipe_without_files_has_its_line() =>
        Assert.That(() => new RecipeData(new TrainingRecipe(), config), Throws.ArgumentException.With.Message.StartsWith("data is missing: name at least one file to train on"));

    [Test]
    public void The_tokenizer_of_the_data_goes_beside_the_model()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("a.txt"), "abc");
        File.WriteAllBytes(folder.File("a.u16"), [5, 0, 6, 0]);
        TrainingRecipe recipe = new() { Data = [folder.File("a.txt")], Context = 2, Rows = 1 };
        string shipped = File.ReadAllText(Path.Combine(TestData.AustenTiny, "tokenizer_config.json"));
        string? Written(TrainingRecipe of)
        {
            string to = Directory.CreateDirectory(folder.File($"{Guid.NewGuid()}")).FullName;
            new RecipeData(of, config).WriteTokenizer(to);
            if (!File.Exists(Path.Combine(to, "tokenizer_config.json"))) return null;
            Assert.That(TokenizerFiles.Load(to, config), Is.TypeOf<ByteTokenizer>());
            return File.ReadAllText(Path.Combine(to, "tokenizer_config.json"));
        }

        Assert.Multiple(() =>
        {
            Assert.That(Written(recipe with { Tokenizer = TestData.AustenTiny }), Is.EqualTo(shipped));
            Assert.That(Written(recipe with { InitFrom = Path.Combine(TestData.AustenTiny, "model.safetensors") }), Is.EqualTo(shipped));
            Assert.That(System.Text.Json.Nodes.JsonNode.DeepEquals(System.Text.Json.Nodes.JsonNode.Parse(Written(recipe)!), System.Text.Json.Nodes.JsonNode.Parse(shipped)), Is.True);
            Assert.That(Written(recipe with { Data = [folder.File("a.u16")] }), Is.Null, "ids of another tokenizer's making");
        });
    }

    private static DocumentSet Load(string path) => DocumentFiles.Read([path], config, () => new ByteTokenizer());

    private static int[][] Read(string name, ReadOnlySpan<byte> content)
    {
        using TempFolder folder = new();
        File.WriteAllBytes(folder.File(name), content);
        return All(Load(folder.File(name)));
    }

    private static int[][] All(DocumentSet documents) => [.. Enumerable.Range(0, documents.Count).Select(document => documents[document].ToArray())];
}
