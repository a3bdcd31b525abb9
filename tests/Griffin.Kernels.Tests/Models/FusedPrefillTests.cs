using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Residual adds and norms in the products' epilogues: against the authors' implementation, and against the separate kernels.</summary>
[TestFixture]
public sealed class FusedPrefillTests
{
    private static IEnumerable<TestCaseData> Models() =>
        from name in OracleData.Names
        from precision in new[] { ElementType.Float32, ElementType.BFloat16 }
        select new TestCaseData(name, precision);

    /// <summary>Every model of the oracle, at the tolerances of the separate kernels; whole, in chunks, and token by token.</summary>
    [TestCaseSource(nameof(Models))]
    public void Logits_match_the_oracle(string name, ElementType precision)
    {
        var data = new OracleData(name);
        var tolerance = precision == ElementType.Float32 ? 2e-4 : 0.09;
        using var run = new ModelRun(TestDevices.Checked, data.Folder, precision, prefill: FusedPrefill.On);
        using var state = run.Session.States.Rent();
        var (tokens, most) = (data.Tokens, data.Tokens.Length - 2);
        float[] logits = [.. run.Forward(state, tokens[..most], chunk: 37), .. run.Steps(state, tokens[most..])];
        Close.Absolute(logits, data.Logits.Values, tolerance, "chunks and steps");
        using var packed = run.Session.States.Rent();
        Close.Absolute(run.Forward(packed, tokens[..OracleData.PromptLength], data.PackedPositions), data.PackedLogits.Values, tolerance, "packed documents");
    }

    /// <summary>Under batch invariance every call takes the chain, and chunks, company and steps change no bit.</summary>
    [Test]
    public void Batch_invariance_holds([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType precision)
    {
        using var run = new ModelRun(TestDevices.Plain, new OracleData("wide-rnn").Folder, precision, DecodePath.BatchInvariant, prefill: FusedPrefill.On);
        int[] tokens = new CounterRandom(1).Integers(70, 0, 256), others = new CounterRandom(2).Integers(9, 0, 256);
        var expected = run.Forward(tokens);
        foreach (var chunk in new[] { 1, 7, 64 })
            Close.Exact(run.Forward(tokens, chunk: chunk), expected, $"chunks of {chunk}");
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        var together = run.ForwardRows([first, second], [others, tokens]);
        Close.Exact(together.AsSpan(others.Length * run.Vocabulary), expected, "in company");
    }

    /// <summary>What the chain leaves out: no norm but the first and the last, no product without its epilogue but the last.</summary>
    [Test]
    public void Layers_have_no_norm_of_their_own()
    {
        TestDevices.RequireEmulator("counts launches");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var run = new ModelRun(device, new OracleData("small").Folder, ElementType.BFloat16, prefill: FusedPrefill.On);
        using var state = run.Session.States.Rent();
        device.TakeCounters();
        run.Session.Forward(state, [1, 2, 3], [], LogitsSelection.None, []);
        var kernels = device.TakeCounters().Select(launch => launch.Kernel).ToArray();
        int Count(string name) => kernels.Count(kernel => kernel.StartsWith(name, StringComparison.Ordinal));
        var config = run.Model.Config;
        Assert.Multiple(() =>
        {
            Assert.That(Count("rms_norm"), Is.EqualTo(2));
            Assert.That(Count("residual_matmul"), Is.EqualTo((2 * config.Layers) - 1));
            Assert.That(Count("residual_factors"), Is.EqualTo((2 * config.Layers) - 1));
            Assert.That(Count("gated_matmul"), Is.EqualTo(config.Layers));
            Assert.That(Count("matmul"), Is.EqualTo(config.Layers), "one at the start of each temporal block");
            Assert.That(Count("gelu_multiply"), Is.Zero);
        });
    }

    [Test]
    public void A_measurement_or_the_options_choose_the_path()
    {
        var config = GriffinPresets.Get("griffin-100m");
        var folder = Directory.CreateTempSubdirectory("griffin-chain-").FullName;
        bool Wanted(GriffinModelOptions options)
        {
            using var device = GpuDevice.Open("emulator", new() { CacheFolder = folder });
            return ChainedKernels.Wanted(device, config, options);
        }

        try
        {
            Assert.That(Wanted(new()), Is.False, "unmeasured, the emulator's products are the faster by themselves");
            Assert.That(Wanted(new() { FusedPrefill = FusedPrefill.On }), Is.True);
            Assert.That(Wanted(new() { FusedPrefill = FusedPrefill.On, BatchInvariant = true }), Is.True);
            using (var device = GpuDevice.Open("emulator", new() { CacheFolder = folder }))
            {
                var question = TuningQuestions.All(device, config.Dimensions(), ElementType.BFloat16).Single(question => question.Candidates.Contains("chained"));
                device.Tuning.Save(new Dictionary<string, TuningRecord> { [question.Key] = new([new("separate", 2), new("chained", 1)]) });
            }

            Assert.That(Wanted(new()), Is.True);
            Assert.That(Wanted(new() { FusedPrefill = FusedPrefill.Off }), Is.False);
            Assert.That(Wanted(new() { BatchInvariant = true }), Is.False, "no measured choice under batch invariance");
            Assert.That(Wanted(new() { Precision = ElementType.Float32 }), Is.False, "measured for another type");
            Assert.That(Wanted(new() { UseBlas = false }), Is.False, "measured with other products");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [TestCase(FusedPrefill.Auto, 64, false)]
    [TestCase(FusedPrefill.Auto, 65, true)]
    [TestCase(FusedPrefill.On, 1, true)]
    public void Few_rows_have_kernels_of_their_own(FusedPrefill choice, int rows, bool serves) => Assert.That(ChainedKernels.Serves(choice, rows), Is.EqualTo(serves));
}
