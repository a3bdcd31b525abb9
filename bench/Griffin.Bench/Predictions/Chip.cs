namespace Griffin.Bench.Predictions;

/// <summary>What of a GPU decides how many blocks share a multiprocessor, and how fast those run.</summary>
/// <param name="Architecture">Name of the target, such as sm_90.</param>
/// <param name="Multiprocessors">How many.</param>
/// <param name="Warps">Resident warps of a multiprocessor at most.</param>
/// <param name="Blocks">Resident blocks of a multiprocessor at most.</param>
/// <param name="SharedBytes">Shared memory of a multiprocessor.</param>
public sealed record Chip(string Architecture, int Multiprocessors, int Warps, int Blocks, int SharedBytes)
{
    private const int Lanes = 32;
    private const int Partitions = 4;
    private const int RegistersPerPartition = 16_384;
    private const int RegisterUnit = 256;       // registers of a warp are given out in such pieces
    private const int SharedUnit = 128;
    private const int SharedReserved = 1024;    // of every block, by the driver

    /// <summary>A100.</summary>
    public static Chip Sm80 { get; } = new("sm_80", 108, 64, 32, 164 * 1024);

    /// <summary>H100 and H200.</summary>
    public static Chip Sm90 { get; } = new("sm_90", 132, 64, 32, 228 * 1024);

    /// <summary>Blocks of a kernel that a multiprocessor holds at a time, by the rules of NVIDIA's occupancy calculator.</summary>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="registers">Registers of a thread.</param>
    /// <param name="sharedBytes">Shared memory of a block, static and dynamic.</param>
    public int BlocksOf(int threads, int registers, int sharedBytes)
    {
        int warps = CeilDiv(threads, Lanes);
        int byRegisters = RegistersPerPartition / RoundUp(registers * Lanes, RegisterUnit) * Partitions / warps;
        int byShared = SharedBytes / RoundUp(sharedBytes + SharedReserved, SharedUnit);
        return Math.Min(Math.Min(Warps / warps, Blocks), Math.Min(byRegisters, byShared));
    }

    private static int CeilDiv(int a, int b) => (a + b - 1) / b;

    private static int RoundUp(int a, int b) => CeilDiv(a, b) * b;
}
