using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Where every weight lies in the arena. Weights that one product serves (x|y, query|key|value, gate|up) lie side by side as one
/// matrix, as do their biases; every other start is a multiple of 256 bytes.
/// </summary>
/// <remarks>Training adds arenas of other element types with the same layout, made with that type.</remarks>
internal sealed class WeightLayout
{
    private const long Alignment = 256;

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
    private readonly Dictionary<WeightName, long> _offsets = [];

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
            Bytes = (Bytes + Alignment - 1) / Alignment * Alignment;
        }
    }

    /// <summary>Element type of every weight.</summary>
    public ElementType Type { get; }

    /// <summary>All weights, in file order.</summary>
    public IReadOnlyList<WeightName> Names { get; }

    /// <summary>Bytes of the arena.</summary>
    public long Bytes { get; private set; }

    /// <summary>Byte offset of a weight.</summary>
    public long OffsetOf(WeightName name) => _offsets[name];

    /// <summary>Bytes of a weight.</summary>
    public long BytesOf(WeightName name) => WeightCatalogue.ElementsOf(_config, name.Kind) * Type.SizeOf();

    private void Place(WeightName name)
    {
        _offsets[name] = Bytes;
        Bytes += BytesOf(name);
    }
}
