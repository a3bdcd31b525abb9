namespace Griffin.Kernels.Tests.References;

/// <summary>The float64 reference reproduces the golden model's published numbers.</summary>
[TestFixture]
public sealed class GoldenReferenceTests
{
    private const double Digits = 6e-8;

    [Test]
    public void Generated_weights_match()
    {
        Assert.That(GoldenModel.NativeTensors, Has.Count.EqualTo(70));
        foreach (var (name, first, last) in GoldenNumbers.Weights)
        {
            Assert.That(GoldenModel.NativeTensors[name].Values[0], Is.EqualTo(first).Within(1e-9), name);
            Assert.That(GoldenModel.NativeTensors[name].Values[^1], Is.EqualTo(last).Within(1e-9), name);
        }
    }

    [Test]
    public void Logits_and_loss_match_with_one_key_more_than_the_window()
    {
        var logits = Prefill(GoldenModel.Window + 1, out _);
        foreach (var (row, token, expected) in GoldenNumbers.Logits)
            Assert.That(logits[row][token], Is.EqualTo(expected).Within(Digits), $"row {row}, token {token}");
        AssertTotals(logits, GoldenNumbers.Totals);
        Assert.That(logits.SelectMany(row => row).SelectMany(l => l).Max(Math.Abs), Is.EqualTo(GoldenNumbers.LargestLogit).Within(Digits));
    }

    [Test]
    public void Logits_and_loss_match_with_the_window_rule()
    {
        var logits = Prefill(GoldenModel.Window, out _);
        Assert.That(logits[0][9], Is.EqualTo(GoldenNumbers.LastLogitsWindowRule).Within(Digits));
        AssertTotals(logits, GoldenNumbers.TotalsWindowRule);
    }

    [Test]
    public void Inner_tensors_match()
    {
        var traced = new Dictionary<string, List<double[]>>(StringComparer.Ordinal);
        var reference = new GriffinReference(GoldenModel.Reference())
        {
            Trace = (name, row) =>
            {
                if (!traced.TryGetValue(name, out var rows))
                    traced.Add(name, rows = []);
                rows.Add([.. row]);
            },
        };
        for (var row = 0; row < 2; row++)
            reference.Forward(GoldenModel.Tokens[row], GoldenModel.Positions[row], reference.NewState());

        Assert.That(Norm(traced["embedding"]), Is.EqualTo(GoldenNumbers.EmbeddingNorm).Within(Digits));
        foreach (var (name, norm, elements) in GoldenNumbers.Tensors)
        {
            Assert.That(Norm(traced[name]), Is.EqualTo(norm).Within(Digits), name);
            Assert.That((double[])[.. traced[name][4][..2], .. traced[name][14][..2]], Is.EqualTo(elements).Within(Digits), name);
        }
    }

    [Test]
    public void State_after_prefill_and_decode_steps_match()
    {
        Prefill(GoldenModel.Window + 1, out var states);
        Assert.That((double[])[.. states[0][0].Hidden[..2], .. states[1][0].Hidden[..2]], Is.EqualTo(GoldenNumbers.HiddenAfterPrefill).Within(1e-9));
        Assert.That(Norm(states.Select(s => s[0].Hidden)), Is.EqualTo(GoldenNumbers.HiddenNorm).Within(Digits));
        Assert.That(Norm(states.SelectMany(s => s[0].ConvInputs.TakeLast(3))), Is.EqualTo(GoldenNumbers.ConvStateNorm).Within(Digits));
        Assert.That(Norm(states.SelectMany(s => s[2].Keys.TakeLast(3))), Is.EqualTo(GoldenNumbers.KeyNorm).Within(Digits));
        Assert.That(Norm(states.SelectMany(s => s[2].Values.TakeLast(3))), Is.EqualTo(GoldenNumbers.ValueNorm).Within(Digits));
        for (var row = 0; row < 2; row++)
        {
            var seen = states[row].Seen;
            Assert.That(seen, Is.EqualTo(row == 0 ? 10 : 6));
            for (var position = seen - 3; position < seen; position++)
                Assert.That(states[row][2].Keys[position][0], Is.EqualTo(GoldenNumbers.KeysBySlot[row][position % 3]).Within(Digits), $"row {row}, position {position}");
        }

        var reference = new GriffinReference(GoldenModel.Reference());
        for (var step = 0; step < GoldenModel.DecodeTokens.Length; step++)
        {
            for (var row = 0; row < 2; row++)
            {
                var logits = reference.Forward([GoldenModel.DecodeTokens[step][row]], [states[row].Seen], states[row])[0];
                Assert.That(logits.Sum(), Is.EqualTo(GoldenNumbers.Decode[step][row].Sum).Within(Digits), $"step {step}, row {row}");
                Assert.That(logits[..3], Is.EqualTo(GoldenNumbers.Decode[step][row].First).Within(Digits), $"step {step}, row {row}");
            }
        }

        Assert.That(states[0][0].Hidden[..4], Is.EqualTo(GoldenNumbers.HiddenAfterDecode).Within(1e-9));
    }

    private static double[][][] Prefill(int keysVisible, out ReferenceState[] states)
    {
        var reference = new GriffinReference(GoldenModel.Reference(keysVisible));
        states = [reference.NewState(), reference.NewState()];
        return
        [
            reference.Forward(GoldenModel.Tokens[0], GoldenModel.Positions[0], states[0]),
            reference.Forward(GoldenModel.Tokens[1], GoldenModel.Positions[1], states[1]),
        ];
    }

    private static void AssertTotals(double[][][] logits, (double Sum, double Squares, double Loss) expected)
    {
        var all = logits.SelectMany(row => row).SelectMany(l => l).ToArray();
        var loss = Enumerable.Range(0, 20).Average(i =>
            ReferenceMath.NegativeLogLikelihood(logits[i / 10][i % 10], GoldenModel.Target(i / 10, i % 10)));
        Assert.That(all.Sum(), Is.EqualTo(expected.Sum).Within(Digits));
        Assert.That(all.Sum(l => l * l), Is.EqualTo(expected.Squares).Within(5e-7));
        Assert.That(loss, Is.EqualTo(expected.Loss).Within(Digits));
    }

    private static double Norm(IEnumerable<double[]> rows) => Math.Sqrt(rows.Sum(row => row.Sum(x => x * x)));
}
