namespace Griffin.Bench.Limits;

/// <summary>The fused kernels: what of their parts' bytes has to move when nothing between them does. B rows, K terms, s bytes an element.</summary>
public static class FusedWork
{
    private const double Float = sizeof(float);

    /// <summary>x and both halves of w in, F columns out: (BK + 2FK + BF)s; 4BFK.</summary>
    public static Work GatedProduct(double b, double f, double k, double s) => new((b * k + 2 * f * k + b * f) * s, 4 * b * f * k, ReadsOnly: true);

    /// <summary>x and the table in, float32 logits out: (BK + VK)s + 4BV; 2BVK.</summary>
    public static Work NormProduct(double b, double v, double k, double s) => new((b * k + v * k) * s + Float * b * v, 2 * b * v * k, ReadsOnly: true);

    /// <summary>x and the table in, a token a row out: (BK + VK)s + 4B; 2BVK.</summary>
    public static Work SamplingHead(double b, double v, double k, double s) => new((b * k + v * k) * s + 4 * b, 2 * b * v * k, ReadsOnly: true);

    /// <summary>The input and w in, x in and out: (BK + DK + 2BD)s; 2BDK.</summary>
    public static Work ResidualProduct(double b, double d, double k, double s) => new((b * k + d * k + 2 * b * d) * s, 2 * b * d * k, ReadsOnly: true);

    /// <summary>x and the rows of both halves in, z and y out, t - 1 inputs of the state in and one out, and the taps: (BK + 2WK + (2 + t)BW + tW)s; 4BWK.</summary>
    public static Work RecurrentInput(double b, double w, double k, double taps, double s) =>
        new((b * k + 2 * w * k + (2 + taps) * b * w + taps * w) * s, 4 * b * w * k, ReadsOnly: true);

    /// <summary>z and y in, the output out, both gates' weights in, the float32 state in and out: (3BW + 2W²/H)s + 8BW; 4BW²/H.</summary>
    public static Work RecurrentStep(double b, double w, double blocks, double s) =>
        new((3 * b * w + 2 * w * w / blocks) * s + 2 * Float * b * w, 4 * b * w * w / blocks, ReadsOnly: true);

    /// <summary>x and w in, q, and k and v in the ring, out: (BK + (H + 2)d(K + B))s; 2B(H + 2)dK.</summary>
    public static Work RotaryProduct(double b, double heads, double d, double k, double s) =>
        new((b * k + (heads + 2) * d * (k + b)) * s, 2 * b * (heads + 2) * d * k, ReadsOnly: true);

    /// <summary>x in, z and both logits out: 4NWs + 2(W²/H)s; 2tNW + 4NW²/H.</summary>
    public static Work ConvGates(double n, double w, double blocks, double taps, double s) =>
        new((4 * n * w + 2 * w * w / blocks) * s, 2 * taps * n * w + 4 * n * w * w / blocks);

    /// <summary>x and y in, the output out: 3NWs + 2(W²/H)s; 2tNW + 4NW²/H.</summary>
    public static Work RecurrentMixer(double n, double w, double blocks, double taps, double s) =>
        new((3 * n * w + 2 * w * w / blocks) * s, 2 * taps * n * w + 4 * n * w * w / blocks);
}
