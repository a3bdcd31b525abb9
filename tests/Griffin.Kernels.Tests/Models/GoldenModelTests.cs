using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>The golden model of the specification on the device: logits, states and decode steps, both window rules.</summary>
[TestFixture]
public sealed class GoldenModelTests
{
    private const double Tolerance = 1e-4;
    private const double Bf16Tolerance = 0.1;

    [Test]
    public void Prefill_matches_the_published_logits_and_the_reference([Values] bool windowRule, [Values] DecodePath path)
    {
        using var run = Open(ElementType.Float32, windowRule, path);
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        var logits = run.ForwardRows([first, second], GoldenModel.Tokens, GoldenModel.Positions);
        Close.Absolute(logits, Reference(windowRule), Tolerance, "logits");

        var totals = windowRule ? GoldenNumbers.TotalsWindowRule : GoldenNumbers.Totals;
        Assert.That(Loss(logits), Is.EqualTo(totals.Loss).Within(Tolerance), "loss");
        Assert.That(logits.Sum(l => (double)l), Is.EqualTo(totals.Sum).Within(Tolerance * 20));
        Assert.That(logits.Sum(l => (double)l * l), Is.EqualTo(totals.Squares).Within(Tolerance * 200));
        if (windowRule)
        {
            Close.Absolute(Row(logits, 9), GoldenNumbers.LastLogitsWindowRule, Tolerance);
        }
        else
        {
            foreach (var (row, token, expected) in GoldenNumbers.Logits)
                Close.Absolute(Row(logits, (row * 10) + token), expected, Tolerance, $"row {row}, token {token}");
        }
    }

    [Test]
    public void States_after_the_prefill_match()
    {
        using var run = Open(ElementType.Float32);
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        run.ForwardRows([first, second], GoldenModel.Tokens, GoldenModel.Positions);

        Close.Absolute([.. run.Hidden(first, 0)[..2], .. run.Hidden(second, 0)[..2]], GoldenNumbers.HiddenAfterPrefill, Tolerance, "recurrent state");
        float[] tails = [.. run.ConvTail(first, 0), .. run.ConvTail(second, 0)];
        Assert.That(Norm(tails), Is.EqualTo(GoldenNumbers.ConvStateNorm).Within(Tolerance));
        var keys = new List<float>();
        var values = new List<float>();
        foreach (var (state, row) in new[] { (first, 0), (second, 1) })
        {
            for (var position = state.NextPosition - 3; position < state.NextPosition; position++)
            {
                var key = run.Key(state, 2, position);
                Assert.That(key[0], Is.EqualTo(GoldenNumbers.KeysBySlot[row][position % 3]).Within(Tolerance), $"row {row}, position {position}");
                keys.AddRange(key);
                values.AddRange(run.Value(state, 2, position));
            }
        }

        Assert.That(Norm(keys), Is.EqualTo(GoldenNumbers.KeyNorm).Within(Tolerance));
        Assert.That(Norm(values), Is.EqualTo(GoldenNumbers.ValueNorm).Within(Tolerance));
    }

    [Test]
    public void Decode_steps_match_the_published_numbers([Values] DecodePath path)
    {
        using var run = Open(ElementType.Float32, path: path);
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        run.ForwardRows([first, second], GoldenModel.Tokens, GoldenModel.Positions);
        for (var step = 0; step < GoldenModel.DecodeTokens.Length; step++)
        {
            var tokens = GoldenModel.DecodeTokens[step];
            var logits = run.ForwardRows([first, second], [[tokens[0]], [tokens[1]]]);
            for (var row = 0; row < 2; row++)
            {
                var (sum, start) = GoldenNumbers.Decode[step][row];
                Close.Absolute(Row(logits, row)[..3], start, Tolerance, $"step {step}, row {row}");
                Assert.That(Row(logits, row).Sum(l => (double)l), Is.EqualTo(sum).Within(Tolerance * 11), $"step {step}, row {row}");
            }
        }

        Close.Absolute(run.Hidden(first, 0)[..4], GoldenNumbers.HiddenAfterDecode, Tolerance, "recurrent state");
    }

    /// <summary>No numbers are published for states and steps under the window rule: the float64 reference, held against those that are, takes their place.</summary>
    [Test]
    public void States_and_decode_steps_match_the_reference([Values] bool windowRule, [Values] DecodePath path)
    {
        using var run = Open(ElementType.Float32, windowRule, path);
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        DecodeState[] states = [first, second];
        run.ForwardRows(states, GoldenModel.Tokens, GoldenModel.Positions);
        var reference = new GriffinReference(GoldenModel.Reference(KeysVisible(windowRule)));
        ReferenceState[] expected = [reference.NewState(), reference.NewState()];
        for (var row = 0; row < 2; row++)
            reference.Forward(GoldenModel.Tokens[row], GoldenModel.Positions[row], expected[row]);
        AssertStates(run, states, expected, windowRule, "after the prefill");

        foreach (var tokens in GoldenModel.DecodeTokens)
        {
            var logits = run.ForwardRows(states, [[tokens[0]], [tokens[1]]]);
            for (var row = 0; row < 2; row++)
                Close.Absolute(Row(logits, row), reference.Forward([tokens[row]], [expected[row].Seen], expected[row])[0], Tolerance, $"tokens {tokens[0]} and {tokens[1]}, row {row}");
        }

        AssertStates(run, states, expected, windowRule, "after the steps");
    }

    [Test]
    public void Bfloat16_stays_near([Values] DecodePath path)
    {
        using var run = Open(ElementType.BFloat16, path: path);
        using var first = run.Session.States.Rent();
        using var second = run.Session.States.Rent();
        Close.Absolute(run.ForwardRows([first, second], GoldenModel.Tokens, GoldenModel.Positions), Reference(windowRule: false), Bf16Tolerance, "logits");
    }

    [Test]
    public void Native_names_load_to_the_same_bits()
    {
        using var run = Open(ElementType.Float32);
        using var native = ModelRun.FromFolder(TestDevices.Checked, folder => GoldenModel.Write(folder, native: true), ElementType.Float32);
        Close.Exact(native.Forward(GoldenModel.Tokens[0]), run.Forward(GoldenModel.Tokens[0]));
    }

    [Test]
    public void Shuffled_schedules_give_the_same_bits()
    {
        using var run = Open(ElementType.Float32);
        var expected = run.Forward(GoldenModel.Tokens[0]);
        foreach (var seed in TestDevices.Seeds)
        {
            using var device = TestDevices.OpenChecked(seed);
            using var shuffled = ModelRun.FromFolder(device, folder => GoldenModel.Write(folder), ElementType.Float32);
            Close.Exact(shuffled.Forward(GoldenModel.Tokens[0]), expected, $"seed {seed}");
        }
    }

    private static ModelRun Open(ElementType precision, bool windowRule = false, DecodePath path = DecodePath.Plain) => ModelRun.FromFolder(
        TestDevices.Checked, folder => GoldenModel.Write(folder, KeysVisible(windowRule)), precision, path);

    private static int KeysVisible(bool windowRule) => GoldenModel.Window + (windowRule ? 0 : 1);

    private static void AssertStates(ModelRun run, DecodeState[] states, ReferenceState[] expected, bool windowRule, string when)
    {
        for (var row = 0; row < states.Length; row++)
        {
            for (var layer = 0; layer < GoldenModel.Blocks.Length; layer++)
            {
                var (what, memory) = ($"{when}, row {row}, block {layer}", expected[row][layer]);
                if (GoldenModel.Blocks[layer] == "recurrent")
                {
                    Close.Absolute(run.Hidden(states[row], layer), memory.Hidden, Tolerance, $"{what}: recurrent state");
                    Close.Absolute(run.ConvTail(states[row], layer), [.. memory.ConvInputs.TakeLast(3).SelectMany(input => input)], Tolerance, $"{what}: convolution tail");
                    continue;
                }

                Assert.That(states[row].NextPosition, Is.EqualTo(memory.Keys.Count), what);
                for (var position = memory.Keys.Count - KeysVisible(windowRule); position < memory.Keys.Count; position++)
                {
                    Close.Absolute(run.Key(states[row], layer, position), memory.Keys[position], Tolerance, $"{what}: key {position}");
                    Close.Absolute(run.Value(states[row], layer, position), memory.Values[position], Tolerance, $"{what}: value {position}");
                }
            }
        }
    }

    private static double Loss(float[] logits) => Enumerable.Range(0, 20).Average(i =>
        ReferenceMath.NegativeLogLikelihood(Array.ConvertAll(Row(logits, i), l => (double)l), GoldenModel.Target(i / 10, i % 10)));

    private static double[] Reference(bool windowRule)
    {
        var reference = new GriffinReference(GoldenModel.Reference(KeysVisible(windowRule)));
        return
        [
            .. Enumerable.Range(0, 2).SelectMany(row =>
                reference.Forward(GoldenModel.Tokens[row], GoldenModel.Positions[row], reference.NewState()).SelectMany(l => l)),
        ];
    }

    private static float[] Row(float[] logits, int row) => logits[(row * GoldenModel.Vocabulary)..((row + 1) * GoldenModel.Vocabulary)];

    private static double Norm(IEnumerable<float> values) => Math.Sqrt(values.Sum(x => (double)x * x));
}
