namespace Griffin.Bench.Timing;

/// <summary>Times of equal work, in microseconds.</summary>
public sealed class Samples
{
    private readonly double[] _sorted;

    /// <summary>Takes at least one time.</summary>
    public Samples(IEnumerable<double> microseconds)
    {
        _sorted = [.. microseconds.Order()];
        if (_sorted.Length == 0) throw new ArgumentException("There is no time.", nameof(microseconds));
    }

    /// <summary>How many times.</summary>
    public int Count => _sorted.Length;

    /// <summary>The middle one, or the mean of the two.</summary>
    public double Median => Quantile(0.5);

    /// <summary>A tenth lies below.</summary>
    public double P10 => Quantile(0.1);

    /// <summary>A tenth lies above.</summary>
    public double P90 => Quantile(0.9);

    private double Quantile(double share)
    {
        double place = share * (_sorted.Length - 1);
        int below = (int)place, above = Math.Min(below + 1, _sorted.Length - 1);
        return _sorted[below] + (place - below) * (_sorted[above] - _sorted[below]);
    }
}
