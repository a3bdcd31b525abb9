using System.Diagnostics.CodeAnalysis;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>What the tuner found for one question.</summary>
/// <param name="Question">Op, type and shape.</param>
/// <param name="Record">The times.</param>
/// <param name="Measured">False: it was on record already.</param>
public sealed record TuningResult(string Question, TuningRecord Record, bool Measured);

/// <summary>
/// Measures, on a device and for the sizes of a model, every choice between kernels that tables cannot make, and keeps the answers on disk: ops made
/// afterwards follow them. Nothing else measures: loading a model only reads. Models with batch invariance take no answer, since which kernel
/// computes a row must then follow from model, element type and device alone.
/// </summary>
public static class KernelTuner
{
    private const int Samples = 7;
    private const double SampleMicroseconds = 2000;
    private const int MostRuns = 200;
    private const double Hopeless = 3;   // times the fastest so far: one run says enough

    /// <summary>Measures what is not on record yet.</summary>
    /// <param name="device">The device; opened with a disk cache.</param>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="again">Whether what is on record is measured once more.</param>
    /// <param name="progress">Told questions done and questions in all.</param>
    /// <param name="cancellationToken">Stops between questions; what was measured is kept.</param>
    /// <exception cref="InvalidOperationException">The device keeps no records.</exception>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<TuningResult> Run(GpuDevice device, ModelDimensions model, ElementType type, bool again = false,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(model);
        if (device.Tuning.File is null) throw new InvalidOperationException("Measured choices are kept beside the compiled kernels, and this device was opened without them.");
        IReadOnlyList<TuningQuestion> questions = TuningQuestions.All(device, model, type);
        List<TuningResult> results = [];
        Dictionary<string, TuningRecord> measured = [];
        using GpuStream stream = device.CreateStream();
        _ = stream.Blas;
        try
        {
            foreach (TuningQuestion question in questions)
            {
                cancellationToken.ThrowIfCancellationRequested();
                TuningRecord? known = again ? null : device.Tuning.Find(question.Key);
                if (known is null) measured[question.Key] = Measure(stream, question);
                results.Add(new TuningResult(question.Key, known ?? measured[question.Key], known is null));
                progress?.Report((results.Count, questions.Count));
            }
        }
        finally
        {
            if (measured.Count > 0) device.Tuning.Save(measured);
        }
        return results;
    }

    private static TuningRecord Measure(GpuStream stream, TuningQuestion question)
    {
        List<KeyValuePair<string, double>> times = [];
        double fastest = double.PositiveInfinity;
        foreach (string candidate in question.Candidates)
        {
            double microseconds = Measure(stream, question, candidate, fastest);
            times.Add(KeyValuePair.Create(candidate, microseconds));
            fastest = Math.Min(fastest, microseconds);
        }
        return new TuningRecord(times);
    }

    /// <summary>Microseconds of one run, the least of some samples: whatever else the machine does only adds.</summary>
    private static double Measure(GpuStream stream, TuningQuestion question, string candidate, double fastest)
    {
        using TuningBench bench = new(stream);
        using GpuEvent start = stream.Device.CreateEvent(timing: true), end = stream.Device.CreateEvent(timing: true);
        Action<int> run = question.Prepare(bench, candidate);
        run(0);   // waits for the compilation
        double first = Microseconds(1);
        if (first > Hopeless * fastest) return first;
        int runs = Math.Clamp((int)(SampleMicroseconds / Math.Max(first, 0.1)), 1, MostRuns);
        return Enumerable.Range(0, Samples).Min(_ => Microseconds(runs) / runs);

        double Microseconds(int count)
        {
            stream.Record(start);
            for (int i = 0; i < count; i++) run(i);
            stream.Record(end);
            end.Synchronize();
            return end.ElapsedSince(start).TotalMicroseconds;
        }
    }
}
