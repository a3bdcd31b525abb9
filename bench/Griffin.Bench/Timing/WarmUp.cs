namespace Griffin.Bench.Timing;

/// <summary>Repeats work until its time has settled: three medians in a row within one percent of each other, or the time for it is over.</summary>
public static class WarmUp
{
    private const int SamplesOfMedian = 5, Medians = 3;
    private const double Agreement = 0.01;

    /// <summary>Runs samples until they have settled; the samples taken are thrown away.</summary>
    /// <param name="sample">Runs the work once and returns its microseconds.</param>
    /// <param name="mostSeconds">After this much measured time the warm-up ends anyhow.</param>
    /// <returns>Whether the time settled.</returns>
    public static bool Run(Func<double> sample, double mostSeconds)
    {
        ArgumentNullException.ThrowIfNull(sample);
        List<double> medians = [];
        double spent = 0;
        while (spent < mostSeconds)
        {
            double[] times = new double[SamplesOfMedian];
            for (int i = 0; i < times.Length && spent < mostSeconds; i++)
            {
                times[i] = sample();
                spent += times[i] * 1e-6;
            }

            medians.Add(new Samples(times.Where(time => time > 0).DefaultIfEmpty(0)).Median);
            if (medians.Count >= Medians && HaveSettled(medians[^Medians..])) return true;
        }

        return false;
    }

    private static bool HaveSettled(List<double> medians) => medians.Max() <= medians.Min() * (1 + Agreement);
}
