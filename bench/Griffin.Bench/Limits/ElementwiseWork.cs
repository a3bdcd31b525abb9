namespace Griffin.Bench.Limits;

/// <summary>Norms, activations, gathers, losses and the optimiser. N rows of D columns, s bytes an element; vectors of D are left out.</summary>
public static class ElementwiseWork
{
    private const double Float = sizeof(float);

    /// <summary>x in, y out: 2NDs; 4ND.</summary>
    public static Work RmsNorm(double n, double d, double s) => new(2 * n * d * s, 4 * n * d);

    /// <summary>x and dy in, dx out: 3NDs; 9ND.</summary>
    public static Work RmsNormBackward(double n, double d, double s) => new(3 * n * d * s, 9 * n * d);

    /// <summary>x and delta in, x and y out: 4NDs; 5ND.</summary>
    public static Work ResidualRmsNorm(double n, double d, double s) => new(4 * n * d * s, 5 * n * d);

    /// <summary>gate and up in, y out: 3NFs; 10NF.</summary>
    public static Work GeluMultiply(double n, double f, double s) => new(3 * n * f * s, 10 * n * f);

    /// <summary>gate, up and dy in, their gradients out: 5NFs; 20NF.</summary>
    public static Work GeluMultiplyBackward(double n, double f, double s) => new(5 * n * f * s, 20 * n * f);

    /// <summary>A row of the table in and one out, and the token: 2NDs + 4N; ND.</summary>
    public static Work Embedding(double n, double d, double s) => new(2 * n * d * s + 4 * n, n * d);

    /// <summary>dx in, float32 rows of the table read and written, tokens taken as all different: NDs + 8ND; ND.</summary>
    public static Work EmbeddingBackward(double n, double d, double s) => new(n * d * s + 2 * Float * n * d, n * d);

    /// <summary>x in: NDs; ND.</summary>
    public static Work ColumnSum(double n, double d, double s) => new(n * d * s, n * d, ReadsOnly: true);

    /// <summary>float32 gradients in: 4P; 2P.</summary>
    public static Work GradientNorm(double parameters) => new(Float * parameters, 2 * parameters, ReadsOnly: true);

    /// <summary>float32 logits in and out: 8NV; 3NV.</summary>
    public static Work SoftCap(double n, double v) => new(2 * Float * n * v, 3 * n * v);

    /// <summary>float32 logits in, their gradient out: 4NV + NVs; 8NV.</summary>
    public static Work CrossEntropy(double n, double v, double s) => new((Float + s) * n * v, 8 * n * v);

    /// <summary>float32 logits in: 4BV; 4BV.</summary>
    public static Work Sampler(double b, double v) => new(Float * b * v, 4 * b * v, ReadsOnly: true);

    /// <summary>Position and count in and out, slot in: 20 bytes a row.</summary>
    public static Work AdvanceRows(double b) => new(20 * b, 0);

    /// <summary>
    /// float32 moments and master in and out, and 4 bytes of gradient and stored weight: 28 bytes a parameter, 15 operations. With bfloat16 storage that
    /// means a bfloat16 gradient; with float32 storage the weights are the master and the gradient float32.
    /// </summary>
    public static Work AdamW(double parameters) => new(28 * parameters, 15 * parameters);
}
