namespace Griffin.Bench.Gate;

/// <summary>The distance of results from what they should be.</summary>
public static class RelativeL2
{
    /// <summary>‖actual - expected‖ / ‖expected‖; NaN when any number is NaN, infinite when zeros are expected and something else is there.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double Of(ReadOnlySpan<double> actual, ReadOnlySpan<double> expected)
    {
        if (actual.Length != expected.Length) throw new ArgumentException($"{actual.Length} numbers cannot be compared with {expected.Length}.", nameof(actual));
        double difference = 0, size = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            size += expected[i] * expected[i];
        }

        return difference == 0 ? 0 : Math.Sqrt(difference / size);
    }
}
