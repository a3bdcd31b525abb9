using Griffin.Bench.Limits;
using Griffin.Bench.Rows;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Predictions;

/// <summary>What a row is predicted to take on an H100.</summary>
/// <param name="Seconds">The time.</param>
/// <param name="Kernels">The kernels that it rests on.</param>
/// <param name="Waves">Rounds in which the chip takes the grid of the longest of them; 0 where products decide.</param>
public sealed record RowPrediction(double Seconds, string Kernels, double Waves)
{
    /// <summary>The H100 that the predictions are of: copy and read bandwidth and cuBLAS's bfloat16 products, as others measured them.</summary>
    public static Ceilings Ceilings { get; } = new(3.0e12, 2.77e12, 8.0e14);

    // What skinny products and whole steps reach of the read bandwidth, between their launches.
    internal const double SkinnyShare = 0.85;
    private const double Launch = LaunchEstimate.Launch;

    // What is left of a launch that began early: the last block's stores are seen, and the activations asked for.
    private const double EarlyLaunch = 0.7e-6;
    private const int FusedRows = 64;
    // Operations a second of products by warpgroups: the middle of what the level-2 cache lets through.
    private const double WarpgroupRate = 5.5e14;

    // Passes of a layer's elementwise kernels in a training step, as forward passes: the way back reads and writes about twice as much.
    private const double TrainingPasses = 3;

    // Passes over a piece of logits that a loss over products makes: written, read twice, their gradient written and read twice; in bytes an entry.
    private const double LogitBytes = 4 + 8 + 2 + 4;
    private const int LaunchesOfLayer = 5, LaunchesOfFrame = 5;
    private const int LaunchesOfUnfusedRecurrentLayer = 10, LaunchesOfUnfusedAttentionLayer = 9, LaunchesOfUnfusedFrame = 7;

    /// <summary>The prediction of a row; null where none is made.</summary>
    public static RowPrediction? Of(BenchRow row, RowList rows)
    {
        ArgumentNullException.ThrowIfNull(row);
        ArgumentNullException.ThrowIfNull(rows);
        if (OpEstimates.Of(row) is { Count: > 0 } launches) return Sum(launches);
        if (RowWork.Of(row, rows) is not { } least) return null;
        if (PassEstimates.Of(row, least) is { } pass) return pass;
        if (row.Type != ElementType.BFloat16) return null;
        GriffinConfig? model = row.Model is { } name ? rows.Models[name] : null;
        return row.Op switch
        {
            "copy" or "read" => new(least.Seconds(Ceilings), "one pass", 0),
            "matmul" when row["rows"] <= 64 => new(Launch + least.Bytes / Ceilings.ReadBytes / SkinnyShare, "skinny product", 0),
            "matmul" => new(Launch + least.Seconds(Ceilings), "cuBLAS", 0),
            "matmul_warpgroup" or "gated_matmul_warpgroup" => Warpgroups(row["rows"], row["columns"], least),
            "residual_matmul_warpgroup" => Warpgroups(row["rows"], row["width"], least),
            "gate_up_gelu" when row["rows"] <= 64 => new(Launch + least.Bytes / Ceilings.ReadBytes / SkinnyShare, "skinny product, epilogue inside", 0),
            "gate_up_gelu" => new(Launch + least.Flops / Ceilings.Flops + One(OpEstimates.GeluMultiply(row["rows"], row["columns"] / 2.0)), "cuBLAS, gelu_multiply", 0),
            "decode" => DecodeSteps(model!, least, row["batch"], EarlyLaunch),
            "decode_serial" => DecodeSteps(model!, least, row["batch"], Launch),
            "cost" => DecodeSteps(model!, least, row["batch"], EarlyLaunch, row["steps"]),
            "prefill" => new(Layers(model!, row["batch"], row["tokens"]) + least.Flops / Ceilings.Flops, "cuBLAS, elementwise kernels, mma attention", 0),
            "linear_cross_entropy" => new(
                least.Flops / Ceilings.Flops + row["rows"] * row["vocabulary"] * LogitBytes / Ceilings.CopyBytes, "cuBLAS, cross_entropy", 0),
            "training_step" => new(
                least.Flops / Ceilings.Flops + TrainingPasses * Layers(model!, row["batch"], row["tokens"], training: true)
                    + row["batch"] * row["tokens"] * model!.Vocabulary * LogitBytes / Ceilings.CopyBytes + One(OpEstimates.AdamW(model.Parameters)),
                "cuBLAS, elementwise kernels, mma attention, adam_w", 0),
            _ => null,
        };
    }

    private static RowPrediction Sum(IReadOnlyList<LaunchEstimate> launches)
    {
        LaunchEstimate longest = launches.MaxBy(One)!;
        return new(launches.Sum(One), string.Join(", ", launches.Select(launch => launch.Kernel.Split('<')[0]).Distinct()), longest.Waves(Occupancy.Claims));
    }

    private static double One(LaunchEstimate launch) => launch.Seconds(Ceilings, Occupancy.Claims);

    // Persistent blocks share out tiles of 128 by 256; the level-2 cache that brings the operands decides the pace (bench/NOTES.md).
    private static RowPrediction Warpgroups(double rows, double columns, Work least)
    {
        double waves = Math.Ceiling(rows / 128) * Math.Ceiling(columns / 256) / Chip.Sm90.Multiprocessors;
        double products = least.Flops / WarpgroupRate * Math.Ceiling(waves) / waves;
        return new(Launch + LaunchEstimate.Fill + Math.Max(products, least.Bytes / Ceilings.CopyBytes), "products by warpgroups", waves);
    }

    // Steps of many rows take a kernel for each op, one after the other, and their products go to cuBLAS.
    private static RowPrediction DecodeSteps(GriffinConfig model, Work least, double rows, double fusedLaunch, double steps = 1)
    {
        bool fused = rows <= FusedRows;
        int launches = fused
            ? LaunchesOfLayer * model.Layers + LaunchesOfFrame
            : LaunchesOfUnfusedRecurrentLayer * model.RecurrentLayers + LaunchesOfUnfusedAttentionLayer * model.AttentionLayers + LaunchesOfUnfusedFrame;
        double bytes = least.Bytes / Ceilings.ReadBytes / SkinnyShare;
        return new(Math.Max(bytes, least.Flops / Ceilings.Flops) + steps * launches * (fused ? fusedLaunch : Launch), $"{launches} launches, {(fused ? "skinny products" : "cuBLAS")}", 0);
    }

    // What lies between the products of a prefill; their own operations are in the row's least work, attention's useful ones too, at the rate of cuBLAS.
    private static double Layers(GriffinConfig model, double batch, double t, bool training = false)
    {
        double n = batch * t;
        double norms = 2 * model.Layers * One(OpEstimates.RmsNorm(n, model.Width, residual: true));
        double recurrent = model.RnnWidth == 256 * model.GateBlocks && !training
            ? One(OpEstimates.RecurrentMixer(batch, t, model.RnnWidth, model.GateBlocks))
            : One(OpEstimates.Gates(n, model.RnnWidth, model.GateBlocks)) + One(OpEstimates.RgLru(batch, t, model.RnnWidth)) + One(OpEstimates.Conv1D(n, model.RnnWidth));
        double attention = One(OpEstimates.Rotary(n, model.Heads, model.HeadDim));
        if (model.HeadDim == 256)
            attention += One(OpEstimates.WindowAttention(batch, t, model.Heads, model.HeadDim, model.Window ?? t));
        return norms + model.RecurrentLayers * recurrent + model.AttentionLayers * attention + model.Layers * One(OpEstimates.GeluMultiply(n, model.MlpWidth));
    }
}
