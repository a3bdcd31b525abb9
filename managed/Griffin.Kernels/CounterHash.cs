namespace Griffin.Kernels;

/// <summary>Random bits as a pure function of a key and a counter: nothing is carried from one draw to the next.</summary>
internal static class CounterHash
{
    /// <summary>2⁶⁴ over the golden ratio: multiples of it differ in all their bits.</summary>
    internal const ulong Golden = 0x9E3779B97F4A7C15;

    /// <summary>The bits of a counter under a key.</summary>
    internal static ulong At(ulong key, long counter) => Mix(key + Golden * (ulong)counter);

    /// <summary>A number from 0 to <paramref name="bound"/> − 1; the upper bits decide, so its bias is below bound / 2⁶⁴.</summary>
    internal static long Below(ulong bits, long bound) => (long)Math.BigMul(bits, (ulong)bound, out _);

    /// <summary>A number in [0, 1) from the upper 53 bits.</summary>
    internal static double Uniform(ulong bits) => (bits >> 11) * (1.0 / (1UL << 53));

    /// <summary>The finaliser of SplitMix64: every input bit reaches every output bit.</summary>
    internal static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
