using System.Runtime.InteropServices;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Checkpoints;

/// <summary>Both layouts, shards and types give the same weights; every disagreement with the configuration is refused in one line.</summary>
internal sealed class CheckpointReaderTests
{
    private const string Gate0 = "model.layers.0.mlp_block.gate_proj.weight";

    [Test]
    public void A_Hugging_Face_file_gives_every_weight()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        using CheckpointReader reader = CheckpointReader.Open(folder.Path);
        Assert.That(reader.StoredType, Is.EqualTo(ElementType.Float32));
        AssertGolden(reader);
    }

    [Test]
    public void A_native_file_gives_the_same_weights()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path, native: true);
        using CheckpointReader reader = CheckpointReader.Open(folder.Path);
        AssertGolden(reader);
    }

    [Test]
    public void A_native_file_needs_no_configuration_beside_it()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path, native: true);
        GriffinConfig config = ConfigFile.Read(folder.File("config.json"));
        File.Delete(folder.File("config.json"));
        using CheckpointReader reader = CheckpointReader.Open(folder.File("model.safetensors"), config);
        AssertGolden(reader);
    }

    [Test]
    public void Rows_of_a_native_embedding_beyond_the_vocabulary_are_dropped()
    {
        using TempFolder folder = new();
        SortedDictionary<string, TestTensor> tensors = new(GoldenModel.NativeTensors, StringComparer.Ordinal);
        TestTensor table = tensors["embedder.input_embedding"];
        tensors["embedder.input_embedding"] = new TestTensor([13, 24], [.. table.Values, .. new double[2 * 24]]);
        using CheckpointReader reader = Open(folder, tensors);
        AssertGolden(reader);
    }

    [Test]
    public void A_native_embedding_with_too_few_rows_is_refused()
    {
        using TempFolder folder = new();
        SortedDictionary<string, TestTensor> tensors = new(GoldenModel.NativeTensors, StringComparer.Ordinal);
        tensors["embedder.input_embedding"] = new TestTensor([10, 24], new double[240]);
        AssertRefused(folder, tensors, "tensor 'embedder.input_embedding' has shape [10, 24], the configuration asks for [11, 24] = [vocab_size, hidden_size]");
    }

    [TestCase(1)]
    [TestCase(7)]
    [TestCase(23)]
    [TestCase(100)]
    public void Pieces_of_any_size_make_the_whole(int pieceElements)
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path, native: true);
        using CheckpointReader reader = CheckpointReader.Open(folder.Path);
        foreach (WeightName name in WeightCatalogue.Names(reader.Config))
        {
            byte[] whole = ReadWhole(reader, name, ElementType.BFloat16);
            byte[] pieces = Poison.Bytes(whole.Length);
            for (int first = 0; first < whole.Length / 2; first += pieceElements)
                reader.Read(name, ElementType.BFloat16, first, pieces.AsSpan(2 * first, Math.Min(2 * pieceElements, whole.Length - 2 * first)));
            Assert.That(pieces, Is.EqualTo(whole), name.ToString());
        }
    }

    [Test]
    public void Both_files_of_an_oracle_hold_the_same_weights()
    {
        GriffinConfig config = ConfigFile.Read(TestData.Path("oracle/wide-rnn/config.json"));
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = TestSafetensors.Read(TestData.Path("oracle/wide-rnn/model.safetensors"));
        TestSafetensors.Write(folder.File("model.safetensors"), tensors, bf16: true);
        using CheckpointReader floats = CheckpointReader.Open(TestData.Path("oracle/wide-rnn"));
        using CheckpointReader brains = CheckpointReader.Open(folder.Path, config);
        foreach (WeightName name in WeightCatalogue.Names(config))
        {
            Assert.That(ReadWhole(brains, name, ElementType.Float32), Is.EqualTo(ReadWhole(floats, name, ElementType.Float32)), name.ToString());
            Assert.That(ReadWhole(floats, name, ElementType.BFloat16), Is.EqualTo(ReadWhole(brains, name, ElementType.BFloat16)), name.ToString());
        }
    }

    [Test]
    public void Shards_are_one_checkpoint()
    {
        using TempFolder folder = new();
        WriteShards(folder, GoldenModel.HuggingFaceTensors);
        using CheckpointReader reader = CheckpointReader.Open(folder.Path);
        AssertGolden(reader);
    }

    [Test]
    public void An_equal_output_head_is_accepted_and_another_refused()
    {
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = new(GoldenModel.HuggingFaceTensors, StringComparer.Ordinal);
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
        using (CheckpointReader reader = Open(folder, tensors)) AssertGolden(reader);

        double[] other = [.. tensors["lm_head.weight"].Values];
        other[(3 * 24) + 5] += 0.25;
        tensors["lm_head.weight"] = new TestTensor([11, 24], other);
        using CheckpointReader untied = Open(folder, tensors);
        Assert.That(() => ReadWhole(untied, WeightName.Embedding, ElementType.BFloat16), Throws.TypeOf<CheckpointException>().With.Message.EqualTo(
            $"{folder.File("model.safetensors")}: 'lm_head.weight' differs from 'model.embed_tokens.weight' in row 3: the output head of this family is the embedding table"));
    }

    [Test]
    public void Buffers_that_are_computed_anew_are_ignored()
    {
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = new(GoldenModel.HuggingFaceTensors, StringComparer.Ordinal)
        {
            ["model.layers.2.temporal_block.rotary_emb.inv_freq"] = new TestTensor([3], new double[3]),
            ["model.normalizer"] = new TestTensor([1], new double[1]),
        };
        using CheckpointReader reader = Open(folder, tensors);
        AssertGolden(reader);
    }

    [Test]
    public void A_wrong_shape_has_its_line()
    {
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = new(GoldenModel.HuggingFaceTensors, StringComparer.Ordinal);
        tensors[Gate0] = tensors[Gate0].Transpose();
        AssertRefused(folder, tensors, $"tensor '{Gate0}' has shape [24, 40], the configuration asks for [40, 24] = [intermediate_size / 2, hidden_size]");
        tensors[Gate0] = new TestTensor([960], new double[960]);
        AssertRefused(folder, tensors, $"tensor '{Gate0}' has shape [960], the configuration asks for [40, 24] = [intermediate_size / 2, hidden_size]");
    }

    [Test]
    public void Missing_tensors_have_their_line()
    {
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = new(GoldenModel.HuggingFaceTensors, StringComparer.Ordinal);
        tensors.Remove("model.final_norm.weight");
        AssertRefused(folder, tensors, "lacks tensor 'model.final_norm.weight'");
        foreach (string name in GoldenModel.HuggingFaceTensors.Keys.Where(name => name.EndsWith("bias", StringComparison.Ordinal))) tensors.Remove(name);
        AssertRefused(folder, tensors,
            "lacks tensors 'model.layers.0.temporal_block.linear_x.bias', 'model.layers.0.temporal_block.linear_y.bias', 'model.layers.0.temporal_block.conv_1d.bias' and 29 more");
    }

    [Test]
    public void A_file_of_another_kind_of_model_has_its_line()
    {
        using TempFolder folder = new();
        AssertRefused(folder, [new("transformer.wte.weight", new TestTensor([2], [1, 2]))],
            "holds neither 'model.embed_tokens.weight' nor 'embedder.input_embedding': no checkpoint of this family, or damaged");
    }

    [Test]
    public void A_layer_too_many_has_its_line()
    {
        using TempFolder folder = new();
        Dictionary<string, TestTensor> tensors = new(GoldenModel.HuggingFaceTensors, StringComparer.Ordinal) { ["model.layers.4.temporal_pre_norm.weight"] = new([24], new double[24]) };
        AssertRefused(folder, tensors,
            "holds tensor 'model.layers.4.temporal_pre_norm.weight', for which the configuration has no place: check num_hidden_layers and block_types");
    }

    [Test]
    public void A_wrong_type_has_its_line()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        string path = folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf("\"F32\""u8);
        "\"I32\""u8.CopyTo(bytes.AsSpan(at));
        File.WriteAllBytes(path, bytes);
        Assert.That(() => CheckpointReader.Open(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo(
            $"{path}: tensor 'model.layers.0.channel_pre_norm.weight' has dtype I32: weights are read from BF16, F16 or F32"));
    }

    [Test]
    public void Folders_without_a_checkpoint_have_their_lines()
    {
        using TempFolder folder = new();
        Assert.That(() => CheckpointReader.Open("/nowhere"), Refused("/nowhere: no such folder or file"));
        Assert.That(() => CheckpointReader.Open(folder.Path), Refused($"{folder.File("config.json")}: no such file: a checkpoint needs a config.json beside it, or a preset's name"));
        File.WriteAllText(folder.File("config.json"), GoldenModel.Config());
        Assert.That(() => CheckpointReader.Open(folder.Path), Refused($"{folder.Path}: holds neither model.safetensors nor model.safetensors.index.json"));
        TestSafetensors.Write(folder.File("a.safetensors"), GoldenModel.HuggingFaceTensors);
        CheckpointReader.Open(folder.Path).Dispose();
        TestSafetensors.Write(folder.File("b.safetensors"), GoldenModel.HuggingFaceTensors);
        Assert.That(() => CheckpointReader.Open(folder.Path), Refused($"{folder.Path}: holds 2 safetensors files but neither model.safetensors nor model.safetensors.index.json: name one file"));
        CheckpointReader.Open(folder.File("b.safetensors")).Dispose();
    }

    [Test]
    public void Each_lie_of_an_index_has_its_line()
    {
        using TempFolder folder = new();
        WriteShards(folder, GoldenModel.HuggingFaceTensors);
        string path = folder.File("model.safetensors.index.json");
        string index = File.ReadAllText(path);
        (string Text, string Line)[] lies =
        [
            ("{}", $"{path}: has no weight_map object"),
            ("""{"weight_map": {"x": "../model.safetensors"}}""", $"{path}: weight_map puts 'x' in \"../model.safetensors\": a file name beside the index is needed"),
            ("""{"weight_map": {"x": 3}}""", $"{path}: weight_map puts 'x' in 3: a file name beside the index is needed"),
            ("""{"weight_map": {"x": "gone.safetensors"}}""", $"{folder.File("gone.safetensors")}: no such file"),
            ("""{"weight_map": {"x": "model-00001-of-00002.safetensors"}}""", $"{folder.File("model-00001-of-00002.safetensors")}: lacks tensor 'x', which model.safetensors.index.json says is here"),
        ];
        Assert.Multiple(() =>
        {
            foreach ((string text, string line) in lies)
            {
                File.WriteAllText(path, text);
                Assert.That(() => CheckpointReader.Open(folder.Path), Refused(line));
            }
            File.WriteAllText(path, index[..^20]);
            Assert.That(() => CheckpointReader.Open(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.StartsWith($"{path}: is not valid JSON (line "));
            File.WriteAllText(path, index);
            File.Copy(folder.File("model-00001-of-00002.safetensors"), folder.File("model-00002-of-00002.safetensors"), overwrite: true);
            Assert.That(() => CheckpointReader.Open(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("' is also in "));
        });
    }

    [Test]
    public void Reads_outside_a_tensor_are_refused()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        using CheckpointReader reader = CheckpointReader.Open(folder.Path);
        byte[] bytes = new byte[96];
        WeightName norm = WeightName.FinalNorm;
        Assert.Multiple(() =>
        {
            Assert.That(() => reader.Read(norm, ElementType.Float32, 0, bytes), Throws.Nothing);
            Assert.That(() => reader.Read(norm, ElementType.Float32, 24, []), Throws.Nothing);
            Assert.That(() => reader.Read(norm, ElementType.Float32, 1, bytes), Throws.ArgumentException);
            Assert.That(() => reader.Read(norm, ElementType.Float32, -1, bytes), Throws.ArgumentException);
            Assert.That(() => reader.Read(norm, ElementType.Float32, 0, bytes.AsSpan(0, 95)), Throws.ArgumentException);
            Assert.That(() => reader.Read(norm, ElementType.BFloat16, bytes), Throws.ArgumentException);
            Assert.That(() => reader.Read(norm, ElementType.Int32, 0, bytes), Throws.ArgumentException);
            Assert.That(() => reader.Read(new WeightName(2, WeightKind.Lambda), ElementType.Float32, 0, bytes), Throws.ArgumentException);
        });
    }

    private static void AssertGolden(CheckpointReader reader)
    {
        // The reference's names and orientations are the tests' own; only the conv's middle axis of one is not in a weight's shape.
        Assert.Multiple(() =>
        {
            List<string> seen = [];
            foreach (WeightName name in WeightCatalogue.Names(reader.Config))
            {
                string tensor = CheckpointLayout.HuggingFace.Locate(reader.Config, name).Tensor;
                seen.Add(tensor);
                float[] values = MemoryMarshal.Cast<byte, float>(ReadWhole(reader, name, ElementType.Float32)).ToArray();
                Assert.That(values, Is.EqualTo(GoldenModel.HuggingFaceTensors[tensor].Values.Select(value => (float)value)), name.ToString());
                ushort[] rounded = MemoryMarshal.Cast<byte, ushort>(ReadWhole(reader, name, ElementType.BFloat16)).ToArray();
                Assert.That(rounded, Is.EqualTo(values.Select(value => ((BFloat16)value).Bits)), name.ToString());
            }
            Assert.That(seen, Is.EquivalentTo(GoldenModel.HuggingFaceTensors.Keys));
        });
    }

    private static byte[] ReadWhole(CheckpointReader source, WeightName name, ElementType type)
    {
        byte[] bytes = Poison.Bytes((int)WeightCatalogue.ElementsOf(source.Config, name.Kind) * type.SizeOf());
        source.Read(name, type, bytes);
        return bytes;
    }

    private static CheckpointReader Open(TempFolder folder, IEnumerable<KeyValuePair<string, TestTensor>> tensors)
    {
        File.WriteAllText(folder.File("config.json"), GoldenModel.Config());
        TestSafetensors.Write(folder.File("model.safetensors"), tensors);
        return CheckpointReader.Open(folder.Path);
    }

    private static void AssertRefused(TempFolder folder, IEnumerable<KeyValuePair<string, TestTensor>> tensors, string line) =>
        Assert.That(() => Open(folder, tensors), Refused($"{folder.File("model.safetensors")}: {line}"));

    private static NUnit.Framework.Constraints.EqualStringConstraint Refused(string line) => Throws.TypeOf<CheckpointException>().With.Message.EqualTo(line);

    private static void WriteShards(TempFolder folder, Dictionary<string, TestTensor> tensors)
    {
        File.WriteAllText(folder.File("config.json"), GoldenModel.Config());
        string[] names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        Dictionary<string, string> map = [];
        int index = 0;
        foreach (string tensor in tensors.Keys) map.Add(tensor, names[index++ % 2]);
        foreach (string name in names) TestSafetensors.Write(folder.File(name), tensors.Where(tensor => map[tensor.Key] == name));
        File.WriteAllText(folder.File("model.safetensors.index.json"), JsonSerializer.Serialize(new { weight_map = map }));
    }
}
