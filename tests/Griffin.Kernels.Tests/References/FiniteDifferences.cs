namespace Griffin.Kernels.Tests.References;

/// <summary>Gradients of float64 functions by central differences: what the backward formulas are held against.</summary>
internal static class FiniteDifferences
{
    /// <summary>Step of a difference: its error is about 1e-10 of the third derivative, rounding about 1e-11 of the value.</summary>
    public const double Step = 1e-5;

    /// <summary>∂loss/∂x, one element at a time; x is restored.</summary>
    public static double[] Gradient(double[] x, Func<double> loss)
    {
        var gradient = new double[x.Length];
        for (var i = 0; i < x.Length; i++)
        {
            var value = x[i];
            x[i] = value + Step;
            var above = loss();
            x[i] = value - Step;
            gradient[i] = (above - loss()) / (2 * Step);
            x[i] = value;
        }

        return gradient;
    }

    /// <summary>Σ a·b: with b a gradient of y, the loss that has it.</summary>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (var i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    /// <summary>Fails unless a formula's gradient is the measured one, to <paramref name="tolerance"/> of its largest element.</summary>
    public static void AssertSame(double[] formula, double[] measured, string what, double tolerance = 1e-7)
    {
        Assert.That(formula, Has.Length.EqualTo(measured.Length), what);
        var scale = measured.Max(Math.Abs);
        Assert.That(scale, Is.GreaterThan(0), $"{what}: nothing to compare");
        for (var i = 0; i < formula.Length; i++)
            Assert.That(formula[i], Is.EqualTo(measured[i]).Within(tolerance * scale), $"{what} [{i}]");
    }
}
