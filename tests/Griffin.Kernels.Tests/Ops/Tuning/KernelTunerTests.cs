using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops.Tuning;

/// <summary>Measured choices: they are kept, followed, and never stand in the way.</summary>
[TestFixture]
internal sealed class KernelTunerTests
{
    private static readonly ModelDimensions model = new()
    {
        Width = 16,
        RnnWidth = 16,
        Heads = 1,
        HeadDim = 16,
        GateBlocks = 1,
        MlpWidth = 16,
        Vocabulary = 24,
        Window = 8,
        ConvTaps = 4,
    };

    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("griffin-tuning-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void EveryQuestionIsMeasuredOnceAndStaysOnRecord()
    {
        IReadOnlyList<TuningResult> first, second;
        using (GpuDevice device = Open()) first = KernelTuner.Run(device, model, ElementType.Float32);
        using (GpuDevice device = Open()) second = KernelTuner.Run(device, model, ElementType.Float32);

        Assert.That(first, Is.Not.Empty);
        Assert.That(first.Select(result => result.Measured), Is.All.True);
        Assert.That(first.SelectMany(result => result.Refused), Is.Empty);
        Assert.That(first.SelectMany(result => result.Record.Microseconds).Select(time => time.Value), Is.All.GreaterThan(0));
        Assert.That(second.Select(result => result.Measured), Is.All.False);
        Assert.That(second.Select(result => result.Question), Is.EqualTo(first.Select(result => result.Question)));
    }

    [TestCase(new[] { 1f, 2f }, true)]
    [TestCase(new[] { 1f, 2.01f }, true)]
    [TestCase(new[] { 1f, 2.1f }, false)]
    [TestCase(new[] { 1f, float.NaN }, false)]
    public void OnlyAgreeingResultsCount(float[] result, bool agrees) => Assert.That(KernelTuner.Agrees(result, [1, 2]), Is.EqualTo(agrees));

    [Test]
    public void ProductsFollowTheRecord()
    {
        using (GpuDevice device = Open())
        {
            Assume.That(device.HasBlas, Is.True);
            string question = Questions(device).Single(key => key.Contains("32 x 16, stored as f32, 4 rows", StringComparison.Ordinal));
            device.Tuning.Save(new Dictionary<string, TuningRecord> { [question] = Times(("cublas", 9), ("skinny-4", 5), ("general", 7), ("a variant that is gone", 1)) });
        }

        using (GpuDevice device = Open())
        {
            Assert.That(Product(device).VariantFor(3), Is.EqualTo("skinny-4"));
            Assert.That(Product(device).VariantFor(1), Is.Null, "no record: cuBLAS");
            Assert.That(Product(device, batchInvariant: true).VariantFor(3), Is.EqualTo("general"), "batch invariance takes no measured answer");
        }
        using (GpuDevice device = Open(useTuning: false)) Assert.That(Product(device).VariantFor(3), Is.Null);
    }

    /// <summary>Beyond 64 rows cuBLASLt is the usual way, and both libraries are candidates.</summary>
    [Test]
    public void LargeProductsHaveTwoLibrariesToChooseFrom()
    {
        using GpuDevice device = Open();
        Assume.That(device.HasBlasLt, Is.True);
        TuningQuestion[] questions = [.. TuningQuestions.All(device, model, ElementType.Float32).Where(one => one.Key.StartsWith("matmul.cu", StringComparison.Ordinal))];
        Assert.That(questions, Is.Not.Empty);
        Assert.That(questions.Select(one => one.Candidates), Is.All.SupersetOf(new[] { "cublas", "cublaslt" }));
    }

    [Test]
    public void ADamagedFileIsNoRecord()
    {
        string file;
        using (GpuDevice device = Open())
        {
            file = device.Tuning.File!;
            device.Tuning.Save(new Dictionary<string, TuningRecord> { ["a question"] = Times(("one", 1)) });
        }
        using (GpuDevice device = Open()) Assert.That(device.Tuning.Find("a question"), Is.Not.Null);

        foreach (string text in (string[])["", "{", "[]", "{\"device\":\"another\"}", File.ReadAllText(file).Replace("\"one\": 1", "\"one\": \"x\"", StringComparison.Ordinal)])
        {
            File.WriteAllText(file, text);
            using GpuDevice device = Open();
            Assert.That(device.Tuning.Find("a question"), Is.Null, text);
            device.Tuning.Save(new Dictionary<string, TuningRecord> { ["another"] = Times(("two", 2)) });
            Assert.That(device.Tuning.Find("another")?.Fastest(_ => true), Is.EqualTo("two"));
        }
    }

    [Test]
    public void WithoutADiskCacheNothingIsMeasured()
    {
        using GpuDevice device = GpuDevice.Open("emulator", new() { UseDiskCache = false });
        Assert.That(device.Tuning.File, Is.Null);
        Assert.That(() => KernelTuner.Run(device, model, ElementType.Float32), Throws.InvalidOperationException);
    }

    private static MatMul Product(GpuDevice device, bool batchInvariant = false) => new(device, ElementType.Float32, 32, 16, batchInvariant: batchInvariant);

    private static IEnumerable<string> Questions(GpuDevice device) => TuningQuestions.All(device, model, ElementType.Float32).Select(question => question.Key);

    private static TuningRecord Times(params (string Candidate, double Microseconds)[] times) => new([.. times.Select(time => KeyValuePair.Create(time.Candidate, time.Microseconds))]);

    private GpuDevice Open(bool useTuning = true) => GpuDevice.Open("emulator", new() { CacheFolder = _folder, UseTuning = useTuning });
}
