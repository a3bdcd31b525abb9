using System.Text.Json;
using System.Text.Json.Serialization;

namespace Griffin.Bench.Results;

/// <summary>One line of a results file: what one peer took for one row in one mode, or why it was not measured.</summary>
public sealed record ResultLine
{
    /// <summary>What every reason begins with.</summary>
    public const string NotMeasured = "not measured: ";

    private static readonly JsonSerializerOptions options = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    /// <summary>The row's id.</summary>
    public required string Row { get; init; }

    /// <summary>Who ran it: <c>griffin</c>, or a peer's name.</summary>
    public required string Peer { get; init; }

    /// <summary>Which kernel or library it took, where there is a choice.</summary>
    public string? Variant { get; init; }

    /// <summary><c>cold</c>, <c>chained</c> or <c>pipeline</c>.</summary>
    public string? Mode { get; init; }

    /// <summary>Numbers the rounds of a comparison from 1; absent outside one.</summary>
    public int? Round { get; init; }

    /// <summary><c>tiny</c> in a rehearsal.</summary>
    public string? Scale { get; init; }

    /// <summary>The device's own name.</summary>
    public string? Device { get; init; }

    /// <summary>The driver's version.</summary>
    public string? Driver { get; init; }

    /// <summary>The day, YYYY-MM-DD.</summary>
    public string? Date { get; init; }

    /// <summary>Middle of the times in microseconds; null where there are none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public double? MedianUs { get; init; }

    /// <summary>A tenth of the times lies below.</summary>
    public double? P10Us { get; init; }

    /// <summary>A tenth of the times lies above.</summary>
    public double? P90Us { get; init; }

    /// <summary>How many times.</summary>
    public int? Samples { get; init; }

    /// <summary>SM clock before and after.</summary>
    public IReadOnlyList<double?>? SmClockMhz { get; init; }

    /// <summary>Power before and after.</summary>
    public IReadOnlyList<double?>? PowerW { get; init; }

    /// <summary>Largest relative L2 distance of an output from the float64 reference, at a reduced shape.</summary>
    public double? RelativeL2 { get; init; }

    /// <summary>Least bytes.</summary>
    public double? Bytes { get; init; }

    /// <summary>Least operations.</summary>
    public double? Flops { get; init; }

    /// <summary>Least time under the measured ceilings.</summary>
    public double? LimitUs { get; init; }

    /// <summary>That time as a share of the median.</summary>
    public double? PercentOfLimit { get; init; }

    /// <summary>The same under the data sheet's ceilings.</summary>
    public double? PercentOfDatasheet { get; init; }

    /// <summary>Ceilings of memory: bytes a second.</summary>
    public double? GbPerS { get; init; }

    /// <summary>The ceiling of products: operations a second.</summary>
    public double? TflopPerS { get; init; }

    /// <summary>Ceilings: <c>start</c> or <c>end</c> of the run.</summary>
    public string? At { get; init; }

    /// <summary>Why there is no time; begins with <see cref="NotMeasured"/>.</summary>
    public string? Reason { get; init; }

    /// <summary>Whether there is a time.</summary>
    [JsonIgnore]
    public bool IsMeasured => MedianUs is not null;

    /// <summary>The line.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, options);

    /// <summary>Reads a line.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static ResultLine FromJson(string line) => JsonSerializer.Deserialize<ResultLine>(line, options) ?? throw new JsonException("An empty result.");
}
