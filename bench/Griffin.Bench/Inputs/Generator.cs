namespace Griffin.Bench.Inputs;

/// <summary>
/// The inputs of benchmarks: every element is a pure function of its tensor's seed and its own index, in 32-bit integers and at most two float32
/// products, so that C#, Python and the device give equal bits.
/// </summary>
public static class Generator
{
    /// <summary>What makes the sum of four 16-bit numbers a number of variance 1: √3 / 65535 as float32.</summary>
    public const float NormalUnit = (float)(1.7320508075688772 / 65535);

    /// <summary>Four times the mean of a 16-bit number.</summary>
    public const int NormalCentre = 131070;

    /// <summary>Mixes 32 bits; every bit of the result depends on every bit of <paramref name="x"/>.</summary>
    public static uint Mix(uint x)
    {
        x ^= x >> 16;
        x *= 0x7feb352d;
        x ^= x >> 15;
        x *= 0x846ca68b;
        return x ^ (x >> 16);
    }

    /// <summary>The bits of draw <paramref name="draw"/> for an element.</summary>
    /// <param name="seed">The tensor's seed: 1, 2, 3 … in the order of the op's inputs.</param>
    /// <param name="index">The element.</param>
    /// <param name="draw">Numbers the draws for one element from 0.</param>
    public static uint Bits(uint seed, long index, uint draw) =>
        unchecked(Mix((uint)index ^ Mix((uint)(index >> 32) + 0x9e3779b9 * draw + seed * 0x85ebca6b)));

    /// <summary>Uniform in [0, 1), a multiple of 2⁻²⁴.</summary>
    public static float Uniform(uint seed, long index) => (Bits(seed, index, 0) >> 8) * (1f / (1 << 24));

    /// <summary>Nearly normal, of mean 0 and variance 1: four uniform 16-bit numbers added up.</summary>
    public static float Normal(uint seed, long index)
    {
        uint first = Bits(seed, index, 0), second = Bits(seed, index, 1);
        int sum = (int)((first & 0xffff) + (first >> 16) + (second & 0xffff) + (second >> 16));
        return (sum - NormalCentre) * NormalUnit;
    }

    /// <summary>A whole number below <paramref name="bound"/>.</summary>
    public static int Below(uint seed, long index, int bound) => (int)(Bits(seed, index, 0) % (uint)bound);
}
