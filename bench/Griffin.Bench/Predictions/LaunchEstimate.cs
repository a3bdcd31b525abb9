using Griffin.Bench.Limits;

namespace Griffin.Bench.Predictions;

/// <summary>One launch as a model sees it: what it moves and computes, and how its blocks fill the chip.</summary>
/// <param name="Kernel">Name expression, which the occupancy table knows.</param>
/// <param name="Blocks">Blocks of the grid.</param>
public sealed record LaunchEstimate(string Kernel, double Blocks)
{
    /// <summary>Threads that issue one instruction each in a second, all of an H100: 132 multiprocessors, 4 warps of 32 in four clocks of five, 1.755 GHz.</summary>
    internal const double Issue = 0.8 * 132 * 4 * 32 * 1.755e9;

    /// <summary>What mma.sync reaches of an H100's tensor cores.</summary>
    private const double MatrixInstructions = 5.0e14;

    /// <summary>A multiprocessor's widest path to memory.</summary>
    internal const double PathBytes = 132 * 64 * 1.755e9;

    /// <summary>A launch in a graph, and a block's way from its first load to its last store with nothing else to do.</summary>
    internal const double Launch = 1.3e-6, Fill = 1.5e-6;

    /// <summary>Bytes to and from memory.</summary>
    public double Bytes { get; init; }

    /// <summary>Whether reading is nearly all of it.</summary>
    public bool ReadsOnly { get; init; }

    /// <summary>Bytes that one thread has asked for and not got, at most.</summary>
    public double InFlight { get; init; } = 32;

    /// <summary>From asking to getting: of memory, or of the level-2 cache for what was just written.</summary>
    public double Latency { get; init; } = 700e-9;

    /// <summary>Operations of matrix instructions.</summary>
    public double MatrixFlops { get; init; }

    /// <summary>Operations of matrix instructions in a second.</summary>
    public double MatrixRate { get; init; } = MatrixInstructions;

    /// <summary>Instructions of all threads.</summary>
    public double Instructions { get; init; }

    /// <summary>What nothing else hides: a chain of hops, a walk in time.</summary>
    public double SerialSeconds { get; init; }

    /// <summary>What comes when everything else is done: its last blocks' work.</summary>
    public double LastSeconds { get; init; }

    /// <summary>Rounds in which the chip takes the grid.</summary>
    public double Waves(Occupancy occupancy) => Blocks / (occupancy.Of(Kernel).Blocks * (double)Chip.Sm90.Multiprocessors);

    /// <summary>The predicted time on an H100, in seconds.</summary>
    public double Seconds(Ceilings ceilings, Occupancy occupancy)
    {
        ArgumentNullException.ThrowIfNull(ceilings);
        ArgumentNullException.ThrowIfNull(occupancy);
        (int threads, int resident) = occupancy.Of(Kernel);
        double waves = Waves(occupancy), running = Math.Min(Blocks, resident * (double)Chip.Sm90.Multiprocessors);
        double used = Math.Min(1, Blocks / Chip.Sm90.Multiprocessors);
        double bandwidth = Math.Min(ReadsOnly ? ceilings.ReadBytes : ceilings.CopyBytes, Math.Min(used * PathBytes, running * threads * InFlight / Latency));
        // What computes takes as long as the multiprocessor with the most blocks. Memory is kept busy by fewer, and idles for about a quarter of a round.
        double share = waves < 1 ? Blocks / Chip.Sm90.Multiprocessors : waves, rounds = Math.Ceiling(share) / share, tail = 1 + 0.25 / Math.Max(1, waves);
        double memory = Bytes / bandwidth * tail, compute = Math.Max(MatrixFlops / MatrixRate, Instructions / Issue) * rounds;
        return Launch + Fill + Math.Max(Math.Max(memory, compute), SerialSeconds) + LastSeconds;
    }
}
