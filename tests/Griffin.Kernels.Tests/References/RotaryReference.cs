using System.Numerics;

namespace Griffin.Kernels.Tests.References;

/// <summary>Partial rotary embedding of a q|k|v row in float64, and the exact phase table of the base 10000 by integer roots.</summary>
internal static class RotaryReference
{
    private const int Digits = 60;

    // 2π to 60 digits after the point.
    private static readonly BigInteger twoPi = BigInteger.Parse("6283185307179586476925286766559005768394338798750211641949889", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Rotates the q heads and the k head, or turns them back; v stays.</summary>
    public static double[] Rotate(ReadOnlySpan<float> qkv, int heads, int headDim, int rotated, int position, double baseFrequency = 10_000, bool inverse = false)
    {
        var result = new double[qkv.Length];
        for (var i = 0; i < result.Length; i++)
            result[i] = qkv[i];
        for (var head = 0; head <= heads && position >= 0; head++)
            ReferenceMath.Rotate(result.AsSpan(head * headDim, headDim), rotated, inverse ? -position : position, baseFrequency);
        return result;
    }

    /// <summary>
    /// round(10000^(-2j/rotated) / 2π · 2⁶⁴) for a power of two: 10000^(1/rotated) is a repeated integer square root with 60 digits.
    /// </summary>
    public static ulong[] Phases(int rotated)
    {
        var one = BigInteger.Pow(10, Digits);
        var root = 10_000 * one;
        for (var n = 1; n < rotated; n *= 2)
            root = SquareRoot(root * one);
        var phases = new ulong[rotated / 2];
        var power = one;   // 10000^(2j/rotated)
        for (var j = 0; j < phases.Length; j++)
        {
            var denominator = power * twoPi / one;
            phases[j] = (ulong)(((one << 65) / denominator + 1) >> 1);
            power = power * root / one * root / one;
        }

        return phases;
    }

    private static BigInteger SquareRoot(BigInteger x)
    {
        var root = BigInteger.One << (int)((x.GetBitLength() + 1) / 2);
        while (true)
        {
            var next = (root + (x / root)) >> 1;
            if (next >= root)
                return root;
            root = next;
        }
    }
}
