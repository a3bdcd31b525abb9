using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>With BatchInvariant on, chunking, batch size and company do not change a single bit.</summary>
[TestFixture(ElementType.Float32)]
[TestFixture(ElementType.BFloat16)]
public sealed class BatchInvariantTests(ElementType precision) : IDisposable
{
    private const int Length = 48;
    private ModelRun _run = null!;

    [OneTimeSetUp]
    public void Load() => _run = new ModelRun(TestDevices.Checked, new OracleData("wide-rnn").Folder, precision, path: DecodePath.BatchInvariant);

    [OneTimeTearDown]
    public void Dispose()
    {
        _run?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Test]
    public void Chunking_changes_no_bit([Values(1, 2, 7, 16, 17, 31)] int chunk)
    {
        var tokens = Tokens(Length, 1);
        var expected = _run.Forward(tokens);
        Close.Exact(_run.Forward(tokens, chunk: chunk), expected);
    }

    [Test]
    public void Batch_size_and_order_change_no_bit([Values(1, 5, 18)] int length)
    {
        var rows = Enumerable.Range(0, 4).Select(i => Tokens(length + i, 10 + i)).ToArray();
        var next = Enumerable.Range(0, 4).Select(i => Tokens(1, 20 + i)).ToArray();
        var alone = rows.Zip(next, (row, step) =>
        {
            using var state = _run.Session.States.Rent();
            return (Prefill: _run.Forward(state, row), Step: _run.Forward(state, step));
        }).ToArray();

        foreach (var order in new int[][] { [0, 1, 2, 3], [3, 1, 2, 0], [2, 0], [1] })
        {
            var states = order.Select(_ => _run.Session.States.Rent()).ToArray();
            Close.Exact(_run.ForwardRows(states, [.. order.Select(i => rows[i])]), [.. order.SelectMany(i => alone[i].Prefill)], "prefill");
            Close.Exact(_run.ForwardRows(states, [.. order.Select(i => next[i])]), [.. order.SelectMany(i => alone[i].Step)], "step");
            foreach (var state in states)
                state.Dispose();
        }
    }

    [Test]
    public void States_after_any_chunking_are_the_same_bits([Values(1, 7, 16)] int chunk)
    {
        var tokens = Tokens(Length, 2);
        using var whole = _run.Session.States.Rent();
        using var pieces = _run.Session.States.Rent();
        _run.Forward(whole, tokens);
        _run.Forward(pieces, tokens, chunk: chunk);
        for (var layer = 0; layer < _run.Model.Config.Layers; layer++)
        {
            if (_run.Model.Config.KindOf(layer) == LayerKind.Recurrent)
            {
                Close.Exact(_run.Hidden(pieces, layer), _run.Hidden(whole, layer), $"recurrent state of layer {layer}");
                Close.Exact(_run.ConvTail(pieces, layer), _run.ConvTail(whole, layer), $"convolution tail of layer {layer}");
                continue;
            }

            for (var position = Length - OracleData.Window - 1; position < Length; position++)
            {
                Close.Exact(_run.Key(pieces, layer, position), _run.Key(whole, layer, position), $"key {position} of layer {layer}");
                Close.Exact(_run.Value(pieces, layer, position), _run.Value(whole, layer, position), $"value {position} of layer {layer}");
            }
        }
    }

    [Test]
    public void Tokens_drawn_in_a_batch_are_those_drawn_alone()
    {
        var settings = new SamplerSettings { Temperature = 1, Seed = 5 };
        var rows = Enumerable.Range(0, 3).Select(i => Tokens(6 + i, 30 + i)).ToArray();
        var alone = rows.Select(row => _run.Draw([row], settings, 10)[0]).ToArray();
        var together = _run.Draw(rows, settings, 10);
        for (var i = 0; i < rows.Length; i++)
            Assert.That(together[i], Is.EqualTo(alone[i]), $"row {i}");
    }

    /// <summary>Measurements that name the least usual candidate of every question the fastest: not one is followed.</summary>
    [Test]
    public void No_measurement_changes_a_bit()
    {
        using var folder = new TempFolder();
        var data = new OracleData("wide-rnn");
        float[] Logits(bool useTuning)
        {
            using var device = GpuDevice.OpenEmulator(new EmulatorOptions { ComputeCapability = (9, 0) }, new() { CacheFolder = folder.Path, UseTuning = useTuning });
            var questions = TuningQuestions.All(device, ConfigFile.Read(Path.Combine(data.Folder, "config.json")).Dimensions(), precision);
            if (useTuning)
            {
                device.Tuning.Save(questions.ToDictionary(
                    question => question.Key, question => new TuningRecord([.. question.Candidates.Select((name, i) => KeyValuePair.Create(name, 100.0 - i))])));
            }

            using var run = new ModelRun(device, data.Folder, precision, DecodePath.BatchInvariant);
            Assert.That(questions.All(question => device.Tuning.Find(question.Key) is not null), Is.EqualTo(useTuning));
            using var state = run.Session.States.Rent();
            return [.. run.Forward(state, Tokens(40, 3)), .. run.Steps(state, Tokens(3, 4)), .. run.Forward(state, Tokens(70, 5), chunk: 33)];
        }

        var expected = Logits(useTuning: false);
        Close.Exact(Logits(useTuning: true), expected);
    }

    private static int[] Tokens(int count, int seed) => new CounterRandom((ulong)seed).Integers(count, 0, 256);
}
