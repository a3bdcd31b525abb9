using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Diagnostics;

/// <summary>What one variant of one op computed on a device, against what it should.</summary>
/// <param name="Op">Name of the op.</param>
/// <param name="Variant">Name of the variant; <c>chosen</c> is the one that the device is given by itself.</param>
/// <param name="Type">Type of stored elements.</param>
/// <param name="LargestError">Largest |difference| / (1 + |expected|); infinite where a result is no number.</param>
/// <param name="Tolerance">What the error may be.</param>
/// <param name="Problem">Why it did not run; null when it ran.</param>
public sealed record SelfTestResult(string Op, string Variant, ElementType Type, double LargestError, double Tolerance, string? Problem)
{
    /// <summary>Whether the variant ran and is right.</summary>
    public bool Passed => Problem is null && LargestError <= Tolerance;
}
