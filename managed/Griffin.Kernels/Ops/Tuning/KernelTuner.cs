using System.Diagnostics.CodeAnalysis;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>What the tuner found for one question.</summary>
/// <param name="Question">Op, type and shape.</param>
/// <param name="Record">The times.</param>
/// <param name="Measured">False: it was on record already.</param>
/// <param name="Refused">Candidates whose result was not that of the first one; they are not on record.</param>
public sealed record TuningResult(string Question, TuningRecord Record, bool Measured, IReadOnlyList<string> Refused);

/// <summary>
/// Measures, on a device and for the sizes of a model, every choice between kernels that tables cannot make, and keeps the answers on disk: ops made
/// afterwards follow them. A candidate counts only if its result agrees with the first one's. Nothing else measures: loading a model only reads. Models with batch invariance take no answer, since which kernel
/// computes a row must then follow from model, element type and device alone.
/// </summary>
public static class KernelTuner
{
    private const int Samples = 7;
    private const double SampleMicroseconds = 2000;
    private const int MostRuns = 200;
    private const double Tolerance = 1e-2;   // two roundings to bfloat16 apart, at most
    private const double ElementTolerance = 10 * Tolerance;   // of one element beside the others: a fragment in the wrong place is no rounding
    private const double Hopeless = 3;   // times the fastest so far: one run says enough

    /// <summary>Measures what is not on record yet.</summary>
    /// <param name="device">The device; opened with a disk cache.</param>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="again">Whether what is on record is measured once more.</param>
    /// <param name="progress">Told questions done and questions in all.</param>
    /// <param name="cancellationToken">Stops between questions; what was measured is kept.</param>
    /// <exception cref="InvalidOperationException">The device keeps no records.</exception>
    /// <exception cref="IOException">The records cannot be written; nothing has been measured then.</exception>
    /// <exception cref="UnauthorizedAccessException">They may not be written; nothing has been measured then.</exception>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<TuningResult> Run(GpuDevice device, ModelDimensions model, ElementType type, bool again = false,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(model);
        if (device.Tuning.File is null) throw new InvalidOperationException("Measured choices are kept beside the compiled kernels, and this device was opened without them.");
        device.Tuning.Save(new Dictionary<string, TuningRecord>());   // what cannot be kept is not worth measuring
        IReadOnlyList<TuningQuestion> questions = TuningQuestions.All(device, model, type);
        List<TuningResult> results = [];
        using GpuStream stream = device.CreateStream();
        _ = stream.Blas;
        foreach (TuningQuestion question in questions)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TuningResult result = !again && device.Tuning.Find(question.Key) is { } known ? new(question.Key, known, false, []) : Measure(stream, question);
            if (result.Measured) device.Tuning.Save(new Dictionary<string, TuningRecord> { [question.Key] = result.Record });   // later questions build on it
            results.Add(result);
            progress?.Report((results.Count, questions.Count));
        }
        return results;
    }

    private static TuningResult Measure(GpuStream stream, TuningQuestion question)
    {
        List<KeyValuePair<string, double>> times = [];
        List<string> refused = [];
        float[]? reference = null;
        double fastest = double.PositiveInfinity;
        foreach (string candidate in question.Candidates)
        {
            using TuningBench bench = new(stream);
            TuningRun run = question.Prepare(bench, candidate);
            run.Queue(0);   // waits for the compilation
            float[] result = bench.Ends(run.Output);
            reference ??= result;
            if (!Agrees(result, reference))
            {
                refused.Add(candidate);
                continue;
            }
            double microseconds = Measure(stream, run, fastest);
            times.Add(KeyValuePair.Create(candidate, microseconds));
            fastest = Math.Min(fastest, microseconds);
        }
        return new TuningResult(question.Key, new TuningRecord(times), true, refused);
    }

    /// <summary>‖a − b‖ ≤ tolerance · ‖b‖, and no element off by more than a tenth of itself and of the root mean square; NaN does not agree.</summary>
    internal static bool Agrees(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double difference = 0, norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow((double)actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }
        if (!(Math.Sqrt(difference) <= Tolerance * Math.Sqrt(norm))) return false;
        double usual = Math.Sqrt(norm / Math.Max(1, expected.Length));
        for (int i = 0; i < expected.Length; i++)
        {
            if (Math.Abs((double)actual[i] - expected[i]) > ElementTolerance * (usual + Math.Abs(expected[i]))) return false;
        }
        return true;
    }

    /// <summary>Microseconds of one run, the least of some samples: whatever else the machine does only adds.</summary>
    private static double Measure(GpuStream stream, TuningRun run, double fastest)
    {
        using GpuEvent start = stream.Device.CreateEvent(timing: true), end = stream.Device.CreateEvent(timing: true);
        double first = Microseconds(1);
        if (first > Hopeless * fastest) return first;
        int runs = Math.Clamp((int)(SampleMicroseconds / Math.Max(first, 0.1)), 1, MostRuns);
        return Enumerable.Range(0, Samples).Min(_ => Microseconds(runs) / runs);

        double Microseconds(int count)
        {
            stream.Record(start);
            for (int i = 0; i < count; i++) run.Queue(i);
            stream.Record(end);
            end.Synchronize();
            return end.ElapsedSince(start).TotalMicroseconds;
        }
    }
}
