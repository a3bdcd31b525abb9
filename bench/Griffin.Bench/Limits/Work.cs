namespace Griffin.Bench.Limits;

/// <summary>The least that a row has to move and to compute, whatever a kernel does.</summary>
/// <param name="Bytes">Bytes read and written.</param>
/// <param name="Flops">Floating-point operations, masked and repeated ones left out.</param>
/// <param name="ReadsOnly">Whether reading is nearly all of it: then the ceiling is that of a sum, else that of a copy.</param>
public readonly record struct Work(double Bytes, double Flops, bool ReadsOnly = false)
{
    /// <summary>The least time, in seconds, under the given ceilings.</summary>
    public double Seconds(Ceilings ceilings)
    {
        ArgumentNullException.ThrowIfNull(ceilings);
        return Math.Max(Bytes / (ReadsOnly ? ceilings.ReadBytes : ceilings.CopyBytes), Flops / ceilings.Flops);
    }

    /// <summary>How much of the limit a time reaches, in percent; above 100 something was measured that is not there.</summary>
    public double Percent(Ceilings ceilings, double seconds) => 100 * Seconds(ceilings) / seconds;
}

/// <summary>What a device does at most, a second.</summary>
/// <param name="CopyBytes">Bytes read and written by a copy.</param>
/// <param name="ReadBytes">Bytes read by a sum.</param>
/// <param name="Flops">Operations of a bfloat16 product.</param>
public sealed record Ceilings(double CopyBytes, double ReadBytes, double Flops)
{
    /// <summary>The data sheet's figures of a device by a part of its name; null where we have none.</summary>
    public static Ceilings? Datasheet(string device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.Contains("H100 80GB HBM3", StringComparison.Ordinal) ? new(3.35e12, 3.35e12, 989e12)
            : device.Contains("H200", StringComparison.Ordinal) ? new(4.8e12, 4.8e12, 989e12)
            : device.Contains("A100-SXM4-80GB", StringComparison.Ordinal) ? new(2.039e12, 2.039e12, 312e12)
            : null;
    }
}
