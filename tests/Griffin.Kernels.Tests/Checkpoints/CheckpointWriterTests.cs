using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Checkpoints;

internal sealed class CheckpointWriterTests
{
    [Test]
    public void What_is_saved_is_what_was_loaded()
    {
        using TempFolder folder = new();
        using CheckpointReader shipped = CheckpointReader.Open(TestData.AustenTiny);
        CheckpointWriter.Save(shipped, folder.File("copy"));
        using CheckpointReader copy = CheckpointReader.Open(folder.File("copy"));
        Assert.That(copy.Config, Is.EqualTo(shipped.Config));
        AssertSameTensors(Path.Combine(TestData.AustenTiny, "model.safetensors"), [folder.File("copy/model.safetensors")]);
    }

    [Test]
    public void A_native_checkpoint_is_saved_in_the_Hugging_Face_layout()
    {
        using TempFolder native = new(), saved = new();
        GoldenModel.Write(native.Path, keysVisible: 3, native: true);
        using CheckpointReader reader = CheckpointReader.Open(native.Path);
        CheckpointWriter.Save(reader, saved.Path, new CheckpointWriteOptions { Storage = ElementType.Float32 });
        Dictionary<string, TestTensor> tensors = TestSafetensors.Read(saved.File("model.safetensors"));
        Assert.That(tensors.Keys, Is.EquivalentTo(GoldenModel.HuggingFaceTensors.Keys));
        foreach ((string name, TestTensor tensor) in GoldenModel.HuggingFaceTensors)
        {
            Assert.That(tensors[name].Shape, Is.EqualTo(tensor.Shape), name);
            Assert.That(tensors[name].Values, Is.EqualTo(tensor.Values.Select(value => (double)(float)value)), name);
        }
        Assert.That(ConfigFile.Read(saved.File("config.json")).KeysVisible, Is.EqualTo(3));
    }

    [TestCase(1, 112)]
    [TestCase(500_000, 13)]
    [TestCase(6_000_000, 1)]
    public void Shards_keep_to_the_limit_and_read_as_one(long limit, int leastShards)
    {
        using TempFolder folder = new();
        using CheckpointReader shipped = CheckpointReader.Open(TestData.AustenTiny);
        CheckpointWriter.Save(shipped, folder.Path, new CheckpointWriteOptions { ShardBytes = limit });
        string[] files = Directory.GetFiles(folder.Path, "*.safetensors");
        Assert.That(files, Has.Length.GreaterThanOrEqualTo(leastShards).And.Length.LessThan(leastShards + 3));
        Assert.That(File.Exists(folder.File("model.safetensors.index.json")), Is.EqualTo(files.Length > 1));
        foreach (string file in files)
        {
            Dictionary<string, TestTensor> tensors = TestSafetensors.Read(file);
            Assert.That(tensors.Count == 1 || tensors.Values.Sum(tensor => 2L * tensor.Length) <= limit, Is.True, file);
        }
        AssertSameTensors(Path.Combine(TestData.AustenTiny, "model.safetensors"), files);
        using CheckpointReader copy = CheckpointReader.Open(folder.Path);
        foreach (WeightName name in WeightCatalogue.Names(copy.Config))
            Assert.That(ReadWhole(copy, name), Is.EqualTo(ReadWhole(shipped, name)), name.ToString());
    }

    [Test]
    public void Another_checkpoint_is_replaced_only_when_asked_to()
    {
        using TempFolder folder = new();
        GriffinConfig config = Small();
        RandomCheckpoint first = new(config, seed: 1), second = new(config, seed: 2);
        CheckpointWriter.Save(first, folder.Path);
        Assert.That(() => CheckpointWriter.Save(second, folder.Path), Throws.TypeOf<CheckpointException>().With.Message.EqualTo(
            $"{folder.Path}: already holds a checkpoint (model.safetensors): choose another folder or delete it"));
        CheckpointWriter.Save(second, folder.Path, new CheckpointWriteOptions { Overwrite = true, ShardBytes = 2000 });
        Assert.That(File.Exists(folder.File("model.safetensors")), Is.False, "the old single file would hide the new shards");
        using (CheckpointReader reader = CheckpointReader.Open(folder.Path))
            Assert.That(ReadWhole(reader, WeightName.Embedding), Is.EqualTo(ReadWhole(second, WeightName.Embedding)));
        CheckpointWriter.Save(first, folder.Path, new CheckpointWriteOptions { Overwrite = true });
        Assert.That(Directory.GetFiles(folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "model.safetensors", "config.json" }));
    }

    [Test]
    public void A_cancelled_save_leaves_no_part_of_a_file()
    {
        using TempFolder folder = new();
        using CancellationTokenSource cancelled = new();
        Assert.That(
            () => CheckpointWriter.Save(new RandomCheckpoint(Small(), 1), folder.Path, progress: new Tell(_ => cancelled.Cancel()), cancellationToken: cancelled.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void Progress_ends_at_the_whole()
    {
        using TempFolder folder = new();
        List<(long Done, long Total)> reports = [];
        CheckpointWriter.Save(new RandomCheckpoint(Small(), 1), folder.Path, progress: new Tell(reports.Add));
        Assert.That(reports, Is.Ordered.By("Item1"));
        Assert.That(reports[^1], Is.EqualTo((2 * Small().Parameters, 2 * Small().Parameters)));
    }

    [Test]
    public void A_folder_that_cannot_be_made_is_an_IO_error()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("file"), "");
        Assert.Multiple(() =>
        {
            AssertRefused(folder.File("file"), "it is no folder");
            AssertRefused(folder.File("file/inside"), "the folder cannot be made");
            if (OperatingSystem.IsLinux()) AssertRefused("/proc/no-such-entry", "the folder cannot be made");
        });

        static void AssertRefused(string path, string reason) => Assert.That(
            () => CheckpointWriter.Save(new RandomCheckpoint(Small(), 1), path),
            Throws.InstanceOf<IOException>().With.Message.EqualTo($"{path}: cannot be written, {reason}"));
    }

    private static GriffinConfig Small() => new() { Vocabulary = 11, Width = 24, Layers = 3, Heads = 2, MlpWidth = 40, RnnWidth = 20 };

    private static byte[] ReadWhole(ICheckpointSource source, WeightName name)
    {
        byte[] bytes = Poison.Bytes(2 * (int)WeightCatalogue.ElementsOf(source.Config, name.Kind));
        source.Read(name, ElementType.BFloat16, bytes);
        return bytes;
    }

    private static void AssertSameTensors(string expectedFile, string[] actualFiles)
    {
        Dictionary<string, TestTensor> expected = TestSafetensors.Read(expectedFile);
        Dictionary<string, TestTensor> actual = actualFiles.SelectMany(TestSafetensors.Read).ToDictionary(StringComparer.Ordinal);
        Assert.That(actual.Keys, Is.EquivalentTo(expected.Keys));
        foreach ((string name, TestTensor tensor) in expected)
        {
            Assert.That(actual[name].Shape, Is.EqualTo(tensor.Shape), name);
            Assert.That(actual[name].Values.AsSpan().SequenceEqual(tensor.Values), Is.True, name);
        }
    }

    private sealed class Tell(Action<(long Done, long Total)> action) : IProgress<(long Done, long Total)>
    {
        public void Report((long Done, long Total) value) => action(value);
    }
}
