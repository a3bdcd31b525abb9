using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Random models against the authors' own implementation: every position's logits, however the tokens come in.</summary>
[TestFixtureSource(nameof(Cases))]
public sealed class OracleModelTests(string name, ElementType precision, DecodePath path) : IDisposable
{
    private readonly OracleData _data = new(name);
    private readonly double _tolerance = precision == ElementType.Float32 ? 2e-4 : 0.09;
    private ModelRun _run = null!;

    public static IEnumerable<object[]> Cases() =>
        from name in OracleData.Names
        from precision in new[] { ElementType.Float32, ElementType.BFloat16 }
        from path in Enum.GetValues<DecodePath>()
        select new object[] { name, precision, path };

    [OneTimeSetUp]
    public void Load() => _run = new ModelRun(TestDevices.Checked, _data.Folder, precision, path);

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(5)]
    [TestCase(16)]
    [TestCase(17)]
    [TestCase(47)]
    public void Logits_of_every_position_match_in_chunks_of(int chunk) =>
        Close.Absolute(_run.Forward(_data.Tokens, chunk: chunk), _data.Logits.Values, _tolerance, "logits");

    [Test]
    public void Prefill_and_steps_match([Values(0, 1, 40)] int prefill)
    {
        using var state = _run.Session.States.Rent();
        var tokens = _data.Tokens;
        float[] logits = [.. _run.Forward(state, tokens[..prefill]), .. _run.Steps(state, tokens[prefill..])];
        Close.Absolute(logits, _data.Logits.Values, _tolerance, "logits");
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(7)]
    public void Packed_documents_match_in_chunks_of(int chunk)
    {
        using var state = _run.Session.States.Rent();
        var logits = _run.Forward(state, _data.Tokens[..OracleData.PromptLength], _data.PackedPositions, chunk);
        Close.Absolute(logits, _data.PackedLogits.Values, _tolerance, "packed logits");
        Assert.That(state.NextPosition, Is.EqualTo(_data.PackedPositions[^1] + 1));
    }

    [Test]
    public void The_bfloat16_spread_of_the_reference_is_what_the_tolerance_says()
    {
        var difference = _data.Bf16Logits.Values.Zip(_data.Logits.Values, (a, b) => Math.Abs(a - b)).Max();
        Assert.That(difference, Is.GreaterThan(0.03).And.LessThan(0.1));
    }
}
