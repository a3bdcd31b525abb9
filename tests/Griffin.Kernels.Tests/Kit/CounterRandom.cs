namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// Seeded test inputs from our own counter generator (SplitMix64): the same seed gives the same numbers on every machine, and any
/// element can be computed alone.
/// </summary>
internal sealed class CounterRandom(ulong seed)
{
    private ulong _counter;

    /// <summary>The next 64 random bits.</summary>
    public ulong NextBits() => Mix(seed, _counter++);

    /// <summary>Uniform in [low, high).</summary>
    public double Uniform(double low = -1, double high = 1) => low + ((high - low) * ((NextBits() >> 11) * (1.0 / (1UL << 53))));

    /// <summary>Uniform in [low, high).</summary>
    public int Integer(int low, int high) => (int)Math.Floor(Uniform(low, high));

    /// <summary>Standard normal.</summary>
    public double Normal() => Math.Sqrt(-2 * Math.Log(1 - Uniform(0, 1))) * Math.Cos(2 * Math.PI * Uniform(0, 1));

    /// <summary><paramref name="count"/> normal numbers of the given spread, as floats.</summary>
    public float[] Normals(int count, double spread = 1) => Fill(count, () => (float)(spread * Normal()));

    /// <summary><paramref name="count"/> normal numbers that are exact in bfloat16: a kernel and its reference read the same inputs.</summary>
    public float[] Bf16Normals(int count, double spread = 1) => Fill(count, () => Bf16.Round((float)(spread * Normal())));

    /// <summary><paramref name="count"/> uniform numbers, as floats.</summary>
    public float[] Uniforms(int count, double low = -1, double high = 1) => Fill(count, () => (float)Uniform(low, high));

    /// <summary><paramref name="count"/> integers in [low, high).</summary>
    public int[] Integers(int count, int low, int high) => Fill(count, () => Integer(low, high));

    private static T[] Fill<T>(int count, Func<T> next)
    {
        var values = new T[count];
        for (var i = 0; i < count; i++)
            values[i] = next();
        return values;
    }

    private static ulong Mix(ulong key, ulong counter)
    {
        var z = unchecked(key + ((counter + 1) * 0x9E3779B97F4A7C15));
        z = unchecked((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9);
        z = unchecked((z ^ (z >> 27)) * 0x94D049BB133111EB);
        return z ^ (z >> 31);
    }
}
