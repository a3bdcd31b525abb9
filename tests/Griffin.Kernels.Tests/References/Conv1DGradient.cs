namespace Griffin.Kernels.Tests.References;

/// <summary>
/// Gradients of <see cref="Conv1DReference"/> over rows of one call, in float64, with the magnitudes that made each: every token's dy goes to the taps
/// and inputs that made its result.
/// </summary>
internal sealed class Conv1DGradient
{
    public Conv1DGradient(int width, int taps, int tokens) =>
        (Dz, DzSize, Dweight, DweightSize, Dbias, DbiasSize) = (new double[tokens * width], new double[tokens * width], new double[width * taps], new double[width * taps], new double[width], new double[width]);

    public double[] Dz { get; }

    public double[] DzSize { get; }

    public double[] Dweight { get; }

    public double[] DweightSize { get; }

    public double[] Dbias { get; }

    public double[] DbiasSize { get; }

    /// <summary>Gradients from inputs z and result gradients dy, [tokens, width]; nothing precedes the rows.</summary>
    public static Conv1DGradient Of(IEnumerable<int[]> rows, int width, int taps, double[] weight, double[] z, double[] dy)
    {
        var result = new Conv1DGradient(width, taps, z.Length / width);
        var token = 0;
        foreach (var positions in rows)
        {
            for (var j = 0; j < positions.Length; j++, token++)
            {
                for (var c = 0; c < width && positions[j] >= 0; c++)
                {
                    var gradient = dy[(token * width) + c];
                    result.Dbias[c] += gradient;
                    result.DbiasSize[c] += Math.Abs(gradient);
                    for (var k = 0; k < taps && k <= Math.Min(j, positions[j]); k++)
                    {
                        var (tap, input) = ((c * taps) + taps - 1 - k, ((token - k) * width) + c);
                        result.Dweight[tap] += gradient * z[input];
                        result.DweightSize[tap] += Math.Abs(gradient * z[input]);
                        result.Dz[input] += gradient * weight[tap];
                        result.DzSize[input] += Math.Abs(gradient * weight[tap]);
                    }
                }
            }
        }

        return result;
    }
}
