using Griffin.Bench.Rows;

namespace Griffin.Bench.Cases;

/// <summary>Puts a row's case into memory.</summary>
internal delegate Workload CaseBuilder(CaseMemory memory, BenchRow row);

/// <summary>The cases of all ops that run on their own, by op and pass.</summary>
internal static class CaseTable
{
    private static readonly Dictionary<(string Op, string Pass), CaseBuilder> cases = new()
    {
        [("copy", "forward")] = CeilingCases.Copy,
        [("read", "forward")] = CeilingCases.Read,
        [("rms_norm", "forward")] = NormCases.Forward,
        [("rms_norm", "backward")] = NormCases.Backward,
        [("residual_rms_norm", "forward")] = NormCases.Residual,
        [("gelu_multiply", "forward")] = ActivationCases.Forward,
        [("gelu_multiply", "backward")] = ActivationCases.Backward,
        [("column_sum", "forward")] = ActivationCases.ColumnSum,
        [("embedding", "forward")] = EmbeddingCases.Forward,
        [("embedding", "backward")] = EmbeddingCases.Backward,
        [("soft_cap", "forward")] = HeadCases.SoftCap,
        [("cross_entropy", "forward_backward")] = HeadCases.CrossEntropy,
        [("linear_cross_entropy", "forward_backward")] = HeadCases.LinearCrossEntropy,
        [("sampler", "step")] = StepCases.Sampler,
        [("advance_rows", "step")] = StepCases.AdvanceRows,
        [("adam_w", "step")] = OptimizerCases.AdamW,
        [("gradient_norm", "forward")] = OptimizerCases.GradientNorm,
        [("conv1d", "forward")] = ConvCases.Forward,
        [("conv1d", "backward")] = ConvCases.Backward,
        [("conv1d", "step")] = ConvCases.Step,
        [("block_diagonal_gates", "forward")] = GateCases.Forward,
        [("block_diagonal_gates", "backward")] = GateCases.Backward,
        [("rg_lru", "forward")] = ScanCases.Forward,
        [("rg_lru_cluster", "forward")] = ScanCases.ForwardByClusters,
        [("rg_lru", "backward")] = ScanCases.Backward,
        [("rg_lru", "step")] = ScanCases.Step,
        [("rg_lru_mixer", "forward")] = MixerCases.Forward,
        [("rg_lru_mixer", "backward")] = MixerCases.Backward,
        [("rg_lru_mixer", "forward_backward")] = MixerCases.ForwardBackward,
        [("window_attention", "forward")] = AttentionCases.Forward,
        [("window_attention_warpgroup", "forward")] = AttentionCases.ForwardByWarpgroups,
        [("window_attention", "backward")] = AttentionCases.Backward,
        [("decode_attention", "step")] = AttentionCases.Decode,
        [("ring_append", "forward")] = RotaryCases.RingAppend,
        [("rotary_embedding", "forward")] = RotaryCases.Forward,
        [("rotary_embedding", "step")] = RotaryCases.Step,
        [("matmul", "forward")] = ProductCases.MatMul,
        [("matmul_warpgroup", "forward")] = ProductCases.MatMulByWarpgroups,
        [("gated_matmul_warpgroup", "forward")] = ProductCases.GatedMatMulByWarpgroups,
        [("residual_matmul_warpgroup", "forward")] = ProductCases.ResidualMatMulByWarpgroups,
        [("matmul", "backward")] = ProductCases.MatMulBackward,
        [("gate_up_gelu", "forward")] = ProductCases.GateUpGelu,
        [("gated_matmul", "forward")] = ProductCases.GatedMatMul,
        [("residual_matmul", "forward")] = ProductCases.ResidualMatMul,
        [("conv_gates", "forward")] = GateCases.WithConvolution,
        [("recurrent_mixer", "forward")] = MixerCases.WithConvolution,
        [("embedding", "step")] = EmbeddingCases.Step,
        [("gated_product", "step")] = FusedCases.GatedProduct,
        [("norm_product", "step")] = FusedCases.NormProduct,
        [("sampling_head", "step")] = FusedCases.SamplingHead,
        [("residual_product", "step")] = FusedCases.ResidualProduct,
        [("recurrent_input", "step")] = FusedCases.RecurrentInput,
        [("recurrent_step", "step")] = FusedCases.RecurrentStep,
        [("rotary_product", "step")] = FusedCases.RotaryProduct,
    };

    /// <summary>The case of a row; null where we have none.</summary>
    public static CaseBuilder? Of(BenchRow row) => cases.GetValueOrDefault((row.Op, row.Pass));

    /// <summary>The sequences of a row that has them: ragged ones with resets to be checked, dense ones to be timed.</summary>
    public static Sequences SequencesOf(CaseMemory memory, BenchRow row) => memory.IsGate ? Sequences.Ragged(row["tokens"]) : Sequences.Dense(row["batch"], row["tokens"]);
}
