using System.Diagnostics;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Models;

/// <summary>What a whole model's row gave.</summary>
/// <param name="Times">Times in microseconds.</param>
/// <param name="Variant">What was chosen, where something was.</param>
internal sealed record ModelResult(Samples Times, string? Variant = null);

/// <summary>Prefill and decoding of whole models with random weights, as a program that uses the library sees them: by the host's clock, results awaited.</summary>
internal sealed class ModelBench(GpuDevice device, RowList rows, TimingOptions timing) : IDisposable
{
    private const int LeastSamples = 3, MostChunkTokens = 8192, FirstBatch = 16;

    private (string Name, ElementType Type, GriffinModel Model)? _loaded;

    /// <summary>Measures a row.</summary>
    /// <exception cref="GpuException">The device has not enough memory.</exception>
    public ModelResult Measure(BenchRow row)
    {
        switch (row.Op)
        {
            case "prefill":
                return new(Prefill(row));
            case "decode":
                return new(Decode(row, DependentLaunch.Auto));
            case "decode_serial":
                return new(Decode(row, DependentLaunch.Off));
            case "cost":
                return new(Cost(row));
            case "throughput":
                return Throughput(row);
            case "training_step":
                Dispose();
                return TrainingBench.Measure(device, rows.Models[row.Model!], row, timing);
            default:
                throw new ArgumentException($"{row.Id} is no model's row.", nameof(row));
        }
    }

    /// <summary>Frees the model that is held between rows.</summary>
    public void Dispose()
    {
        _loaded?.Model.Dispose();
        _loaded = null;
    }

    private Samples Prefill(BenchRow row)
    {
        GriffinModel model = Load(row);
        (int batch, int tokens) = (row.Int("batch"), row.Int("tokens"));
        using Sequence sequence = new(model, batch, Math.Min(batch * tokens, MostChunkTokens), tokens);
        int[] rowStart = [.. Enumerable.Range(0, batch + 1).Select(r => r * tokens)], ids = Tokens(batch * tokens, model.Config);
        float[] logits = new float[(long)batch * model.Config.Vocabulary];
        double Sample() => Clock(() => sequence.Session.Forward(sequence.States, rowStart, ids, [], LogitsSelection.Last, logits), sequence.Reset);
        WarmUp.Run(Sample, timing.MostSeconds / 2);
        Samples samples = Repeat(Sample);
        if (logits.AsSpan().ContainsAnyExceptInRange(float.MinValue, float.MaxValue)) throw new InvalidDataException("logits are not finite");
        return samples;
    }

    private Samples Decode(BenchRow row, DependentLaunch dependent)
    {
        GriffinModel model = Load(row);
        int steps = row.Int("steps");
        using Sequence sequence = new(model, row.Int("batch"), MostChunkTokens, row.Int("context") + 2 * steps + 1, dependent);
        using BatchDecoder decoder = sequence.Decoder(row.Int("context"));
        decoder.Step();
        WarmUp.Run(() => Clock(() => decoder.Step()), Math.Min(timing.MostSeconds / 2, steps * 1e-3));
        return new([.. Enumerable.Range(0, steps).Select(_ => Clock(() => decoder.Step()))]);
    }

    private Samples Cost(BenchRow row)
    {
        GriffinModel model = Load(row);
        int steps = row.Int("steps"), context = row.Int("context");
        using Sequence sequence = new(model, row.Int("batch"), MostChunkTokens, context + steps + 1);
        double Sample()
        {
            sequence.Reset();
            using BatchDecoder decoder = sequence.Decoder(context);
            return Clock(() =>
            {
                for (int step = 0; step < steps; step++) decoder.Step();
            });
        }

        _ = Sample();
        return Repeat(Sample);
    }

    // Twice the batch until memory ends; the largest that ran is the result.
    private ModelResult Throughput(BenchRow row)
    {
        GriffinModel model = Load(row);
        int steps = row.Int("steps");
        ModelResult? best = null;
        for (int batch = FirstBatch; best is null || device.Kind == GpuDeviceKind.Cuda; batch *= 2)
        {
            try
            {
                using Sequence sequence = new(model, batch, MostChunkTokens, steps + 1);
                using BatchDecoder decoder = sequence.Decoder(0);
                decoder.Step();
                sequence.Synchronize();
                double time = Clock(() =>
                {
                    for (int step = 1; step < steps; step++) decoder.Step();
                }) * steps / Math.Max(1, steps - 1);
                best = new(new Samples([time]), FormattableString.Invariant($"batch {batch}"));
            }
            catch (GpuException e) when (e.Result == CudaResult.OutOfMemory && best is not null)
            {
                break;
            }
        }

        return best;
    }

    private GriffinModel Load(BenchRow row)
    {
        if (_loaded is { } held && held.Name == row.Model && held.Type == row.Type) return held.Model;
        Dispose();
        GriffinModel model = GriffinModel.Load(device, new RepeatedWeights(rows.Models[row.Model!]), new() { Precision = row.Type });
        _loaded = (row.Model!, row.Type, model);
        return model;
    }

    private Samples Repeat(Func<double> sample)
    {
        List<double> times = [];
        while (times.Count < timing.LeastSamples && (times.Count < LeastSamples || times.Sum() * 1e-6 < timing.MostSeconds)) times.Add(sample());
        return new(times);
    }

    private static int[] Tokens(int count, GriffinConfig config) => [.. Enumerable.Range(0, count).Select(i => Generator.Below(1, i, config.Vocabulary))];

    private static double Clock(Action work, Action? before = null)
    {
        before?.Invoke();
        long start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start).TotalMicroseconds;
    }

    /// <summary>A session with as many states as rows.</summary>
    private sealed class Sequence : IDisposable
    {
        public Sequence(GriffinModel model, int batch, int chunkTokens, int capacity, DependentLaunch dependent = DependentLaunch.Auto)
        {
            Session = model.CreateSession(
                new() { Slots = batch, MaxBatch = batch, ChunkTokens = chunkTokens, GlobalCapacity = capacity, DependentLaunch = dependent });
            States = [.. Enumerable.Range(0, batch).Select(_ => Session.States.Rent())];
        }

        public GriffinSession Session { get; }

        public DecodeState[] States { get; }

        public void Reset()
        {
            foreach (DecodeState state in States) state.Reset();
        }

        public void Synchronize() => Session.Synchronize();

        /// <summary>Puts so many tokens behind every state, the same ones, and makes a decoder that goes on from there.</summary>
        public BatchDecoder Decoder(int context)
        {
            GriffinConfig config = Session.Model.Config;
            if (context > 0)
            {
                Session.Forward(States[0], Tokens(context, config), [], LogitsSelection.None, []);
                foreach (DecodeState state in States.AsSpan(1)) state.CopyFrom(States[0]);
            }

            SamplerSettings Settings(int row) => new() { Temperature = 0.8f, Seed = (ulong)row };
            BatchDecoder decoder = Session.CreateDecoder(States, [.. States.Select((_, row) => Settings(row))]);
            for (int row = 0; row < States.Length; row++) decoder.Feed(row, row % config.Vocabulary);
            return decoder;
        }

        public void Dispose()
        {
            foreach (DecodeState state in States) state.Dispose();
            Session.Dispose();
        }
    }
}
