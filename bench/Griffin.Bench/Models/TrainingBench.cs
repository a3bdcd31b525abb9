using System.Diagnostics;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Bench.Timing;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Passes;

namespace Griffin.Bench.Models;

/// <summary>A training step of a whole model: forward pass, loss, backward pass, clipping and AdamW of one micro-batch.</summary>
internal static class TrainingBench
{
    private const int LeastSamples = 3;

    private static readonly AdamWSettings settings = new(1e-4, 0.9, 0.95, 1e-8, 0.1, 1);

    public static ModelResult Measure(GpuDevice device, GriffinConfig config, BenchRow row, TimingOptions timing)
    {
        (int batch, int tokens) = (row.Int("batch"), row.Int("tokens"));
        // Activations are kept where they fit, and computed again where they do not.
        TrainingOptions options = new(row.Type, batch, tokens, Recompute: false) { LogitsBytes = 1L << 30 };
        if (BytesOf(device, config, options) > device.MemoryInfo.Free) options = options with { Recompute = true };
        using TrainingSession session = new(device, new RepeatedWeights(config), options);
        using PinnedBuffer<float> losses = device.AllocatePinned<float>(batch * tokens);
        MicroBatch micro = Draw(batch, tokens, config.Vocabulary);
        long step = 0;
        WarmUp.Run(Sample, timing.MostSeconds / 2);
        List<double> times = [];
        while (times.Count < timing.LeastSamples && (times.Count < LeastSamples || times.Sum() * 1e-6 < timing.MostSeconds)) times.Add(Sample());
        if (losses.Span.ContainsAnyExceptInRange(float.MinValue, float.MaxValue)) throw new InvalidDataException("losses are not finite");
        return new(new(times), options.Recompute ? "activations computed again" : "activations kept");

        double Sample()
        {
            long start = Stopwatch.GetTimestamp();
            session.ClearGradients();
            session.Accumulate(micro, 1f / micro.Scored, losses, 0);
            session.Update(settings, ++step);
            session.Synchronize();
            return Stopwatch.GetElapsedTime(start).TotalMicroseconds;
        }
    }

    /// <summary>The mean losses of a few steps in float32 from a checkpoint's weights, for others' training to be held against.</summary>
    public static double[] Losses(GpuDevice device, ICheckpointSource source, int batch, int tokens, int steps, double rate)
    {
        using TrainingSession session = new(device, source, new TrainingOptions(ElementType.Float32, batch, tokens, Recompute: false));
        using PinnedBuffer<float> losses = device.AllocatePinned<float>(batch * tokens);
        MicroBatch micro = Draw(batch, tokens, source.Config.Vocabulary);
        double[] means = new double[steps];
        for (int step = 0; step < steps; step++)
        {
            session.ClearGradients();
            session.Accumulate(micro, 1f / micro.Scored, losses, 0);
            session.Update(settings with { LearningRate = rate }, step + 1);
            session.Synchronize();
            means[step] = losses.Span.ToArray().Average(loss => (double)loss);
        }

        return means;
    }

    /// <summary>Whether our optimiser decays a weight.</summary>
    public static bool IsDecayed(WeightKind kind) => TrainingWeights.IsDecayed(kind);

    private static long BytesOf(GpuDevice device, GriffinConfig config, TrainingOptions options)
    {
        using TrainingKernels kernels = new(device, config, options);
        return kernels.Budget.Total;
    }

    private static MicroBatch Draw(int rows, int length, int vocabulary)
    {
        MicroBatch batch = new(rows, length);
        for (int i = 0; i < rows * length; i++)
        {
            batch.Tokens[i] = Generator.Below(1, i, vocabulary);
            batch.Targets[i] = Generator.Below(1, i + 1, vocabulary);
            batch.Positions[i] = i % length;
        }

        return batch;
    }
}
