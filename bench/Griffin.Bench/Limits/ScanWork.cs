namespace Griffin.Bench.Limits;

/// <summary>The recurrence and what surrounds it. N tokens of W channels, s bytes an element; vectors of W are left out.</summary>
public static class ScanWork
{
    private const double Float = sizeof(float);

    /// <summary>x in, y out, and the taps: 2NWs + kWs; 2kNW.</summary>
    public static Work Conv1D(double n, double w, double taps, double s) => new((2 * n + taps) * w * s, 2 * taps * n * w);

    /// <summary>x and dy in, dx out, and the taps: 3NWs + kWs; 4kNW.</summary>
    public static Work Conv1DBackward(double n, double w, double taps, double s) => new((3 * n + taps) * w * s, 4 * taps * n * w);

    /// <summary>x in, y out, k - 1 inputs of the state in and one out, and the taps: (2 + k)BWs + kWs; 2kBW.</summary>
    public static Work Conv1DStep(double b, double w, double taps, double s) => new(((2 + taps) * b + taps) * w * s, 2 * taps * b * w, ReadsOnly: true);

    /// <summary>a and x in, h out: 3NWs; 2NW.</summary>
    public static Work LinearScan(double n, double w, double s) => new(3 * n * w * s, 2 * n * w);

    /// <summary>u, both logits and y in, the output out: 5NWs; 25NW.</summary>
    public static Work RgLru(double n, double w, double s) => new(5 * n * w * s, 25 * n * w);

    /// <summary>u, both logits, h, y and do in, du, both logits' gradients and dy out: 10NWs; 60NW.</summary>
    public static Work RgLruBackward(double n, double w, double s) => new(10 * n * w * s, 60 * n * w);

    /// <summary>As the forward pass, and the float32 state in and out: 5BWs + 8BW; 25BW.</summary>
    public static Work RgLruStep(double b, double w, double s) => new(5 * b * w * s + 2 * Float * b * w, 25 * b * w, ReadsOnly: true);

    /// <summary>Gates and scan in one pass, z and y in, the output out, and the gates' weights: 3NWs + 2(W²/H)s; 4NWd + 25NW.</summary>
    public static Work Mixer(double n, double w, double blocks, double s) => new((3 * n * w + 2 * w * w / blocks) * s, (4 * w / blocks + 25) * n * w);

    /// <summary>
    /// The scan's own 10NWs with the gates' backward in the same pass, the gates' weights, and their float32 gradients: 10NWs + 2(W²/H)(s + 4); 8NWd + 60NW.
    /// </summary>
    public static Work MixerBackward(double n, double w, double blocks, double s) =>
        new(10 * n * w * s + 2 * w * w / blocks * (s + Float), (8 * w / blocks + 60) * n * w);
}
