namespace Griffin.Kernels.Tests.References;

/// <summary>The float64 reference agrees with the authors' own implementation (run in float32).</summary>
[TestFixtureSource(typeof(OracleData), nameof(OracleData.Names))]
public sealed class OracleReferenceTests(string name)
{
    private const double Tolerance = 2e-5;
    private readonly OracleData _data = new(name);
    private readonly ReferenceModel _model = ReferenceFolder.Load(new OracleData(name).Folder);

    [Test]
    public void Logits_of_every_position_match()
    {
        var logits = new GriffinReference(_model).Forward(_data.Tokens);
        Close.Absolute(Flat(logits), _data.Logits.Values, Tolerance, "logits");
    }

    [Test]
    public void Packed_documents_match()
    {
        var reference = new GriffinReference(_model);
        var logits = reference.Forward(_data.Tokens.AsSpan(0, OracleData.PromptLength), _data.PackedPositions, reference.NewState());
        Assert.That(_data.PackedPositions.Count(p => p == 0), Is.EqualTo(3));
        Close.Absolute(Flat(logits), _data.PackedLogits.Values, Tolerance, "packed logits");
    }

    [Test]
    public void Residual_stream_after_each_block_matches()
    {
        var rows = Enumerable.Range(0, _model.Layers.Count).ToDictionary(i => $"blocks.{i}.out", _ => new List<double[]>());
        var reference = new GriffinReference(_model) { Trace = (tensor, row) => { if (rows.TryGetValue(tensor, out var list)) list.Add(row); } };
        reference.Forward(_data.Tokens.AsSpan(0, OracleData.PromptLength));
        for (var i = 0; i < _model.Layers.Count; i++)
            Close.Absolute(Flat([.. rows[$"blocks.{i}.out"]]), _data.Layers[i].Values, Tolerance * 5, $"block {i}");
    }

    [Test]
    public void States_after_the_prompt_match()
    {
        var reference = new GriffinReference(_model);
        var state = reference.NewState();
        reference.Forward(_data.Tokens.AsSpan(0, OracleData.PromptLength), [.. Enumerable.Range(0, OracleData.PromptLength)], state);
        for (var i = 0; i < _model.Layers.Count; i++)
        {
            var memory = state[i];
            if (_model.Layers[i].IsAttention)
            {
                Assert.That(_data.Cache(i, "num_tokens").Values, Is.EqualTo(new double[] { OracleData.PromptLength }));
                CompareRing(memory.Keys, _data.Cache(i, "keys"), $"keys of block {i}");
                CompareRing(memory.Values, _data.Cache(i, "values"), $"values of block {i}");
            }
            else
            {
                Close.Absolute(Flat([memory.Hidden]), _data.Cache(i, "rg_lru_state").Values, Tolerance, $"recurrent state of block {i}");
                Close.Absolute(Flat([.. memory.ConvInputs.TakeLast(3)]), _data.Cache(i, "conv1d_state").Values, Tolerance, $"convolution state of block {i}");
            }
        }
    }

    private static void CompareRing(List<double[]> rows, TestTensor ring, string what)
    {
        Assert.That(ring.Shape[1], Is.EqualTo(OracleData.Window));
        for (var position = OracleData.PromptLength - OracleData.Window; position < OracleData.PromptLength; position++)
            Close.Absolute(Flat([rows[position]]), ring[0][position % OracleData.Window].Values, Tolerance, $"{what}, position {position}");
    }

    private static float[] Flat(double[][] rows) => [.. rows.SelectMany(row => row).Select(x => (float)x)];
}
