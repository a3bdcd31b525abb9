namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// Values that outputs start with, so that an element nobody wrote fails every comparison. The floating-point poison is a NaN with a
/// payload of its own.
/// </summary>
internal static class Poison
{
    /// <summary>Bits of the float32 poison (also a NaN in each bfloat16 half).</summary>
    public const uint Bits = 0xFFD6_FFD6;

    public const int Integer = unchecked((int)0xFFD6_FFD6);

    public static float Float => BitConverter.UInt32BitsToSingle(Bits);

    /// <summary><paramref name="count"/> poisoned floats.</summary>
    public static float[] Floats(int count)
    {
        var values = new float[count];
        Array.Fill(values, Float);
        return values;
    }

    /// <summary><paramref name="count"/> bytes that read as NaN in float32 and in bfloat16.</summary>
    public static byte[] Bytes(int count)
    {
        var values = new byte[count];
        for (var i = 0; i < count; i++)
            values[i] = (byte)(Bits >> (8 * (i & 3)));
        return values;
    }
}
