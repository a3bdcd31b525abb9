namespace Griffin.Kernels.Tests.References;

/// <summary>The formulas of the model family in float64, one element or one row at a time.</summary>
internal static class ReferenceMath
{
    /// <summary>Multiplier of the recurrence gate: <c>log a = -8 · r · softplus(Λ)</c>.</summary>
    public const double GatePower = 8;

    public static double Sigmoid(double x)
    {
        var e = Math.Exp(-Math.Abs(x));
        return (x >= 0 ? 1 : e) / (1 + e);
    }

    /// <summary><c>ln(1 + eˣ)</c> without overflow or cancellation.</summary>
    public static double Softplus(double x) => Math.Max(x, 0) + LogOnePlus(Math.Exp(-Math.Abs(x)));

    /// <summary><c>0.5·x·(1 + tanh u)</c>, <c>u = √(2/π)·(x + 0.044715x³)</c>, as <c>x·σ(2u)</c>: 1 + tanh u cancels where x is very negative.</summary>
    public static double GeluTanh(double x) => x * Sigmoid(2 * Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)));

    /// <summary><c>cap · tanh(x / cap)</c>; a cap of 0 means none.</summary>
    public static double SoftCap(double x, double cap) => cap == 0 ? x : cap * Math.Tanh(x / cap);

    /// <summary><c>eˣ - 1</c> to full precision (the framework's own cancels near 0).</summary>
    public static double ExpMinusOne(double x)
    {
        var u = Math.Exp(x);
        if (u == 1)
            return x;
        var difference = u - 1;
        return difference == -1 ? -1 : difference * x / Math.Log(u);
    }

    /// <summary><c>ln(1 + x)</c> to full precision (the framework's own cancels near 0).</summary>
    public static double LogOnePlus(double x)
    {
        var u = 1 + x;
        return u == 1 ? x : Math.Log(u) * x / (u - 1);
    }

    /// <summary>Decay and input multiplier of the RG-LRU for recurrence gate <paramref name="r"/>: <c>a = exp(L)</c>, <c>m = √(1 - exp(2L))</c>.</summary>
    public static (double A, double M) Decay(double r, double lambda)
    {
        var log = -GatePower * r * Softplus(lambda);
        return (Math.Exp(log), Math.Sqrt(-ExpMinusOne(2 * log)));
    }

    /// <summary><c>x · rsqrt(mean(x²) + eps) · (1 + scale)</c>.</summary>
    public static double[] RmsNorm(ReadOnlySpan<double> x, ReadOnlySpan<double> scale, double eps)
    {
        double squares = 0;
        foreach (var value in x)
            squares += value * value;
        var factor = 1 / Math.Sqrt((squares / x.Length) + eps);
        var y = new double[x.Length];
        for (var i = 0; i < y.Length; i++)
            y[i] = x[i] * factor * (1 + scale[i]);
        return y;
    }

    /// <summary><c>W·x + bias</c> for <paramref name="weight"/> [out, in] row-major; an empty bias is none.</summary>
    public static double[] Linear(ReadOnlySpan<double> x, ReadOnlySpan<double> weight, ReadOnlySpan<double> bias)
    {
        var y = new double[weight.Length / x.Length];
        for (var o = 0; o < y.Length; o++)
        {
            var row = weight.Slice(o * x.Length, x.Length);
            var sum = bias.IsEmpty ? 0 : bias[o];
            for (var i = 0; i < row.Length; i++)
                sum += row[i] * x[i];
            y[o] = sum;
        }

        return y;
    }

    /// <summary>Block-diagonal map: <c>y[h,j] = Σᵢ x[h,i]·weight[h,i,j] + bias[h,j]</c>.</summary>
    public static double[] BlockDiagonal(ReadOnlySpan<double> x, ReadOnlySpan<double> weight, ReadOnlySpan<double> bias, int blocks)
    {
        var size = x.Length / blocks;
        var y = new double[x.Length];
        for (var block = 0; block < blocks; block++)
        {
            for (var j = 0; j < size; j++)
            {
                var sum = bias[(block * size) + j];
                for (var i = 0; i < size; i++)
                    sum += x[(block * size) + i] * weight[(((block * size) + i) * size) + j];
                y[(block * size) + j] = sum;
            }
        }

        return y;
    }

    /// <summary>
    /// Rotates the first <paramref name="rotated"/> entries of a head in place, half-split pairs (j, j + rotated/2), by
    /// <c>position · base^(-2j/rotated)</c>.
    /// </summary>
    public static void Rotate(Span<double> head, int rotated, long position, double baseFrequency)
    {
        var half = rotated / 2;
        for (var j = 0; j < half; j++)
        {
            var (sin, cos) = Math.SinCos(position * Math.Pow(baseFrequency, -2.0 * j / rotated));
            (head[j], head[j + half]) = ((head[j] * cos) - (head[j + half] * sin), (head[j + half] * cos) + (head[j] * sin));
        }
    }

    /// <summary><c>-log softmax(logits)[target]</c>.</summary>
    public static double NegativeLogLikelihood(ReadOnlySpan<double> logits, int target)
    {
        var max = double.NegativeInfinity;
        foreach (var value in logits)
            max = Math.Max(max, value);
        double sum = 0;
        foreach (var value in logits)
            sum += Math.Exp(value - max);
        return max + Math.Log(sum) - logits[target];
    }
}
