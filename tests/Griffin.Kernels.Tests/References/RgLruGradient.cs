namespace Griffin.Kernels.Tests.References;

/// <summary>
/// The backward pass of the RG-LRU over fresh rows in float64, the derivative term by term, with the bounds that the kernel's contract gives.
/// </summary>
/// <param name="Dz">[tokens, width], the direct path.</param>
/// <param name="Dgates">[tokens, 2·width].</param>
/// <param name="Dy">[tokens, width].</param>
/// <param name="Dlambda">[width].</param>
internal sealed record RgLruGradient(double[] Dz, double[] Dgates, double[] Dy, double[] Dlambda)
{
    private const double Unit = 1.0 / (1 << 24);
    private const double Floor = 1e-36;

    // The root of what lies below float32's normal numbers.
    private static readonly double leastRoot = Math.ScaleB(1, -63);

    /// <summary>How far off float32 arithmetic may be, in the same places.</summary>
    public RgLruGradient Bounds { get; private init; } = null!;

    /// <summary>The gradients of Σ dout·output.</summary>
    /// <param name="rows">Positions of the tokens of every row.</param>
    /// <param name="lambda">[width].</param>
    /// <param name="z">[tokens, width].</param>
    /// <param name="gates">[tokens, 2·width].</param>
    /// <param name="branch">[tokens, width], bias included.</param>
    /// <param name="hidden">[tokens, width], h as it was kept.</param>
    /// <param name="dout">[tokens, width].</param>
    /// <param name="chunked">Whether the bounds are those of kernels that cut time.</param>
    /// <param name="approximate">Whether the bounds are those of kernels with approximate functions.</param>
    public static RgLruGradient Of(IEnumerable<int[]> rows, double[] lambda, double[] z, double[] gates, double[] branch, double[] hidden, double[] dout, bool chunked = false,
        bool approximate = false)
    {
        var width = lambda.Length;
        RgLruGradient Zeros() => new(new double[z.Length], new double[2 * z.Length], new double[z.Length], new double[width]);
        var (result, bounds) = (Zeros(), Zeros());
        var (first, size) = (0, new double[width]);
        foreach (var positions in rows)
        {
            for (var c = 0; c < width; c++)
                size[c] += Column(positions, first, c);
            first += positions.Length;
        }

        for (var c = 0; c < width; c++)
            bounds.Dlambda[c] += (Unit * (first + 64) * size[c]) + Floor;
        return result with { Bounds = bounds };

        // One channel of one row; returns the sum of the sizes of the terms of dΛ.
        double Column(int[] positions, int start, int c)
        {
            var (decay, scale) = (-ReferenceMath.GatePower * ReferenceMath.Softplus(lambda[c]), ReferenceMath.Sigmoid(lambda[c]));
            double carry = 0, carrySize = 0, carryError = 0, sizes = 0;
            for (var t = positions.Length - 1; t >= 0; t--)
            {
                if (positions[t] < 0)
                    continue;
                var at = ((start + t) * width) + c;
                var (input, recurrence) = (((start + t) * 2 * width) + c, ((start + t) * 2 * width) + width + c);
                var gelu = ReferenceMath.GeluTanh(branch[at]);
                var slope = GradientMath.GeluTanhSlope(branch[at]);
                var sigmoid = branch[at] == 0 ? 0.5 : gelu / branch[at];
                result.Dy[at] = dout[at] * hidden[at] * slope;
                bounds.Dy[at] = (Math.Abs(dout[at] * hidden[at]) * (sigmoid + Math.Abs(slope - sigmoid)) * (RgLruReference.GeluError(branch[at]) + (8 * Unit))) + Floor;

                var dh = dout[at] * gelu;
                var g = dh + carry;
                var gSize = Math.Abs(dh) + carrySize;
                var error = carryError + (Math.Abs(dh) * (RgLruReference.GeluError(branch[at]) + (8 * Unit))) + (Unit * (chunked ? 4 : 1) * gSize);

                var (i, x) = (ReferenceMath.Sigmoid(gates[input]), z[at]);
                var inputSlope = i * ReferenceMath.Sigmoid(-gates[input]);
                var r = ReferenceMath.Sigmoid(gates[recurrence]);
                var (a, m) = ReferenceMath.Decay(r, lambda[c]);
                var log = -decay * r;
                if (positions[t] == 0)
                    (a, m, log) = (0, 1, 0);
                var (gateUnits, recurrenceUnits) = (approximate ? 2 * Math.Abs(gates[input]) : 0, approximate ? 2 * Math.Abs(gates[recurrence]) : 0);
                var relative = error + (Unit * (64 + gateUnits + (2 * recurrenceUnits) + (((approximate ? 32 : 24) + (2 * recurrenceUnits)) * log)) * gSize);
                result.Dz[at] = g * m * i;
                bounds.Dz[at] = (((relative * m) + (gSize * leastRoot)) * i) + Floor;
                result.Dgates[input] = g * m * x * inputSlope;
                bounds.Dgates[input] = (((relative * m) + (gSize * leastRoot)) * Math.Abs(x) * inputSlope) + Floor;
                if (positions[t] != 0)
                {
                    var before = t == 0 ? 0 : hidden[at - width];
                    var da = g * before;
                    var dSquare = g * i * x * Math.Min(1 / (2 * m), 1000);
                    var dlog = (a * da) - (2 * a * a * dSquare);
                    var dlogError = relative * a * (Math.Abs(before) + (2 * a * i * Math.Abs(x) * Math.Min(1 / (2 * m), 1000)));
                    var recurrenceSlope = r * ReferenceMath.Sigmoid(-gates[recurrence]);
                    result.Dgates[recurrence] = decay * dlog * recurrenceSlope;
                    bounds.Dgates[recurrence] = (-decay * dlogError * recurrenceSlope) + Floor;
                    result.Dlambda[c] += scale * -ReferenceMath.GatePower * r * dlog;
                    bounds.Dlambda[c] += scale * ReferenceMath.GatePower * r * dlogError;
                    sizes += Math.Abs(scale * ReferenceMath.GatePower * r * dlog);
                }
                else
                {
                    bounds.Dgates[recurrence] = Floor;
                }

                (carry, carrySize, carryError) = (a * g, a * gSize, a * (error + (Unit * (((approximate ? 16 + recurrenceUnits : 8) * log) + 4) * gSize)));
            }

            return sizes;
        }
    }
}
