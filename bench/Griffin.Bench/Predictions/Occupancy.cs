using System.Globalization;

namespace Griffin.Bench.Predictions;

/// <summary>
/// How many blocks of the kernels of a 2B model in bfloat16 share a multiprocessor: the claims of occupancy.tsv, which the tests hold against what NVIDIA's
/// compilers need for them.
/// </summary>
public sealed class Occupancy
{
    private readonly Dictionary<string, (int Threads, int Sm80, int Sm90)> _claims;

    private Occupancy(Dictionary<string, (int Threads, int Sm80, int Sm90)> claims) => _claims = claims;

    /// <summary>The table that the program carries.</summary>
    public static Occupancy Claims { get; } = Read();

    /// <summary>Names of the kernels with a claim.</summary>
    public IEnumerable<string> Kernels => _claims.Keys;

    /// <summary>Threads of a block, and blocks on a multiprocessor of an H100.</summary>
    public (int Threads, int Blocks) Of(string kernel) =>
        _claims.TryGetValue(kernel, out (int Threads, int Sm80, int Sm90) claim) ? (claim.Threads, claim.Sm90) : throw new KeyNotFoundException($"occupancy.tsv has no '{kernel}'.");

    /// <summary>Blocks on a multiprocessor of a chip.</summary>
    public int On(Chip chip, string kernel) => chip == Chip.Sm80 ? _claims[kernel].Sm80 : _claims[kernel].Sm90;

    private static Occupancy Read()
    {
        using StreamReader reader = new(typeof(Occupancy).Assembly.GetManifestResourceStream("occupancy.tsv")!);
        Dictionary<string, (int, int, int)> claims = new(StringComparer.Ordinal);
        _ = reader.ReadLine();
        while (reader.ReadLine() is { } line)
        {
            string[] cells = line.Split('\t');
            claims.Add(cells[0], (Number(cells[1]), Number(cells[2]), Number(cells[3])));
        }

        return new(claims);
    }

    private static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
}
