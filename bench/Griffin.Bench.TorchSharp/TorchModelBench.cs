using System.Diagnostics;
using Griffin.Bench.Gate;
using Griffin.Bench.Inputs;
using Griffin.Bench.Models;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using Generator = Griffin.Bench.Inputs.Generator;

namespace Griffin.Bench.TorchSharp;

/// <summary>Prefill, greedy decoding and training steps of whole models, and of the 2B-shaped block: three of its layers.</summary>
/// <param name="ours">Our device.</param>
/// <param name="device">The same one to TorchSharp.</param>
/// <param name="rows">The rows at the sizes of this run.</param>
/// <param name="tiny">The same list at the tiny sizes, whose models are checked.</param>
/// <param name="timing">How long.</param>
internal sealed class TorchModelBench(GpuDevice ours, Device device, RowList rows, RowList tiny, TimingOptions timing)
{
    private const double MostDistance = 2e-5;
    private const int CheckedTokens = 40, CheckedSteps = 3;
    private const double Rate = 1e-4, CheckedRate = 1e-2;

    /// <summary>Holds the row's model, at the tiny sizes and in float32, against ours with the same weights.</summary>
    /// <returns>The relative L2 distance.</returns>
    /// <exception cref="NotMeasuredException">They differ.</exception>
    public double Check(BenchRow row)
    {
        RandomCheckpoint source = new(tiny.Models[row.Model!], seed: 1);
        using DisposeScope scope = NewDisposeScope();
        double distance = row.Op == "training_step" ? TrainingDistance(source) : InferenceDistance(source);
        return distance <= MostDistance ? distance : throw new NotMeasuredException(FormattableString.Invariant($"it is {distance:G3} from ours (relative L2), more than {MostDistance:G2}"));
    }

    /// <summary>Times a row.</summary>
    public Samples Measure(BenchRow row)
    {
        using DisposeScope scope = NewDisposeScope();
        RepeatedWeights source = new(rows.Models[row.Model!]);
        using TorchGriffin model = new(source, TorchDraw.TypeOf(row.Type), device, training: row.Op == "training_step");
        return row.Op switch
        {
            "prefill" => Prefill(model, row, source.Config),
            "decode" => Decode(model, row, source.Config),
            _ => TrainingStep(model, row, source.Config),
        };
    }

    private Samples Prefill(TorchGriffin model, BenchRow row, GriffinConfig config)
    {
        Tensor prompt = Tokens(row["batch"] * row["tokens"], config, shift: 0).view(row["batch"], row["tokens"]);
        return TorchTimer.Measure([() =>
        {
            using IDisposable quiet = no_grad();
            return [model.Logits(prompt, lastOnly: true)];
        }], device, timing);
    }

    // The mean of so many steps from the same start; the token chosen goes into the next one.
    private Samples Decode(TorchGriffin model, BenchRow row, GriffinConfig config)
    {
        (long batch, int steps, long context) = (row["batch"], row.Int("steps"), row["context"]);
        using IDisposable quiet = no_grad();
        Tensor tokens = Tokens(batch, config, shift: 0), position = tensor(new[] { context }, device: device);
        Tensor[][] states = model.States(batch, context + steps + 1);
        double Sample()
        {
            position.fill_(context);
            TorchTimer.Synchronize(device);
            long start = Stopwatch.GetTimestamp();
            for (int step = 0; step < steps; step++)
            {
                using DisposeScope scope = NewDisposeScope();
                tokens.copy_(model.Step(tokens, states, position).argmax(-1));
                position.add_(1);
            }

            TorchTimer.Synchronize(device);
            return Stopwatch.GetElapsedTime(start).TotalMicroseconds / steps;
        }

        _ = Sample();
        List<double> times = [];
        while (times.Count < timing.LeastSamples && (times.Count < 2 || times.Sum() * steps * 1e-6 < timing.MostSeconds)) times.Add(Sample());
        return new(times);
    }

    private Samples TrainingStep(TorchGriffin model, BenchRow row, GriffinConfig config)
    {
        using Trainer trainer = new(model, Rate);
        (Tensor inputs, Tensor targets) = Batch(row["batch"], row["tokens"], config);
        return TorchTimer.Measure([() => [trainer.Step(inputs, targets)]], device, timing);
    }

    private double InferenceDistance(RandomCheckpoint source)
    {
        GriffinConfig config = source.Config;
        int[] ids = [.. Enumerable.Range(0, CheckedTokens).Select(i => Generator.Below(1, i, config.Vocabulary))];
        float[] expected = new float[ids.Length * config.Vocabulary];
        using (GriffinModel model = GriffinModel.Load(ours, source, new() { Precision = ElementType.Float32 }))
        using (GriffinSession session = model.CreateSession(new() { GlobalCapacity = ids.Length }))
        using (DecodeState state = session.States.Rent())
            session.Forward(state, ids, [], LogitsSelection.All, expected);

        using TorchGriffin theirs = new(source, ScalarType.Float32, device, training: false);
        using IDisposable quiet = no_grad();
        Tensor tokens = Tokens(ids.Length, config, shift: 0);
        double[] whole = OurResults.Numbers(theirs.Logits(tokens.view(1, -1), lastOnly: false));
        Tensor[][] states = theirs.States(1, ids.Length);
        double[] stepped = [.. Enumerable.Range(0, ids.Length).SelectMany(at =>
            OurResults.Numbers(theirs.Step(tokens.narrow(0, at, 1), states, tensor(new[] { (long)at }, device: device))))];
        double[] right = Array.ConvertAll(expected, value => (double)value);
        return Math.Max(RelativeL2.Of(whole, right), RelativeL2.Of(stepped, right));
    }

    // The losses of a few large steps: wrong gradients lead elsewhere.
    private double TrainingDistance(RandomCheckpoint source)
    {
        const int batch = 2, length = 20;
        double[] expected = TrainingBench.Losses(ours, source, batch, length, CheckedSteps, CheckedRate);
        using TorchGriffin model = new(source, ScalarType.Float32, device, training: true);
        using Trainer trainer = new(model, CheckedRate);
        (Tensor inputs, Tensor targets) = Batch(batch, length, source.Config);
        double[] losses = [.. Enumerable.Range(0, CheckedSteps).Select(_ => trainer.Step(inputs, targets).to(ScalarType.Float64).item<double>())];
        return RelativeL2.Of(losses, expected);
    }

    private (Tensor Inputs, Tensor Targets) Batch(long batch, long length, GriffinConfig config) =>
        (Tokens(batch * length, config, shift: 0).view(batch, length), Tokens(batch * length, config, shift: 1));

    private Tensor Tokens(long count, GriffinConfig config, long shift)
    {
        long[] ids = new long[count];
        for (long i = 0; i < count; i++) ids[i] = Generator.Below(1, i + shift, config.Vocabulary);
        return tensor(ids, device: device);
    }

    /// <summary>Forward, loss, backward, clipping and AdamW, on the weights as they are stored: no float32 master copy, which is less work than ours.</summary>
    private sealed class Trainer : IDisposable
    {
        private readonly TorchGriffin _model;
        private readonly optim.Optimizer[] _optimizers;

        public Trainer(TorchGriffin model, double rate)
        {
            const double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, decay = 0.1;
            _model = model;
            _optimizers = [.. model.Weights.GroupBy(pair => TrainingBench.IsDecayed(pair.Key.Kind), pair => pair.Value)
                .Select(group => optim.AdamW(group, rate, beta1, beta2, epsilon, group.Key ? decay : 0))];
        }

        public Tensor Step(Tensor inputs, Tensor targets)
        {
            foreach (optim.Optimizer optimizer in _optimizers) optimizer.zero_grad();
            Tensor loss = nn.functional.cross_entropy(_model.Logits(inputs, lastOnly: false).flatten(0, 1), targets);
            loss.backward();
            nn.utils.clip_grad_norm_(_model.Weights.Values, 1.0);
            foreach (optim.Optimizer optimizer in _optimizers) optimizer.step();
            return loss.detach();
        }

        public void Dispose()
        {
            foreach (optim.Optimizer optimizer in _optimizers) optimizer.Dispose();
        }
    }
}
