using Griffin.Bench.Limits;
using Griffin.Bench.Rows;

namespace Griffin.Bench.Predictions;

/// <summary>
/// Rows whose kernels are one pass over memory with a grid that fills the chip, or so small that the launch is nearly all of them: no waves are modelled.
/// </summary>
internal static class PassEstimates
{
    private const double Float = sizeof(float);
    private const double CacheBytes = 5.5e12;          // a second that the level-2 cache gives
    private const double Multiprocessors = 132;
    private const double DrawInstructions = 150;       // of a token's Gumbel number: Philox and two logarithms
    private const double SamplerPasses = 11;           // over a row's logits, with top-k and top-p

    /// <summary>The prediction of a row; null where this model is not meant for it.</summary>
    /// <param name="row">The row.</param>
    /// <param name="least">Its least work.</param>
    public static RowPrediction? Of(BenchRow row, Work least) => (row.Op, row.Pass) switch
    {
        ("soft_cap", _) or ("ring_append", _) => Pass(least, row.Op),
        ("embedding", "backward") => Pass(least, "embedding_backward"),
        // The parts of the sum are few: the second launch is a launch.
        ("gradient_norm", _) => Pass(least, "gradient_norm_parts, gradient_norm", launches: 2),
        // A row's logits are read again for its gradient, when the rows beside it have driven them out.
        ("cross_entropy", _) => Pass(least with { Bytes = least.Bytes + (Float * row["rows"] * row["vocabulary"]) }, "cross_entropy"),
        ("conv1d" or "rg_lru" or "embedding", "step") => Pass(least, $"{row.Op}_step"),
        ("rotary_embedding", "step") => Pass(least, "rotary_step"),
        ("advance_rows", _) => Pass(least, "advance_rows"),
        ("gated_product" or "norm_product" or "residual_product" or "recurrent_input" or "rotary_product", _) => Skinny(row, least, LaunchEstimate.Launch),
        // Its products wait for the convolved row, and the scan for them.
        ("recurrent_step", _) => Skinny(row, least, LaunchEstimate.Launch + LaunchEstimate.Fill),
        ("sampler", _) => Sampler(row, least),
        ("sampling_head", _) => SamplingHead(row, least),
        _ => null,
    };

    private static RowPrediction Pass(Work least, string kernels, int launches = 1) =>
        new((launches * (LaunchEstimate.Launch + LaunchEstimate.Fill)) + least.Seconds(RowPrediction.Ceilings), kernels, 0);

    // Weights once from memory; activations once for each block of 16 rows of the weight, or 32 in larger batches, from the level-2 cache.
    private static RowPrediction Skinny(BenchRow row, Work least, double before)
    {
        double rows = row["batch"] <= 8 ? 16 : 32;
        double memory = least.Bytes / RowPrediction.Ceilings.ReadBytes / RowPrediction.SkinnyShare, cache = least.Bytes * row["batch"] / rows / CacheBytes;
        return new(before + Math.Max(memory, cache), row.Op, 0);
    }

    // A block, and so a multiprocessor, for each row: its path to memory, and from the second pass on to the level-2 cache.
    private static RowPrediction Sampler(BenchRow row, Work least)
    {
        double passes = SamplerPasses * Math.Ceiling(row["batch"] / Multiprocessors) * Float * row["vocabulary"] / (LaunchEstimate.PathBytes / Multiprocessors);
        return new(LaunchEstimate.Launch + LaunchEstimate.Fill + Math.Max(least.Seconds(RowPrediction.Ceilings), passes), "sampler", 0);
    }

    // The product, or the draws of all tokens and rows; then the largest of each row.
    private static RowPrediction SamplingHead(BenchRow row, Work least)
    {
        double draws = row["batch"] * row["vocabulary"] * DrawInstructions / LaunchEstimate.Issue;
        RowPrediction product = Skinny(row, least, 2 * LaunchEstimate.Launch + LaunchEstimate.Fill);
        return new(product.Seconds + draws, "sampling_head, sampling_merge", 0);
    }
}
