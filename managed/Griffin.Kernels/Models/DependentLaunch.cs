namespace Griffin.Kernels.Models;

/// <summary>
/// Whether the kernels of a decode step may begin while the ones before them still run: each asks for its first weights, then waits for what it
/// reads besides (programmatic dependent launch). The results are the same, to the bit.
/// </summary>
public enum DependentLaunch
{
    /// <summary>On a GPU of compute capability 9.0 or more whose driver serves CUDA 12.3 or newer.</summary>
    Auto,

    /// <summary>Always; an error on a GPU that cannot. On the emulator it changes no timing, but checked devices prove that nothing is read too early.</summary>
    On,

    /// <summary>Never.</summary>
    Off,
}
