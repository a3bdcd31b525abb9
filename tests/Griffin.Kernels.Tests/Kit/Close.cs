using System.Globalization;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// Comparisons of kernel outputs with float64 references. Every one of them fails on a NaN or an infinity that the reference does
/// not have, and on arrays of different length; a failure names the worst element.
/// </summary>
internal static class Close
{
    /// <summary>|actual - expected| ≤ <paramref name="bound"/>(i) for every element.</summary>
    public static void Within(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, Func<int, double> bound, string what = "output")
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), $"{what}: lengths differ");
        var (worst, worstRatio, failures) = (-1, 0.0, 0);
        for (var i = 0; i < actual.Length; i++)
        {
            if (actual[i] == expected[i]) // infinities of one sign, too
                continue;
            var ratio = Math.Abs(actual[i] - expected[i]) / bound(i);
            if (ratio <= 1) // false for NaN
                continue;
            failures++;
            if (worst < 0 || !(ratio <= worstRatio))
                (worst, worstRatio) = (i, ratio);
        }

        if (failures > 0)
        {
            Assert.Fail(string.Create(CultureInfo.InvariantCulture,
                $"{what}: {failures} of {actual.Length} elements out of bounds; worst [{worst}] = {actual[worst]:G9}, expected {expected[worst]:G9}, bound {bound(worst):G3}"));
        }
    }

    /// <summary>|actual - expected| ≤ <paramref name="tolerance"/> everywhere.</summary>
    public static void Absolute(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double tolerance, string what = "output") =>
        Within(actual, expected, _ => tolerance, what);

    /// <summary>float32 storage: |actual - expected| ≤ relative · max(|expected|, scale), scale the natural size of the terms summed.</summary>
    public static void Float32(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double relative = 1e-5, double scale = 1, string what = "output")
    {
        var reference = expected.ToArray();
        Within(actual, expected, i => relative * Math.Max(Math.Abs(reference[i]), scale), what);
    }

    /// <summary>
    /// bfloat16 storage: one unit in the last place of the expected value (correct rounding needs half of one) plus the float32 accumulation
    /// bound that the operation's contract states, per element.
    /// </summary>
    public static void BFloat16(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, Func<int, double> accumulation, string what = "output")
    {
        var reference = expected.ToArray();
        Within(actual, expected, i => Bf16.Ulp(reference[i]) + accumulation(i), what);
    }

    /// <summary>bfloat16 storage with one accumulation bound for all elements.</summary>
    public static void BFloat16(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double accumulation = 0, string what = "output") =>
        BFloat16(actual, expected, _ => accumulation, what);

    /// <summary>Bit for bit equal (two NaNs of one payload are equal; 0 and -0 are not).</summary>
    public static void Exact(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, string what = "output")
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), $"{what}: lengths differ");
        for (var i = 0; i < actual.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(actual[i]) != BitConverter.SingleToInt32Bits(expected[i]))
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: [{i}] = {actual[i]:G9}, expected exactly {expected[i]:G9}"));
        }
    }

    /// <summary>None of the elements is NaN or infinite.</summary>
    public static void Finite(ReadOnlySpan<float> actual, string what = "output")
    {
        for (var i = 0; i < actual.Length; i++)
        {
            if (!float.IsFinite(actual[i]))
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: [{i}] = {actual[i]}"));
        }
    }
}
