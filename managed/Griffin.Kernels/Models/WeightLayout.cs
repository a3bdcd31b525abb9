using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Where every weight lies in the arena. Weights that one product serves (x|y, query|key|value, gate|up) lie side by side as one
/// matrix, as do their biases; every other start is a multiple of 128 elements: 256 bytes in bfloat16.
/// </summary>
/// <remarks>Offsets count elements, so arenas of different types (weights, gradients, moments) agree in them.</remarks>
internal sealed class WeightLayout
{
    /// <summary>Elements that the start of every group is a multiple of.</summary>
    public const int Alignment = 128;

    // What follows its predecessor without a gap.
    private static readonly Dictionary<WeightKind, WeightKind> s_groups = new()
    {
        [WeightKind.LinearY] = WeightKind.LinearX,
        [WeightKind.LinearYBias] = WeightKind.LinearXBias,
        [WeightKind.Key] = WeightKind.Query,
        [WeightKind.Value] = WeightKind.Query,
        [WeightKind.MlpUp] = WeightKind.MlpGate,
        [WeightKind.MlpUpBias] = WeightKind.MlpGateBias,
    };

    private readonly GriffinConfig _config;
    private readonly Dictionary<WeightName, long> _starts = [];

    public WeightLayout(GriffinConfig config, ElementType type)
    {
        _config = config;
        Type = type;
        Names = [.. WeightCatalogue.Names(config)];
        foreach (WeightName name in Names)
        {
            if (s_groups.ContainsKey(name.Kind)) continue;
            Place(name);
            foreach (WeightName member in Names.Where(other => other.Layer == name.Layer && s_groups.TryGetValue(other.Kind, out WeightKind head) && head == name.Kind))
                Place(member);
            Elements = (Elements + Alignment - 1) / Alignment * Alignment;
        }
    }

    /// <summary>Element type of every weight.</summary>
    public ElementType Type { get; }

    /// <summary>All weights, in file order.</summary>
    public IReadOnlyList<WeightName> Names { get; }

    /// <summary>Elements of the arena, gaps included.</summary>
    public long Elements { get; private set; }

    /// <summary>Bytes of the arena.</summary>
    public long Bytes => Elements * Type.SizeOf();

    /// <summary>First element of a weight.</summary>
    public long StartOf(WeightName name) => _starts[name];

    /// <summary>Elements of a weight.</summary>
    public long ElementsOf(WeightName name) => WeightCatalogue.ElementsOf(_config, name.Kind);

    /// <summary>Byte offset of a weight.</summary>
    public long OffsetOf(WeightName name) => _starts[name] * Type.SizeOf();

    /// <summary>Bytes of a weight.</summary>
    public long BytesOf(WeightName name) => ElementsOf(name) * Type.SizeOf();

    private void Place(WeightName name)
    {
        _starts[name] = Elements;
        Elements += ElementsOf(name);
    }
}
