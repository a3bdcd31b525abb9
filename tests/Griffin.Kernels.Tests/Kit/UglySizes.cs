namespace Griffin.Kernels.Tests.Kit;

/// <summary>Sizes that kernels get wrong: 1, primes, and one either side of a tile.</summary>
internal static class UglySizes
{
    /// <summary>Small and awkward row counts and widths.</summary>
    public static int[] Small { get; } = [1, 2, 3, 7, 13, 31];

    /// <summary>One, a prime, and the neighbours of <paramref name="tile"/> and of its double.</summary>
    public static int[] Around(int tile) =>
        [.. new[] { 1, 5, tile - 1, tile, tile + 1, (2 * tile) - 1, (2 * tile) + 3 }.Where(n => n > 0).Distinct().Order()];
}
