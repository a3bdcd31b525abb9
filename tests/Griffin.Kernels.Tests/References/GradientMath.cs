namespace Griffin.Kernels.Tests.References;

/// <summary>The backward formulas of the elementwise ops in float64.</summary>
internal static class GradientMath
{
    /// <summary>Derivative of <see cref="ReferenceMath.GeluTanh"/>, with 1 + tanh u written as 2σ(2u), which does not cancel.</summary>
    public static double GeluTanhSlope(double x)
    {
        var v = 2 * Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x));
        var s = ReferenceMath.Sigmoid(v);
        return s + (x * s * ReferenceMath.Sigmoid(-v) * 2 * Math.Sqrt(2 / Math.PI) * (1 + (0.134145 * x * x)));
    }

    /// <summary>Gradients of <see cref="ReferenceMath.RmsNorm"/> for one row, and the magnitudes that made each.</summary>
    public static (double[] Dx, double[] DxSize, double[] Dscale) RmsNorm(ReadOnlySpan<double> x, ReadOnlySpan<double> scale, ReadOnlySpan<double> dy, double eps)
    {
        var width = x.Length;
        double squares = 0, q = 0, size = 0;
        for (var i = 0; i < width; i++)
        {
            squares += x[i] * x[i];
            q += (1 + scale[i]) * dy[i] * x[i];
            size += Math.Abs((1 + scale[i]) * dy[i] * x[i]);
        }

        var s = 1 / Math.Sqrt((squares / width) + eps);
        var (dx, dxSize, dscale) = (new double[width], new double[width], new double[width]);
        for (var i = 0; i < width; i++)
        {
            var own = s * (1 + scale[i]) * dy[i];
            dx[i] = own - (x[i] * s * s * s * q / width);
            dxSize[i] = Math.Abs(own) + Math.Abs(x[i] * s * s * s * size / width);
            dscale[i] = dy[i] * x[i] * s;
        }

        return (dx, dxSize, dscale);
    }
}
