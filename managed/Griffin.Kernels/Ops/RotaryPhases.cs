namespace Griffin.Kernels.Ops;

/// <summary>
/// Frequencies of rotary position embedding as fixed-point turns per position: phase[j] = round(frac(base^(-2j/rotated) / 2π) · 2^64).
/// Position · phase modulo 2^64 is then the angle in turns, exact for any position, where a float32 angle loses whole turns from 2^24 on.
/// </summary>
public static class RotaryPhases
{
    private const decimal LogTwo = 0.6931471805599453094172321215m;
    private const decimal TwoPi = 6.2831853071795864769252867666m;
    private const decimal TwoTo32 = 4294967296m;

    /// <summary>The table for heads whose first <paramref name="rotated"/> channels turn.</summary>
    /// <param name="rotated">Rotated channels of a head, even; channel j turns with channel j + rotated/2.</param>
    /// <param name="baseFrequency">The base of the frequencies, 10000 in the published models; above 1 and at most 1e15.</param>
    /// <returns>rotated/2 phases, to be copied to the device as they are.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its range.</exception>
    public static ulong[] Compute(int rotated, double baseFrequency)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rotated);
        if (rotated % 2 != 0) throw new ArgumentOutOfRangeException(nameof(rotated), rotated, "The number of rotated channels must be even.");
        if (!(baseFrequency > 1 && baseFrequency <= 1e15))
            throw new ArgumentOutOfRangeException(nameof(baseFrequency), baseFrequency, "The base must be above 1 and at most 1e15.");
        decimal log = Log((decimal)baseFrequency);
        ulong[] phases = new ulong[rotated / 2];
        for (int j = 0; j < phases.Length; j++) phases[j] = ToFixedPoint(ExpOfNegative(log * (2 * j) / rotated) / TwoPi);
        return phases;
    }

    // A fraction below 1/2 (no frequency exceeds 1 / 2π turns), times 2^64, in two exact steps.
    private static ulong ToFixedPoint(decimal fraction)
    {
        decimal upper = fraction * TwoTo32;
        decimal whole = decimal.Floor(upper);
        return checked((ulong)whole * (1UL << 32) + (ulong)decimal.Round((upper - whole) * TwoTo32));
    }

    private static decimal Log(decimal x)
    {
        int halvings = 0;
        for (; x > 1.5m; x /= 2) halvings++;
        decimal ratio = (x - 1) / (x + 1);   // ln x = 2 artanh((x - 1) / (x + 1))
        decimal power = ratio, sum = 0;
        for (int n = 1; power != 0; n += 2, power *= ratio * ratio) sum += power / n;
        return 2 * sum + halvings * LogTwo;
    }

    // e^-x for x >= 0.
    private static decimal ExpOfNegative(decimal x)
    {
        int halvings = (int)decimal.Floor(x / LogTwo);
        x -= halvings * LogTwo;
        decimal term = 1, sum = 1;
        for (int n = 1; term != 0; n++) sum += term *= -x / n;
        for (; halvings > 0; halvings--) sum /= 2;
        return sum;
    }
}
