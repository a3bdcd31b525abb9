using Griffin.Bench.Rows;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class RowListTests
{
    private static RowList Load(BenchScale scale) => RowList.Load(RowList.DefaultPath, scale);

    [TestCase("2b", "recurrentgemma-2b")]
    [TestCase("9b", "recurrentgemma-9b")]
    public void ModelsAreThePresets(string model, string preset) => Assert.That(Load(BenchScale.Full).Models[model], Is.EqualTo(GriffinPresets.Get(preset).Validate()));

    [TestCase("griffin")]
    [TestCase("hawk")]
    [TestCase("mqa")]
    public void ThePapersModelsDifferFromThePresetsInVocabularyAlone(string family)
    {
        var preset = GriffinPresets.Get($"{family}-1b") with { Vocabulary = 32000 };
        var model = Load(BenchScale.Full).Models[$"1.3b-{family}"];
        Assert.That(model with { EmbeddingScaleRule = preset.EmbeddingScaleRule }, Is.EqualTo(preset.Validate()));
    }

    [Test]
    public void CeilingsComeFirstThenPriorities()
    {
        var rows = Load(BenchScale.Full).Rows;
        Assert.That(rows.TakeWhile(row => row.IsCeiling).Select(row => row.Id), Is.EquivalentTo(new[] { "ceiling.copy", "ceiling.read", "ceiling.matmul" }));
        Assert.That(rows.Select(row => row.Priority), Is.Ordered);
        Assert.That(rows.Select(row => row.Id), Is.Unique);
    }

    [Test]
    public void TinyCutsEverySizeAndKeepsTheIds()
    {
        var (full, tiny) = (Load(BenchScale.Full), Load(BenchScale.Tiny));
        Assert.That(tiny.Rows.Select(row => row.Id), Is.EqualTo(full.Rows.Select(row => row.Id)));
        foreach (var row in tiny.Rows)
            Assert.That(row.Sizes.Values, Has.All.LessThanOrEqualTo(1 << 20), row.Id);
        Assert.That(tiny.Models.Values.Select(model => model.Parameters), Has.All.LessThan(1_000_000));
    }

    [Test]
    public void InputsOfAPassWinOverThoseOfTheOp()
    {
        var rows = Load(BenchScale.Full);
        Assert.That(rows.InputsOf(rows.Matching(@"^rms_norm\.backward/")[0]), Is.EqualTo(new[] { "x", "scale", "dy" }));
        Assert.That(rows.InputsOf(rows.Matching(@"^rms_norm\.forward/")[0]), Is.EqualTo(new[] { "x", "scale" }));
    }

    [Test]
    public void AListThatIsNoneIsRefusedByName()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "rows.json");
        File.WriteAllText(path, """{"rows": [{"id": "a"}]}""");
        Assert.That(() => RowList.Load(path, BenchScale.Full), Throws.TypeOf<InvalidDataException>().With.Message.Contains("rows.json"));
    }
}
