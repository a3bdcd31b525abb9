using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.Runtime;

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

    /// <summary>One element in the wrong place among very many is lost in the norm of them all.</summary>
    [Test]
    public void OneWrongElementAmongManyCounts()
    {
        float[] expected = new float[100_000], actual = new float[100_000];
        Array.Fill(expected, 1);
        Array.Fill(actual, 1.004f);
        Assert.That(KernelTuner.Agrees(actual, expected), Is.True, "a rounding each");
        actual[70_000] = 0;
        Assert.That(KernelTuner.Agrees(actual, expected), Is.False);
    }

    /// <summary>What every candidate is held against comes from a kernel that is taken unmeasured, not from one that the measurement is to vouch for.</summary>
    [Test]
    public void TheFirstCandidateIsAUsualOne([Values] bool hopper)
    {
        using GpuDevice device = hopper ? OpenHopper() : Open();
        foreach (ElementType type in (ElementType[])[ElementType.Float32, ElementType.BFloat16])
        {
            IReadOnlyList<TuningQuestion> questions = TuningQuestions.All(device, model with { HeadDim = 64 }, type);
            Assert.That(questions.Select(question => question.Candidates[0]), Has.None.Contains(WindowAttention.Warpgroup).And.None.EqualTo(RgLru.Cluster));
            Assert.That(questions.SelectMany(question => question.Candidates).Any(name => name.Contains(WindowAttention.Warpgroup, StringComparison.Ordinal)), Is.EqualTo(hopper && type == ElementType.BFloat16));
        }
    }

    /// <summary>A model is asked about the layers that it has: the sizes of the others need not make sense.</summary>
    [Test]
    public void OnlyLayersThatAreThereAreAskedAbout()
    {
        using GpuDevice device = Open();
        string[] Files(ModelDimensions sizes) => [.. TuningQuestions.All(device, sizes, ElementType.Float32).Select(question => question.Key.Split('@')[0]).Distinct()];
        string[] all = Files(model), hawk = Files(model with { HeadDim = 2048, HasAttentionLayers = false }), transformer = Files(model with { GateBlocks = 3, HasRecurrentLayers = false });
        Assert.That(all, Is.SupersetOf(new[] { "decode_attention.cu", "rg_lru_tiles.cu", "rg_lru_backward_tiles.cu", "block_diagonal_gates.cu" }));
        Assert.That(hawk, Is.EquivalentTo(all.Except(["decode_attention.cu", "window_attention.cu"])));
        Assert.That(transformer, Is.EquivalentTo(all.Except(["rg_lru_tiles.cu", "rg_lru_backward_tiles.cu", "block_diagonal_gates.cu", "recurrent_mixer.cu"])));
    }

    /// <summary>A kernel's headers are a part of it: what was measured before one of them changed is another question's answer.</summary>
    [Test]
    public void AChangedHeaderMakesAnotherQuestion()
    {
        string Key(string reached, string unreached)
        {
            Dictionary<string, string> headers = new() { ["one.cuh"] = "#include \"two.cuh\"", ["two.cuh"] = reached, ["three.cuh"] = unreached };
            return TuningQuestion.KeyOf(KernelSource.FromText("some.cu", "#include \"one.cuh\"", headers), ElementType.Float32, $"{1} rows");
        }

        Assert.That(Key("old", "old"), Does.StartWith("some.cu@").And.EndsWith(" f32 1 rows").And.EqualTo(Key("old", "new")));
        Assert.That(Key("new", "old"), Is.Not.EqualTo(Key("old", "old")));
    }

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

    /// <summary>Whether the gated half pays in one kernel: what is gone does not count, nor does a record with cuBLAS where it is not used.</summary>
    [Test]
    public void TheGatedHalfPaysAsMeasured()
    {
        using (GpuDevice device = Open())
        {
            if (!device.HasBlas) Assert.Ignore("there is no cuBLAS");
            device.Tuning.Save(new Dictionary<string, TuningRecord>
            {
                [Question(device, "gated_matmul.cu", "16 x 16, 64 rows")] = Times(("a variant that is gone", 1), ("separate", 2), ("general", 3)),
                [Question(device, "gated_matmul.cu", "16 x 16, more rows")] = Times(("separate", 2), ("general", 1)),
            });
        }
        using (GpuDevice device = Open())
        {
            bool Pays(int rows, bool useBlas = true) => new GatedMatMul(device, ElementType.Float32, 16, 16, useBlas: useBlas).PaysFor(rows);
            Assert.That((Pays(64), Pays(65)), Is.EqualTo((false, true)));
            Assert.That((Pays(64, useBlas: false), Pays(65, useBlas: false)), Is.EqualTo((false, false)), "as usual on the emulator");
        }
    }

    [Test]
    public void ScansFollowTheRecordOfTheirClass()
    {
        using (GpuDevice device = Open())
        {
            foreach (string kernels in (string[])["rg_lru_tiles.cu", "rg_lru_backward_tiles.cu"])
            {
                device.Tuning.Save(new Dictionary<string, TuningRecord>
                {
                    [Question(device, kernels, "16 channels, 1 rows of 64 tokens")] = Times(("sequential", 3), ("ring", 2), ("look-back", 4)),
                    [Question(device, kernels, "16 channels, 2 rows of 64 tokens")] = Times(("sequential", 3), ("ring", 2), ("chunked", 1)),   // no candidate here
                    [Question(device, kernels, "16 channels, 2 rows of 512 tokens")] = Times(("sequential", 3), ("ring", 2), ("look-back", 1)),
                });
            }
        }

        using (GpuDevice device = Open())
        {
            RgLru forward = new(device, ElementType.Float32, 16), forced = new(device, ElementType.Float32, 16, RgLru.Sequential);
            RgLruBackward backward = new(device, ElementType.Float32, 16);
            foreach ((int tokens, int rows, string form) in ((int, int, string)[])
                [(1, 1, RgLru.Ring), (128, 2, RgLru.Ring), (129, 2, RgLru.LookBack), (1025, 2, RgLru.Sequential), (129, 3, RgLru.Sequential)])
            {
                Assert.That(forward.VariantFor(tokens, rows), Is.EqualTo(form));
                Assert.That(backward.VariantFor(tokens, rows), Is.EqualTo(form));
                Assert.That(forced.VariantFor(tokens, rows), Is.EqualTo(RgLru.Sequential), "forced, as by batch invariance");
            }
        }
        using (GpuDevice device = Open(useTuning: false)) Assert.That(new RgLru(device, ElementType.Float32, 16).VariantFor(1, 1), Is.EqualTo(RgLru.Sequential));
    }

    [Test]
    public void AMeasuredScanComputesWhatTheUsualOneDoes()
    {
        float[] usual, measured;
        using (GpuDevice device = Open())
        {
            usual = Scan(device);
            device.Tuning.Save(new Dictionary<string, TuningRecord> { [Question(device, "rg_lru_tiles.cu", "2 rows of 64 tokens")] = Times(("look-back", 1)) });
        }
        using (GpuDevice device = Open()) measured = Scan(device);
        Assert.That(measured, Is.Not.EqualTo(usual), "by other kernels: other bits");
        Assert.That(KernelTuner.Agrees(measured, usual), Is.True);

        static float[] Scan(GpuDevice device)
        {
            using GpuStream stream = device.CreateStream();
            using TuningBench bench = new(stream);
            RgLru op = new(device, ElementType.Float32, 16);
            TensorView z = bench.Operand(ElementType.Float32, 80, 16), output = bench.Output(ElementType.Float32, 80, 16);
            op.Run(stream, bench.Rows(2, 40), z, bench.Operand(ElementType.Float32, 80, 32), z, TensorView.Empty, bench.Operand(ElementType.Float32, 1, 16), output,
                LayerState.None, bench.Workspace(op.WorkspaceBytes(80, 2)));
            return bench.Ends(output);
        }
    }

    [Test]
    public void GatesFollowTheRecord()
    {
        using (GpuDevice device = Open())
        {
            string question = Question(device, "block_diagonal_gates.cu", "16 in blocks of 16, 4 rows");
            device.Tuning.Save(new Dictionary<string, TuningRecord> { [question] = Times(("step-8", 5), ("general", 2), ("a variant that is gone", 1)) });
        }
        using (GpuDevice device = Open())
        {
            Assert.That(new BlockDiagonalGates(device, ElementType.Float32, 16, 1).VariantFor(3), Is.EqualTo("general"));
            Assert.That(new BlockDiagonalGates(device, ElementType.Float32, 16, 1).VariantFor(1), Is.EqualTo("step-1"), "no record");
            Assert.That(new BlockDiagonalGates(device, ElementType.BFloat16, 16, 1, batchInvariant: true).VariantFor(3), Is.EqualTo("mma-64x64"), "batch invariance takes no measured answer");
        }
    }

    /// <summary>Where there are warpgroup products, attention by them is asked about: its candidates agree, and the op follows the record.</summary>
    [Test]
    public void AttentionFollowsTheRecord()
    {
        using (GpuDevice device = OpenHopper())
        {
            TuningQuestion question = TuningQuestions.All(device, model with { HeadDim = 64 }, ElementType.BFloat16)
                .Single(question => question.Key.StartsWith("window_attention.cu@", StringComparison.Ordinal));
            Assert.That(question.Key, Does.Contain("+window_attention_warpgroup.cu@").And.EndsWith("1 heads of 64"));
            Assert.That(question.Candidates, Is.EquivalentTo(new[] { "mma", WindowAttention.Warpgroup }));
            Assert.That(new WindowAttention(device, ElementType.BFloat16, 1, 64).Variant, Is.EqualTo("mma"), "no record");
            float[][] results = [.. question.Candidates.Select(candidate => Result(device, question, candidate))];
            Assert.That(KernelTuner.Agrees(results[0], results[1]), Is.True);
            device.Tuning.Save(new Dictionary<string, TuningRecord> { [question.Key] = Times(("mma", 2), (WindowAttention.Warpgroup, 1)) });
        }
        using (GpuDevice device = OpenHopper())
        {
            Assert.That(new WindowAttention(device, ElementType.BFloat16, 1, 64).Variant, Is.EqualTo(WindowAttention.Warpgroup));
            Assert.That(new WindowAttention(device, ElementType.BFloat16, 1, 64, batchInvariant: true).Variant, Is.EqualTo("mma"), "batch invariance takes no measured answer");
        }

        static float[] Result(GpuDevice device, TuningQuestion question, string candidate)
        {
            using GpuStream stream = device.CreateStream();
            using TuningBench bench = new(stream);
            TuningRun run = question.Prepare(bench, candidate);
            run.Queue(0);
            return bench.Ends(run.Output);
        }
    }

    [Test]
    public void SplitsOfDecodeAttentionFollowTheRecord()
    {
        int usual;
        using (GpuDevice device = Open())
        {
            usual = Splits(device, 3);
            device.Tuning.Save(new Dictionary<string, TuningRecord> { [Question(device, "decode_attention.cu", "1 heads of 16, 4 rows")] = Times(("1", 5), ("2", 7), ("16", 1)) });
        }
        using (GpuDevice device = Open())
        {
            Assert.That(Splits(device, 3), Is.LessThan(usual), "half the blocks");
            Assert.That(Splits(device, 5), Is.EqualTo(Splits(device, 5, "serial")), "another class: as usual");
            Assert.That(Splits(device, 3, "serial"), Is.EqualTo(usual), "forced: as usual");
        }

        static int Splits(GpuDevice device, int rows, string? variant = null) => new DecodeAttention(device, ElementType.Float32, 1, 16, variant).SplitsFor(rows, 8000);
    }

    /// <summary>Devices of several processes may tune at once: each has read the file before any of them writes it.</summary>
    [Test]
    public void WhatOthersFoundStays()
    {
        GpuDevice[] devices = [.. Enumerable.Range(0, 8).Select(_ => Open())];
        foreach (GpuDevice device in devices) Assert.That(device.Tuning.Find("question 0"), Is.Null);
        Parallel.For(0, devices.Length, i => devices[i].Tuning.Save(new Dictionary<string, TuningRecord> { [$"question {i}"] = Times(("one", i)), ["shared"] = Times(("one", i)) }));
        foreach (GpuDevice device in devices) device.Dispose();
        using GpuDevice later = Open();
        for (int i = 0; i < devices.Length; i++) Assert.That(later.Tuning.Find($"question {i}")?.Microseconds.Single().Value, Is.EqualTo(i));
        Assert.That(later.Tuning.Find("shared"), Is.Not.Null);
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

        string good = File.ReadAllText(file);
        string[] times = [.. ((string[])["\"x\"", "-1", "1e999", "null"]).Select(time => good.Replace("\"one\": 1", $"\"one\": {time}", StringComparison.Ordinal))];
        foreach (string text in (string[])["", "{", "[]", "{\"device\":\"another\"}", good.Replace("\"device\": \"", "\"device\": \"another ", StringComparison.Ordinal), .. times])
        {
            File.WriteAllText(file, text);
            ListLogger logger = new();
            using GpuDevice device = GpuDevice.Open("emulator", new() { CacheFolder = _folder, Logger = logger });
            Assert.That(device.Tuning.Find("a question"), Is.Null, text);
            Assert.That(device.Tuning.Find("another question"), Is.Null, text);
            Assert.That(logger.Warnings, Has.One.Items.And.All.Contains(file).And.None.Contains("\n"), text);
            device.Tuning.Save(new Dictionary<string, TuningRecord> { ["another"] = Times(("two", 2)) });
            Assert.That(device.Tuning.Find("another")?.Fastest(_ => true), Is.EqualTo("two"));
        }
    }

    [Test]
    public void WhatCannotBeKeptIsNotMeasured()
    {
        File.WriteAllText(Path.Combine(_folder, "tuning"), "in the folder's place");
        using GpuDevice device = Open();
        List<(int, int)> told = [];
        Assert.That(() => KernelTuner.Run(device, model, ElementType.Float32, progress: new Told(told)), Throws.InstanceOf<IOException>());
        Assert.That(told, Is.Empty);
    }

    [Test]
    public void WithoutADiskCacheNothingIsMeasured()
    {
        using GpuDevice device = GpuDevice.Open("emulator", new() { UseDiskCache = false });
        Assert.That(device.Tuning.File, Is.Null);
        Assert.That(() => KernelTuner.Run(device, model, ElementType.Float32), Throws.InvalidOperationException);
    }

    private sealed class Told(List<(int, int)> told) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => told.Add(value);
    }

    private static MatMul Product(GpuDevice device, bool batchInvariant = false) => new(device, ElementType.Float32, 32, 16, batchInvariant: batchInvariant);

    private static IEnumerable<string> Questions(GpuDevice device) => TuningQuestions.All(device, model, ElementType.Float32).Select(question => question.Key);

    private static string Question(GpuDevice device, string kernels, string shape) =>
        Questions(device).Single(key => key.StartsWith(kernels + "@", StringComparison.Ordinal) && key.Contains(shape, StringComparison.Ordinal));

    private static TuningRecord Times(params (string Candidate, double Microseconds)[] times) => new([.. times.Select(time => KeyValuePair.Create(time.Candidate, time.Microseconds))]);

    private GpuDevice OpenHopper() => GpuDevice.OpenEmulator(new EmulatorOptions { ComputeCapability = (9, 0) }, new() { CacheFolder = _folder });

    private GpuDevice Open(bool useTuning = true) => GpuDevice.Open("emulator", new() { CacheFolder = _folder, UseTuning = useTuning });
}
