using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Rows;

/// <summary>One thing to measure: an op or a whole model in one pass at one shape.</summary>
public sealed record BenchRow
{
    /// <summary>Names the row in results.</summary>
    public required string Id { get; init; }

    /// <summary>What is run, for instance <c>rg_lru</c> or <c>decode</c>.</summary>
    public required string Op { get; init; }

    /// <summary><c>forward</c>, <c>backward</c>, <c>forward_backward</c> or <c>step</c>.</summary>
    public required string Pass { get; init; }

    /// <summary>Storage type of the operands.</summary>
    public required ElementType Type { get; init; }

    /// <summary>Lower runs earlier; 0 are the ceilings.</summary>
    public required int Priority { get; init; }

    /// <summary>The sizes by name, as rows.json has them.</summary>
    public required IReadOnlyDictionary<string, long> Sizes { get; init; }

    /// <summary>The model's name in rows.json, for rows of whole models.</summary>
    public string? Model { get; init; }

    /// <summary>A size.</summary>
    /// <exception cref="KeyNotFoundException">The row has no such size.</exception>
    public long this[string size] =>
        Sizes.TryGetValue(size, out long value) ? value : throw new KeyNotFoundException($"{Id} has no size '{size}'.");

    /// <summary>A size that fits an int.</summary>
    public int Int(string size) => checked((int)this[size]);

    /// <summary>Tokens of all sequences: batch · tokens.</summary>
    public long AllTokens => this["batch"] * this["tokens"];

    /// <summary>Whether the row is one of the ceilings that percentages refer to.</summary>
    public bool IsCeiling => Priority == 0;

    /// <summary>Whether the row is of a whole model.</summary>
    public bool IsModel => Model is not null;

    /// <summary>The row with some sizes changed.</summary>
    public BenchRow With(Func<string, long, long> size) => this with { Sizes = Sizes.ToDictionary(pair => pair.Key, pair => size(pair.Key, pair.Value)) };
}
