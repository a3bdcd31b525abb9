namespace Griffin.Bench.Limits;

/// <summary>Multi-query attention. H heads of d channels, one key and value head, s bytes an element.</summary>
public static class AttentionWork
{
    /// <summary>Pairs of query and key of one sequence: wT - w(w-1)/2 beyond the window, else T(T+1)/2.</summary>
    public static double Pairs(double t, double window) => t > window ? window * t - window * (window - 1) / 2 : t * (t + 1) / 2;

    /// <summary>q, k, v in, the output out: (2NHd + 2Nd)s; 4dH for each pair.</summary>
    public static Work Window(double batch, double t, double heads, double d, double window, double s) =>
        new(batch * t * (2 * heads + 2) * d * s, 4 * d * heads * batch * Pairs(t, window));

    /// <summary>q, k, v, the output and its gradient in, the gradients of q, k, v out: (4NHd + 4Nd)s; 10dH for each pair, five products.</summary>
    public static Work WindowBackward(double batch, double t, double heads, double d, double window, double s) =>
        new(batch * t * (4 * heads + 4) * d * s, 10 * d * heads * batch * Pairs(t, window));

    /// <summary>The ring's keys and values in, q in and the output out: B(2·keys·d + 2Hd)s; 4dH for each key.</summary>
    public static Work Decode(double batch, double heads, double d, double keys, double s) =>
        new(batch * (2 * keys + 2 * heads) * d * s, 4 * d * heads * keys * batch, ReadsOnly: true);

    /// <summary>Half of each head of q and k in and out: N(H + 1)ds; 3 operations for each of those numbers.</summary>
    public static Work Rotary(double n, double heads, double d, double s) => new(n * (heads + 1) * d * s, 1.5 * n * (heads + 1) * d);

    /// <summary>Half of each head of q in and out, k and v in, and both out into the ring: B(H + 4)ds.</summary>
    public static Work RotaryStep(double batch, double heads, double d, double s) => new(batch * (heads + 4) * d * s, 1.5 * batch * (heads + 1) * d);

    /// <summary>Keys and values in and out: 4Bnds for n tokens that stay.</summary>
    public static Work RingAppend(double batch, double tokens, double d, double s) => new(4 * batch * tokens * d * s, 0);
}
