namespace Griffin.Bench.Limits;

/// <summary>Matrix products. M rows, N columns, K terms, s bytes an element.</summary>
public static class ProductWork
{
    private const double Float = sizeof(float);

    // With so few rows the weights are nearly all that moves.
    private const double MostRowsOfStep = 64;

    /// <summary>x and w in, y out: (MK + KN + MN)s; 2MNK.</summary>
    public static Work MatMul(double m, double n, double k, double s) => new((m * k + k * n + m * n) * s, 2 * m * n * k, m <= MostRowsOfStep);

    /// <summary>dy, w and x in, dx and float32 dw out: (MN + NK + 2MK)s + 4NK; 4MNK.</summary>
    public static Work MatMulBackward(double m, double n, double k, double s) => new((m * n + n * k + 2 * m * k) * s + Float * n * k, 4 * m * n * k);

    /// <summary>x and both halves of w in, N/2 columns out: (MK + KN + MN/2)s; 2MNK.</summary>
    public static Work GateUpGelu(double m, double n, double k, double s) => new((m * k + k * n + m * n / 2) * s, 2 * m * n * k, m <= MostRowsOfStep);

    /// <summary>Input, w and the residual stream in, the stream and its scaled rows out: (MK + KD + 3MD)s, and 4M of factors; 2MDK.</summary>
    public static Work ResidualMatMul(double m, double d, double k, double s) => new((m * k + k * d + 3 * m * d) * s + Float * m, 2 * m * d * k, m <= MostRowsOfStep);

    /// <summary>x and the table in, dx and the table's float32 gradient out, logits nowhere: (2ND + VD)s + 4VD; 6NDV.</summary>
    public static Work LinearCrossEntropy(double n, double v, double d, double s) => new((2 * n * d + v * d) * s + Float * v * d, 6 * n * d * v);

    /// <summary>Both gates of H blocks, z in, logits out: 3NWs; 4NWd with d = W/H.</summary>
    public static Work Gates(double n, double w, double blocks, double s) => new(3 * n * w * s, 4 * n * w * w / blocks);

    /// <summary>z and both logits' gradients in, dz in and out: 5NWs; 8NWd.</summary>
    public static Work GatesBackward(double n, double w, double blocks, double s) => new(5 * n * w * s, 8 * n * w * w / blocks);
}
