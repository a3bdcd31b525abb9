using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Random models against the authors' own implementation: what is inside, in float32.</summary>
[TestFixtureSource(nameof(Cases))]
public sealed class OracleStateTests(string name, DecodePath path) : IDisposable
{
    private const double Tolerance = 2e-4;
    private readonly OracleData _data = new(name);
    private ModelRun _run = null!;

    public static IEnumerable<object[]> Cases() =>
        from name in OracleData.Names
        from path in Enum.GetValues<DecodePath>()
        select new object[] { name, path };

    [OneTimeSetUp]
    public void Load() => _run = new ModelRun(TestDevices.Checked, _data.Folder, ElementType.Float32, path);

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Test]
    public void Residual_stream_after_each_block_matches()
    {
        var seen = new Dictionary<int, float[]>();
        _run.Session.AfterBlock = (block, view) =>
        {
            var values = Poison.Floats((int)(view.Rows * view.Columns));
            _run.Session.Stream.CopyToHost(view.Owner, (long)(view.Address - view.Owner.Address), values.AsSpan());
            _run.Session.Synchronize();
            seen.Add(block, values);
        };
        try
        {
            _run.Forward(_data.Tokens[..OracleData.PromptLength]);
        }
        finally
        {
            _run.Session.AfterBlock = null;
        }

        Assert.That(seen.Keys.Order(), Is.EqualTo(Enumerable.Range(0, _run.Model.Config.Layers)));
        foreach (var (block, values) in seen)
            Close.Absolute(values, _data.Layers[block].Values, Tolerance, $"block {block}");
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(11)]
    public void States_after_the_prompt_match_in_chunks_of(int chunk)
    {
        using var state = _run.Session.States.Rent();
        _run.Forward(state, _data.Tokens[..OracleData.PromptLength], chunk: chunk);
        for (var layer = 0; layer < _run.Model.Config.Layers; layer++)
        {
            if (_run.Model.Config.KindOf(layer) == LayerKind.Recurrent)
            {
                Close.Absolute(_run.Hidden(state, layer), _data.Cache(layer, "rg_lru_state").Values, Tolerance, $"recurrent state of layer {layer}");
                Close.Absolute(_run.ConvTail(state, layer), _data.Cache(layer, "conv1d_state").Values, Tolerance, $"convolution tail of layer {layer}");
                continue;
            }

            var (keys, values) = (_data.Cache(layer, "keys")[0], _data.Cache(layer, "values")[0]);
            for (var position = OracleData.PromptLength - OracleData.Window; position < OracleData.PromptLength; position++)
            {
                Close.Absolute(_run.Key(state, layer, position), keys[position % OracleData.Window].Values, Tolerance, $"key of layer {layer}, position {position}");
                Close.Absolute(_run.Value(state, layer, position), values[position % OracleData.Window].Values, Tolerance, $"value of layer {layer}, position {position}");
            }
        }
    }
}
