namespace Griffin.Bench.Inputs;

/// <summary>How a tensor's elements come from the generator: a draw, times a factor, plus a shift, each rounded to float32.</summary>
/// <param name="IsUniform">Whether the draw is uniform in [0, 1) rather than normal.</param>
/// <param name="Factor">Multiplies the draw.</param>
/// <param name="Shift">Added to the product; 0 adds nothing.</param>
public readonly record struct InputRule(bool IsUniform, float Factor, float Shift)
{
    /// <summary>Element <paramref name="index"/> of the tensor with this seed, before it is rounded to the storage type.</summary>
    public float At(uint seed, long index)
    {
        float scaled = (IsUniform ? Generator.Uniform(seed, index) : Generator.Normal(seed, index)) * Factor;
        return scaled + Shift;
    }
}

/// <summary>The rules by name of input.</summary>
public static class InputRules
{
    /// <summary>Standard normal: activations, gate logits, gradients.</summary>
    public static InputRule Activation { get; } = new(false, 1, 0);

    /// <summary>Λ between about -8.99 and -4.32: eight times the decay at an open gate is between 0.9 and 0.999.</summary>
    public static InputRule Lambda { get; } = new(true, 4.6637f, -8.9867f);

    /// <summary>Scales of norms: small, around 0.</summary>
    public static InputRule Scale { get; } = new(false, 0.5f, 0);

    /// <summary>Biases.</summary>
    public static InputRule Bias { get; } = new(false, 0.1f, 0);

    /// <summary>Weights of a product with so many terms.</summary>
    public static InputRule Weight(long inner) => new(false, (float)(1 / Math.Sqrt(inner)), 0);
}
