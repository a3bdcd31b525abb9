namespace Griffin.Kernels.Tests.References;

/// <summary>
/// The RG-LRU with its output gate in float64, one token at a time, together with the bound that the kernel's contract gives for the error of h.
/// </summary>
/// <param name="width">Channels.</param>
/// <param name="lambda">[width].</param>
/// <param name="chunked">Whether the bound is that of kernels that cut time.</param>
/// <param name="approximate">Whether the bound is that of kernels with approximate functions.</param>
internal sealed class RgLruReference(int width, double[] lambda, bool chunked = false, bool approximate = false)
{
    private const double Unit = 1.0 / (1 << 24);

    private readonly Dictionary<int, Channel[]> _slots = [];

    /// <summary>Relative error that the kernels' contracts give to gelu of a biased argument.</summary>
    public static double GeluError(double x) => Unit * (16 + (8 * 1.6 * Math.Abs(x) * (1 + (0.045 * x * x))));

    /// <summary>Gives a slot its past.</summary>
    public void SetPast(int slot, ReadOnlySpan<float> h)
    {
        var channels = new Channel[width];
        for (var c = 0; c < width; c++)
            channels[c] = new Channel(h[c], Math.Abs(h[c]), 0);
        _slots[slot] = channels;
    }

    /// <summary>One token; padding gives zeros and changes nothing.</summary>
    /// <returns>The output and how far off float32 arithmetic may be.</returns>
    public (double[] Output, double[] Bound) Step(int slot, int position, ReadOnlySpan<double> z, ReadOnlySpan<double> inputGate, ReadOnlySpan<double> recurrenceGate, ReadOnlySpan<double> branch)
    {
        var (output, bound) = (new double[width], new double[width]);
        if (position < 0)
            return (output, bound);
        if (!_slots.TryGetValue(slot, out var channels))
            channels = _slots[slot] = new Channel[width];
        for (var c = 0; c < width; c++)
        {
            var gated = ReferenceMath.Sigmoid(inputGate[c]) * z[c];
            var r = ReferenceMath.Sigmoid(recurrenceGate[c]);
            var (a, m) = ReferenceMath.Decay(r, lambda[c]);
            var log = ReferenceMath.GatePower * r * ReferenceMath.Softplus(lambda[c]);
            var (g, i) = (approximate ? 2 * Math.Abs(recurrenceGate[c]) : 0, approximate ? 2 * Math.Abs(inputGate[c]) : 0);
            var decayUnits = ((approximate ? 16 + g : 8) * log) + 4;
            var inputUnits = 24 + i + (g / 2);
            channels[c] = position == 0 ? new Channel().Next(0, 0, gated, inputUnits, 1) : channels[c].Next(a, decayUnits, m * gated, inputUnits, chunked ? 4 : 1);
            var gelu = ReferenceMath.GeluTanh(branch[c]);
            output[c] = channels[c].H * gelu;
            bound[c] = (channels[c].Error * Math.Abs(gelu)) + (GeluError(branch[c]) * Math.Abs(output[c])) + 1e-37;
        }

        return (output, bound);
    }

    /// <summary>A slot's h.</summary>
    public double[] State(int slot) => Array.ConvertAll(_slots[slot], channel => channel.H);

    /// <summary>How far off a slot's float32 h may be.</summary>
    public double[] StateBound(int slot) => Array.ConvertAll(_slots[slot], channel => channel.Error + (Unit * Math.Abs(channel.H)) + 1e-37);

    /// <summary>h, the same scan over magnitudes, and the bound of the error.</summary>
    private readonly record struct Channel(double H, double Magnitude, double Error)
    {
        public Channel Next(double a, double decayUnits, double v, double inputUnits, double roundings)
        {
            var magnitude = (a * Magnitude) + Math.Abs(v);
            var error = (a * Error) + (Unit * ((decayUnits * a * Magnitude) + (inputUnits * Math.Abs(v)) + (roundings * magnitude)));
            return new Channel((a * H) + v, magnitude, error);
        }
    }
}
