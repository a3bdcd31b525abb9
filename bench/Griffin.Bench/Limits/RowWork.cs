using Griffin.Bench.Rows;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Limits;

/// <summary>The least work of every row, by the formulas of its family.</summary>
public static class RowWork
{
    /// <summary>The least work of a row, or null where no bound is stated.</summary>
    /// <param name="row">The row.</param>
    /// <param name="rows">The list it came from, for its model.</param>
    public static Work? Of(BenchRow row, RowList rows)
    {
        ArgumentNullException.ThrowIfNull(row);
        ArgumentNullException.ThrowIfNull(rows);
        GriffinConfig? model = row.Model is { } name ? rows.Models[name] : null;
        double s = row.Type.SizeOf();
        return (row.Op, row.Pass) switch
        {
            ("copy", _) => new(2.0 * row["bytes"], 0),
            ("read", _) => new(row["bytes"], 0, ReadsOnly: true),
            ("rms_norm", "forward") => ElementwiseWork.RmsNorm(row["rows"], row["width"], s),
            ("rms_norm", "backward") => ElementwiseWork.RmsNormBackward(row["rows"], row["width"], s),
            ("residual_rms_norm", _) => ElementwiseWork.ResidualRmsNorm(row["rows"], row["width"], s),
            ("gelu_multiply", "forward") => ElementwiseWork.GeluMultiply(row["rows"], row["width"], s),
            ("gelu_multiply", "backward") => ElementwiseWork.GeluMultiplyBackward(row["rows"], row["width"], s),
            ("embedding", "forward") => ElementwiseWork.Embedding(row["rows"], row["width"], s),
            ("embedding", "step") => ElementwiseWork.Embedding(row["batch"], row["width"], s),
            ("embedding", "backward") => ElementwiseWork.EmbeddingBackward(row["rows"], row["width"], s),
            ("column_sum", _) => ElementwiseWork.ColumnSum(row["rows"], row["width"], s),
            ("gradient_norm", _) => ElementwiseWork.GradientNorm(row["parameters"]),
            ("soft_cap", _) => ElementwiseWork.SoftCap(row["rows"], row["vocabulary"]),
            ("cross_entropy", _) => ElementwiseWork.CrossEntropy(row["rows"], row["vocabulary"], s),
            ("sampler", _) => ElementwiseWork.Sampler(row["batch"], row["vocabulary"]),
            ("advance_rows", _) => ElementwiseWork.AdvanceRows(row["batch"]),
            ("adam_w", _) => ElementwiseWork.AdamW(row["parameters"]),
            ("conv1d", "forward") => ScanWork.Conv1D(row.AllTokens, row["width"], row["taps"], s),
            ("conv1d", "backward") => ScanWork.Conv1DBackward(row.AllTokens, row["width"], row["taps"], s),
            ("conv1d", "step") => ScanWork.Conv1DStep(row["batch"], row["width"], row["taps"], s),
            ("linear_scan", _) => ScanWork.LinearScan(row.AllTokens, row["width"], s),
            ("rg_lru" or "rg_lru_cluster", "forward") => ScanWork.RgLru(row.AllTokens, row["width"], s),
            ("rg_lru", "backward") => ScanWork.RgLruBackward(row.AllTokens, row["width"], s),
            ("rg_lru", "step") => ScanWork.RgLruStep(row["batch"], row["width"], s),
            ("rg_lru_mixer", "forward") => ScanWork.Mixer(row.AllTokens, row["width"], row["blocks"], s),
            ("rg_lru_mixer", "backward") => ScanWork.MixerBackward(row.AllTokens, row["width"], row["blocks"], s),
            ("rg_lru_mixer", _) => Sum(ScanWork.Mixer(row.AllTokens, row["width"], row["blocks"], s), ScanWork.MixerBackward(row.AllTokens, row["width"], row["blocks"], s)),
            ("block_diagonal_gates", "forward") => ProductWork.Gates(row["rows"], row["width"], row["blocks"], s),
            ("block_diagonal_gates", "backward") => ProductWork.GatesBackward(row["rows"], row["width"], row["blocks"], s),
            ("matmul" or "matmul_warpgroup", "forward") => ProductWork.MatMul(row["rows"], row["columns"], row["inner"], s),
            ("matmul", "backward") => ProductWork.MatMulBackward(row["rows"], row["columns"], row["inner"], s),
            ("gate_up_gelu" or "gated_matmul" or "gated_matmul_warpgroup", _) => ProductWork.GateUpGelu(row["rows"], row["columns"], row["inner"], s),
            ("residual_matmul" or "residual_matmul_warpgroup", _) => ProductWork.ResidualMatMul(row["rows"], row["width"], row["inner"], s),
            ("linear_cross_entropy", _) => ProductWork.LinearCrossEntropy(row["rows"], row["vocabulary"], row["width"], s),
            ("window_attention" or "window_attention_warpgroup", "forward") => AttentionWork.Window(row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"], s),
            ("window_attention", "backward") => AttentionWork.WindowBackward(row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"], s),
            ("decode_attention", _) => AttentionWork.Decode(row["batch"], row["heads"], row["head_dim"], Math.Min(row["context"], row["window"]) + 1, s),
            ("rotary_embedding", "forward") => AttentionWork.Rotary(row.AllTokens, row["heads"], row["head_dim"], s),
            ("rotary_embedding", "step") => AttentionWork.RotaryStep(row["batch"], row["heads"], row["head_dim"], s),
            ("ring_append", _) => AttentionWork.RingAppend(row["batch"], Math.Min(row["tokens"], row["window"] + 1), row["head_dim"], s),
            ("gated_product", _) => FusedWork.GatedProduct(row["batch"], row["width"], row["inner"], s),
            ("norm_product", _) => FusedWork.NormProduct(row["batch"], row["vocabulary"], row["inner"], s),
            ("sampling_head", _) => FusedWork.SamplingHead(row["batch"], row["vocabulary"], row["inner"], s),
            ("residual_product", _) => FusedWork.ResidualProduct(row["batch"], row["width"], row["inner"], s),
            ("recurrent_input", _) => FusedWork.RecurrentInput(row["batch"], row["width"], row["inner"], row["taps"], s),
            ("recurrent_step", _) => FusedWork.RecurrentStep(row["batch"], row["width"], row["blocks"], s),
            ("rotary_product", _) => FusedWork.RotaryProduct(row["batch"], row["heads"], row["head_dim"], row["inner"], s),
            ("conv_gates", _) => FusedWork.ConvGates(row.AllTokens, row["width"], row["blocks"], row["taps"], s),
            ("recurrent_mixer", _) => FusedWork.RecurrentMixer(row.AllTokens, row["width"], row["blocks"], row["taps"], s),
            ("prefill", _) => ModelWork.Prefill(model!, row["batch"], row["tokens"], s),
            ("decode" or "decode_serial", _) => ModelWork.DecodeStep(model!, row["batch"], row["context"], s),
            ("training_step", _) => ModelWork.TrainingStep(model!, row["batch"], row["tokens"]),
            ("cost", _) => ModelWork.Decode(model!, row["batch"], row["context"], row["steps"], s),
            _ => null,
        };
    }

    private static Work Sum(Work first, Work second) => new(first.Bytes + second.Bytes, first.Flops + second.Flops, first.ReadsOnly && second.ReadsOnly);
}
