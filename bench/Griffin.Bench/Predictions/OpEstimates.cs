using Griffin.Bench.Limits;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Predictions;

/// <summary>
/// The launches of our ops on an H100 in bfloat16, with what they move beyond the least (the Traffic lines of the kernels' contracts) and about how many
/// instructions an element takes, counted in their machine code.
/// </summary>
internal static class OpEstimates
{
    private const double S = 2;                 // bytes of a bfloat16
    private const double Float = sizeof(float);
    private const double Vector = 8;            // elements of a 16-byte access
    private const double WarpgroupRate = 6.0e14; // of attention by wgmma: the middle of what others measured at this width of a head
    private const double Hop = 1.5e-6;          // of a look-back's carry, through the level-2 cache
    private const double HopTiles = 8;          // tiles that a hop passes

    /// <summary>The launches of a row's op; empty where none are modelled.</summary>
    public static IReadOnlyList<LaunchEstimate> Of(BenchRow row)
    {
        if (row.Type == ElementType.Float32)
        {
            return (row.Op, row.Pass) switch
            {
                ("rg_lru", "forward") => [RgLru(row["batch"], row["tokens"], row["width"], Float)],
                ("rg_lru", "backward") => RgLruBackward(row["batch"], row["tokens"], row["width"], Float),
                _ => [],
            };
        }

        return (row.Op, row.Pass) switch
        {
            ("rms_norm", "forward") => [RmsNorm(row["rows"], row["width"], residual: false)],
            ("residual_rms_norm", _) => [RmsNorm(row["rows"], row["width"], residual: true)],
            ("rms_norm", "backward") => RmsNormBackward(row["rows"], row["width"]),
            ("gelu_multiply", "forward") => [GeluMultiply(row["rows"], row["width"])],
            ("gelu_multiply", "backward") => [GeluMultiplyBackward(row["rows"], row["width"])],
            ("conv1d", "forward") => [Conv1D(row.AllTokens, row["width"])],
            ("conv1d", "backward") => Conv1DBackward(row.AllTokens, row["width"]),
            ("rg_lru", "forward") => [RgLru(row["batch"], row["tokens"], row["width"])],
            ("rg_lru_cluster", "forward") => [RgLruByClusters(row["batch"], row["tokens"], row["width"])],
            ("rg_lru", "backward") => RgLruBackward(row["batch"], row["tokens"], row["width"]),
            ("block_diagonal_gates", "forward") => [Gates(row["rows"], row["width"], row["blocks"])],
            ("block_diagonal_gates", "backward") => GatesBackward(row["rows"], row["width"], row["blocks"]),
            ("rg_lru_mixer", var pass) => Mixer(row, pass),
            ("residual_matmul", _) => ResidualMatMul(row["rows"], row["width"], row["inner"]),
            ("conv_gates", _) => [ConvGates(row.AllTokens, row["width"], row["blocks"])],
            ("gated_matmul", _) => [GatedMatMul(row["rows"], row["columns"], row["inner"])],
            ("recurrent_mixer", _) => [RecurrentMixer(row["batch"], row["tokens"], row["width"], row["blocks"])],
            ("window_attention", "forward") => [WindowAttention(row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"])],
            ("window_attention_warpgroup", "forward") => [WindowAttentionByWarpgroups(row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"])],
            ("window_attention", "backward") => WindowAttentionBackward(row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"]),
            ("decode_attention", _) => [DecodeAttention(row["batch"], row["heads"], row["head_dim"], row["window"], row["context"])],
            ("embedding", "forward") => [Embedding(row["rows"], row["width"])],
            ("column_sum", _) => ColumnSum(row["rows"], row["width"]),
            ("adam_w", _) => [AdamW(row["parameters"])],
            ("rotary_embedding", "forward") => [Rotary(row.AllTokens, row["heads"], row["head_dim"])],
            _ => [],
        };
    }

    public static LaunchEstimate RmsNorm(double n, double d, bool residual)
    {
        int threads = d <= 2560 ? 160 : 256;
        Work least = residual ? ElementwiseWork.ResidualRmsNorm(n, d, S) : ElementwiseWork.RmsNorm(n, d, S);
        return new($"rms_norm<bf16, 8, {threads}, 2, {(residual ? "true" : "false")}>", n) { Bytes = least.Bytes, Instructions = (residual ? 14 : 10) * n * d, InFlight = residual ? 64 : 32 };
    }

    private static LaunchEstimate[] RmsNormBackward(double n, double d)
    {
        double parts = Math.Ceiling(n / Math.Max(16, Math.Ceiling(n / 512)));
        return [new("rms_norm_backward<bf16, 8, 320, 1>", parts) { Bytes = ElementwiseWork.RmsNormBackward(n, d, S).Bytes + Float * parts * d, Instructions = 20 * n * d }, PartialSums(parts, d)];
    }

    // Parts of a sum over rows, in eight slices: few threads, eight loads each on the way, from the level-2 cache.
    private static LaunchEstimate PartialSums(double parts, double width) =>
        new("partial_sums<4, 8>", Math.Ceiling(width / 128)) { Bytes = Float * parts * width, ReadsOnly = true, InFlight = 128, Latency = 300e-9 };

    public static LaunchEstimate GeluMultiply(double n, double f) =>
        new("gelu_multiply<bf16, 8, 4>", Tiles(n, 4) * Tiles(f, 128 * Vector)) { Bytes = ElementwiseWork.GeluMultiply(n, f, S).Bytes, Instructions = 40 * n * f };

    private static LaunchEstimate GeluMultiplyBackward(double n, double f) =>
        new("gelu_multiply_backward<bf16, 8, 4>", Tiles(n, 4) * Tiles(f, 128 * Vector)) { Bytes = ElementwiseWork.GeluMultiplyBackward(n, f, S).Bytes, Instructions = 60 * n * f, InFlight = 48 };

    public static LaunchEstimate Conv1D(double n, double w) =>
        new("conv1d<bf16, 8, 4, 64>", Tiles(n, 64) * Tiles(w, 64 * Vector)) { Bytes = ScanWork.Conv1D(n * 67 / 64, w, 4, S).Bytes, Instructions = 18 * n * w, InFlight = 128 };

    private static LaunchEstimate[] Conv1DBackward(double n, double w)
    {
        double parts = Math.Ceiling(n / Math.Max(64, Math.Ceiling(n / 512)));
        return
        [
            new("conv1d_backward<bf16, 8, 4>", parts * Tiles(w, 64 * Vector)) { Bytes = ScanWork.Conv1DBackward(n, w, 4, S).Bytes + 5 * Float * parts * w, Instructions = 30 * n * w, InFlight = 128 },
            PartialSums(parts, 4 * w), PartialSums(parts, w),
        ];
    }

    /// <param name="rows">Rows.</param>
    /// <param name="t">Tokens of each.</param>
    /// <param name="w">Channels.</param>
    /// <param name="s">Bytes of an element: a warp takes 16 of them of each channel.</param>
    public static LaunchEstimate RgLru(double rows, double t, double w, double s = S)
    {
        double tile = ScanTiles.Warps * 16 / s, n = rows * t, columns = Tiles(w, 64), tiles = rows * Tiles(t, tile);
        LaunchEstimate ring = new($"rg_lru_ring<{Name(s)}>", rows * columns) { Bytes = ScanWork.RgLru(n, w, s).Bytes, Instructions = 59 * n * w, InFlight = 96 };
        return IsRing(ring, rows, t, w) ? ring : ring with
        {
            Kernel = $"rg_lru_look_back<{Name(s)}>",
            Blocks = tiles * columns,
            Bytes = ring.Bytes + 2 * Float * tiles * w,
            Instructions = 69 * n * w,
            SerialSeconds = Tiles(t, tile) / HopTiles * Hop,
        };
    }

    // The look-back's tiles in clusters of eight, whose last one alone writes; a hop passes a cluster.
    private static LaunchEstimate RgLruByClusters(double rows, double t, double w)
    {
        double clusters = rows * Tiles(t, HopTiles * ScanTiles.Warps * Vector), n = rows * t;
        return new("rg_lru_cluster<bf16>", clusters * HopTiles * Tiles(w, 64))
        {
            Bytes = ScanWork.RgLru(n, w, S).Bytes + Float * clusters * w,
            Instructions = 69 * n * w,
            InFlight = 96,
            SerialSeconds = clusters / rows * Hop,
        };
    }

    private static LaunchEstimate[] RgLruBackward(double rows, double t, double w, double s = S)
    {
        double tile = ScanTiles.Warps * 8 / s, n = rows * t, columns = Tiles(w, 64), tiles = rows * Tiles(t, tile);
        LaunchEstimate ring = new($"rg_lru_backward_ring<{Name(s)}>", rows * columns)
        {
            Bytes = ScanWork.RgLruBackward(n, w, s).Bytes + n / tile * w * s + Float * rows * w,
            Instructions = 115 * n * w,
            InFlight = 96,
        };
        if (IsRing(ring, rows, t, w)) return [ring, PartialSums(rows, w)];
        LaunchEstimate lookBack = ring with
        {
            Kernel = $"rg_lru_backward_look_back<{Name(s)}>",
            Blocks = tiles * columns,
            Bytes = ring.Bytes + 3 * Float * tiles * w,
            Instructions = 142 * n * w,
            SerialSeconds = Tiles(t, tile) / HopTiles * Hop,
        };
        return [lookBack, PartialSums(tiles, w)];
    }

    private static string Name(double s) => (s == Float ? ElementType.Float32 : ElementType.BFloat16).CudaName();

    private static bool IsRing(LaunchEstimate ring, double rows, double t, double w) => ScanForm.Ring ==
        ScanTiles.FormFor(KernelCatalogue.AmpleLimits with { MultiprocessorCount = Chip.Sm90.Multiprocessors }, (int)(rows * t), (int)rows, (int)w, Occupancy.Claims.Of(ring.Kernel).Blocks);

    public static LaunchEstimate Gates(double n, double w, double blocks)
    {
        Work least = ProductWork.Gates(n, w, blocks, S);
        return new("gates_mma<128, 3>", Tiles(n, 128) * blocks * Tiles(w / blocks, 64))
        {
            Bytes = least.Bytes,
            MatrixFlops = least.Flops,
            Instructions = TileInstructions(least.Flops, 5.5) + (8 * n * w),
            InFlight = 64,
        };
    }

    // The gates' tiles, each of which makes its z first; their weights come once for every 64 tokens from the level-2 cache, hidden beside the instructions.
    private static LaunchEstimate ConvGates(double n, double w, double blocks)
    {
        Work least = FusedWork.ConvGates(n, w, blocks, 4, S);
        double flops = ProductWork.Gates(n, w, blocks, S).Flops;
        return new("conv_gates<3>", Tiles(n, 64) * blocks) { Bytes = least.Bytes, MatrixFlops = flops, Instructions = TileInstructions(flops, 6) + (28 * n * w), InFlight = 64 };
    }

    // The tile of plain products with gelu and its product behind: about 40 instructions a result.
    private static LaunchEstimate GatedMatMul(double n, double columns, double k)
    {
        Work least = ProductWork.GateUpGelu(n, columns, k, S);
        return new("gated_matmul_mma<MatMulTiles<128, 128, 64, 32>>", Tiles(n, 128) * Tiles(columns, 128))
        {
            Bytes = least.Bytes,
            MatrixFlops = least.Flops,
            Instructions = TileInstructions(least.Flops, 5) + (40 * n * columns / 2),
            InFlight = 64,
        };
    }

    private static LaunchEstimate[] GatesBackward(double n, double w, double blocks)
    {
        const double side = 128;
        double b = w / blocks, tiles = Tiles(b, side), slices = Math.Clamp(Math.Floor(2.0 * Chip.Sm90.Multiprocessors / (2 * blocks * tiles * tiles)), 1, Tiles(n, 256));
        double flops = ProductWork.GatesBackward(n, w, blocks, S).Flops / 2;
        return
        [
            new("gates_input_gradient_mma<128, 64, 32>", Tiles(n, side) * blocks * tiles) { Bytes = 4 * n * w * S, MatrixFlops = flops, Instructions = TileInstructions(flops, 6) + (8 * n * w), InFlight = 64 },
            new("gates_weight_gradient_mma<128, 64, 32>", tiles * tiles * 2 * blocks * slices)
            {
                Bytes = (3 * n * w * S) + (slices * 2 * w * b * Float),
                MatrixFlops = flops,
                Instructions = TileInstructions(flops, 4.5),
                InFlight = 64,
            },
            PartialSums(slices, w * b), PartialSums(slices, w * b),
        ];
    }

    // An m16n8k16 product does 4,096 operations, and so many instructions of a warp stand around each: loads of fragments, copies, addresses.
    private static double TileInstructions(double flops, double each) => flops / 4096 * each * 32;

    // A 128 x 128 tile of these issues about five and a half, and is too large for few rows; its 64 x 64 one about eight. The sums of squares come back from the level-2 cache.
    private static LaunchEstimate[] ResidualMatMul(double n, double d, double k)
    {
        Work least = ProductWork.ResidualMatMul(n, d, k, S);
        double squares = Float * n * Tiles(d, 32);
        bool large = Tiles(n, 128) * Tiles(d, 128) >= Chip.Sm90.Multiprocessors;
        double instructions = TileInstructions(least.Flops, large ? 5.5 : 8) + (12 * n * d);
        LaunchEstimate product = large
            ? new("residual_matmul_mma<MatMulTiles<128, 128, 64, 32>>", Tiles(n, 128) * Tiles(d, 128))
            : new("residual_matmul_mma<MatMulTiles<64, 64, 32, 32>>", Tiles(n, 64) * Tiles(d, 64));
        return
        [
            product with { Bytes = least.Bytes + squares, MatrixFlops = least.Flops, Instructions = instructions, InFlight = 64 },
            new("residual_factors<256>", Tiles(n, 8)) { Bytes = squares + Float * n, ReadsOnly = true, InFlight = 12, Latency = 300e-9 },
        ];
    }

    private static LaunchEstimate[] Mixer(BenchRow row, string pass)
    {
        double rows = row["batch"], t = row["tokens"], w = row["width"], blocks = row["blocks"];
        LaunchEstimate[] forward = [Gates(rows * t, w, blocks), RgLruKeepingHidden()];
        LaunchEstimate[] backward = [.. RgLruBackward(rows, t, w), .. GatesBackward(rows * t, w, blocks), .. ColumnSum(rows * t, 2 * w)];
        return pass switch { "forward" => [forward[0], RgLru(rows, t, w)], "backward" => backward, _ => [.. forward, .. backward] };

        LaunchEstimate RgLruKeepingHidden()
        {
            LaunchEstimate scan = RgLru(rows, t, w);
            return scan with { Bytes = scan.Bytes + rows * t * w * S };
        }
    }

    /// <summary>Weights pass by from the level-2 cache once for every 64 tokens: at 5.5 TB/s less than the instructions take, and hidden beside them.</summary>
    public static LaunchEstimate RecurrentMixer(double rows, double t, double w, double blocks)
    {
        const double tile = 64, perElement = 130, passes = 2;
        double n = rows * t, tiles = rows * Tiles(t, tile) * blocks, splits = tiles < 2 * Chip.Sm90.Multiprocessors ? passes : 1;
        Work least = FusedWork.RecurrentMixer(n, w, blocks, 4, S);
        return new("recurrent_mixer<256, 2>", tiles * splits)
        {
            Bytes = least.Bytes,
            MatrixFlops = least.Flops,
            Instructions = perElement * n * w,
            InFlight = 64,
            SerialSeconds = Tiles(t, tile) / HopTiles * Hop,
        };
    }

    public static LaunchEstimate WindowAttention(double batch, double t, double heads, double d, double window)
    {
        double tile = Math.Floor(128 / heads), pairs = Math.Min(t, window + tile / 2 + 32);   // keys of a tile's rows, masked ones at the band's edges too
        double flops = t > window ? 4 * d * heads * batch * (AttentionWork.Pairs(t, window) + t * (pairs - window)) : 4 * d * heads * batch * AttentionWork.Pairs(t, window);
        flops *= 128 / (tile * heads);   // rows without a head
        return new("window_attention_mma<256, 32>", batch * Tiles(t, tile)) { Bytes = AttentionWork.Window(batch, t, heads, d, window, S).Bytes, MatrixFlops = flops, Instructions = TileInstructions(flops, 5.5) };
    }

    // A tile of 64 keys is 48 KB a block under way on average, about 750 instructions of each of four warps, and 96 matrix instructions. The parts of the splits
    // stay in the level-2 cache, as do the rounds of merging: in each a fence and a counter, and the parts that one multiprocessor fetches, 64 bytes a clock.
    private static LaunchEstimate DecodeAttention(double batch, double heads, double d, double window, double context)
    {
        const int tile = 64;
        const double arrival = 0.8e-6;
        SplitPlan plan = SplitPlan.For(2 * Chip.Sm90.Multiprocessors, (long)batch, (int)window + 1, tile);
        double merged = plan.Splits == 1 ? 0 : plan.GroupSplits + (plan.Groups > 1 ? plan.Groups : 0), rounds = plan.Splits == 1 ? 0 : plan.Groups > 1 ? 2 : 1;
        double tiles = batch * Math.Ceiling((Math.Min(context, window) + 1) / tile);
        return new($"decode_attention_mma<{d}, {heads}, {tile}>", batch * plan.Splits)
        {
            Bytes = AttentionWork.Decode(batch, heads, d, Math.Min(context, window) + 1, S).Bytes,
            ReadsOnly = true,
            InFlight = 384,
            MatrixFlops = tiles * 4 * 96 * 4096,
            Instructions = tiles * 4 * 750 * 32,
            LastSeconds = rounds * arrival + merged * heads * d * Float * Chip.Sm90.Multiprocessors / LaunchEstimate.PathBytes,
        };
    }

    // Blocks are full, and those that see few keys come last. Shared memory gives keys and values at 9/10 of the tensor cores' pace, and a block's first tile and
    // its results stand alone. A tile of 80 keys is about 570 instructions of each of eight warps, and 250 of each that copies.
    private static LaunchEstimate WindowAttentionByWarpgroups(double batch, double t, double heads, double d, double window)
    {
        double pairs = Math.Min(t, window + 128 / heads / 2 + 80), useful = AttentionWork.Pairs(t, window);
        double flops = 4 * d * heads * batch * (t > window ? useful + t * (pairs - window) : useful + t * 40);
        double tiles = flops / (4 * d * 128 * 80);
        return new("window_attention_warpgroup<256, 80>", Math.Ceiling(batch * t * heads / 128))
        {
            Bytes = AttentionWork.Window(batch, t, heads, d, window, S).Bytes,
            MatrixFlops = flops,
            MatrixRate = WarpgroupRate,
            Instructions = tiles * (8 * 570 + 4 * 250) * 32,
        };
    }

    private static LaunchEstimate[] WindowAttentionBackward(double batch, double t, double heads, double d, double window)
    {
        Work least = AttentionWork.WindowBackward(batch, t, heads, d, window, S);
        double queries = least.Flops * 3 / 5, keys = least.Flops * 4 / 5;   // scores are computed in both
        return
        [
            new("window_attention_delta<bf16, 256, 8>", Tiles(batch * t * heads, 4)) { Bytes = 2 * batch * t * heads * d * S, ReadsOnly = true },
            new("window_attention_backward_queries_mma<256, 64, 32>", batch * Tiles(t * heads, 64)) { Bytes = least.Bytes, MatrixFlops = queries, Instructions = TileInstructions(queries, 6) },
            new("window_attention_backward_keys_mma<256, 128, 16>", batch * Tiles(t, 64) * 2) { Bytes = least.Bytes, MatrixFlops = keys, Instructions = TileInstructions(keys, 7) },
        ];
    }

    public static LaunchEstimate Embedding(double n, double d) =>
        new("embedding<bf16, 8>", n * Tiles(d, 256 * Vector)) { Bytes = ElementwiseWork.Embedding(n, d, S).Bytes, Instructions = 8 * n * d, InFlight = 16 };

    private static LaunchEstimate[] ColumnSum(double n, double d)
    {
        double parts = Math.Ceiling(n / Math.Max(32, Math.Ceiling(n / 512)));
        return [new("column_sum<bf16, 8>", parts * Tiles(d, 128 * Vector)) { Bytes = n * d * S + Float * parts * d, ReadsOnly = true, Instructions = 4 * n * d, InFlight = 64 }, PartialSums(parts, d)];
    }

    public static LaunchEstimate AdamW(double parameters) =>
        new("adam_w<bf16, 4, 4>", Tiles(parameters, 1024)) { Bytes = 30 * parameters, Instructions = 60 * parameters, InFlight = 64 };

    public static LaunchEstimate Rotary(double n, double heads, double d) =>
        new("rotary_embedding<bf16, 8>", Tiles(n * (heads + 1) * d / 4 / Vector, 256)) { Bytes = AttentionWork.Rotary(n, heads, d, S).Bytes, Instructions = 40 * n * (heads + 1) * d / 4 };

    private static double Tiles(double count, double tile) => Math.Ceiling(count / tile);
}
