namespace Griffin.Kernels.Tests.Kit;

/// <summary>bfloat16 on the host for the tests: rounding to nearest even and the size of one unit in the last place.</summary>
internal static class Bf16
{
    /// <summary>Bits of the nearest bfloat16, ties to even; a NaN stays one.</summary>
    public static ushort Bits(float value)
    {
        if (float.IsNaN(value))
            return 0x7FC0;
        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>The value rounded to bfloat16.</summary>
    public static float Round(float value) => BitConverter.UInt32BitsToSingle((uint)Bits(value) << 16);

    /// <summary>The value rounded to bfloat16 (once: a double is not rounded to float first).</summary>
    public static double Round(double value)
    {
        if (!double.IsFinite(value) || value == 0)
            return value;
        var ulp = Ulp(value);
        var rounded = Math.Round(value / ulp, MidpointRounding.ToEven) * ulp;
        return Math.Abs(rounded) > MaxFinite ? Math.CopySign(double.PositiveInfinity, value) : rounded;
    }

    /// <summary>Distance between neighbouring bfloat16 numbers around <paramref name="value"/>.</summary>
    public static double Ulp(double value) => Math.ScaleB(1, Math.Max(value == 0 ? -126 : Math.ILogB(value), -126) - 7);

    /// <summary>Largest finite bfloat16.</summary>
    public const double MaxFinite = 3.3895313892515355e38;
}
