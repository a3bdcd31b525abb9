using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>The ops by name; results stand in the order of the outputs of our own cases.</summary>
internal static class TorchCases
{
    private static readonly Dictionary<string, Func<BenchRow, TorchDraw, TorchCase>> cases = new()
    {
        ["matmul"] = MatMul,
        ["gate_up_gelu"] = GateUpGelu,
        ["gated_matmul"] = GateUpGelu,
        ["conv_gates"] = ConvolutionAndGates,
        ["recurrent_mixer"] = RecurrentMixer,
        ["rms_norm"] = RmsNorm,
        ["residual_rms_norm"] = ResidualRmsNorm,
        ["gelu_multiply"] = GeluMultiply,
        ["conv1d"] = Convolution,
        ["block_diagonal_gates"] = Gates,
        ["rg_lru"] = RgLru,
        ["rg_lru_mixer"] = Mixer,
        ["window_attention"] = SequenceCases.WindowAttention,
        ["decode_attention"] = SequenceCases.DecodeAttention,
        ["rotary_embedding"] = SequenceCases.Rotary,
        ["ring_append"] = SequenceCases.RingAppend,
        ["embedding"] = HeadCases.Embedding,
        ["column_sum"] = HeadCases.ColumnSum,
        ["gradient_norm"] = HeadCases.GradientNorm,
        ["soft_cap"] = HeadCases.SoftCap,
        ["cross_entropy"] = HeadCases.CrossEntropy,
        ["linear_cross_entropy"] = HeadCases.LinearCrossEntropy,
        ["adam_w"] = HeadCases.AdamW,
    };

    /// <summary>Draws a row's inputs.</summary>
    /// <exception cref="NotMeasuredException">There is no such op here.</exception>
    public static TorchCase Build(BenchRow row, TorchDraw draw) => cases.TryGetValue(row.Op, out Func<BenchRow, TorchDraw, TorchCase>? build)
        ? build(row, draw)
        : throw new NotMeasuredException(row.Op switch
        {
            "sampler" or "sampling_head" => "its draws follow another generator than ours: nothing to compare",
            "norm_product" or "gated_product" or "residual_product" or "rotary_product" or "recurrent_input" or "recurrent_step" =>
                "one of our fused decode kernels: TorchSharp's ops have rows of their own, and so has its whole step",
            "residual_matmul" => "one of our fused kernels: TorchSharp's product and norm have rows of their own",
            { } op when op.EndsWith("_warpgroup", StringComparison.Ordinal) || op.EndsWith("_cluster", StringComparison.Ordinal) => "one of our ways to compute an op that has rows of its own",
            _ => "TorchSharp has no counterpart of this op",
        });

    /// <summary>Weights of a product of so many terms.</summary>
    public static Tensor Weight(TorchDraw draw, string name, long inner, params long[] shape) => draw.Input(name, InputRules.Weight(inner), null, shape);

    private static Tensor Bias(TorchDraw draw, string name, long length) => draw.Input(name, InputRules.Bias, null, length);

    private static TorchCase MatMul(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["inner"]), Weight(draw, "weight", row["inner"], row["columns"], row["inner"])], inputs => [inputs[0].matmul(inputs[1].t())])
        {
            WithGradient = [0, 1],
            Slope = row.Pass == "backward" ? draw.Activation("dy", row["rows"], row["columns"]) : null,
        };

    private static TorchCase GateUpGelu(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["inner"]), Weight(draw, "weight", row["inner"], row["columns"], row["inner"]), Bias(draw, "bias", row["columns"])],
            inputs => [Formulas.GeluMultiply(inputs[0].matmul(inputs[1].t()), inputs[2])])
        { Between = 1 };

    private static TorchCase RmsNorm(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["width"]), draw.Input("scale", InputRules.Scale, null, row["width"])], inputs => [Formulas.RmsNorm(inputs[0], inputs[1])])
        {
            WithGradient = [0, 1],
            Slope = row.Pass == "backward" ? draw.Activation("dy", row["rows"], row["width"]) : null,
        };

    private static TorchCase ResidualRmsNorm(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["width"]), draw.Activation("delta", row["rows"], row["width"]), draw.Input("scale", InputRules.Scale, null, row["width"])], inputs =>
        {
            Tensor sum = (Formulas.Wide(inputs[0]) + Formulas.Wide(inputs[1])).to(inputs[0].dtype);
            return [sum, Formulas.RmsNorm(sum, inputs[2])];
        });

    private static TorchCase GeluMultiply(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("gate_up", row["rows"], 2 * row["width"]), Bias(draw, "bias", 2 * row["width"])], inputs => [Formulas.GeluMultiply(inputs[0], inputs[1])])
        {
            WithGradient = [0],
            Slope = row.Pass == "backward" ? draw.Activation("dy", row["rows"], row["width"]) : null,
        };

    private static TorchCase Convolution(BenchRow row, TorchDraw draw)
    {
        (long width, long taps, long batch) = (row["width"], row["taps"], row["batch"]);
        Tensor weight = Weight(draw, "weight", taps, width, taps);
        if (row.Pass == "step")
        {
            return new([draw.Activation("x", batch, width), weight, Bias(draw, "bias", width), draw.Activation("state", batch, taps - 1, width)],
                inputs => [Formulas.ConvolveStep(inputs[0], inputs[1], inputs[2], inputs[3]), inputs[3]]);
        }

        return new([draw.Activation("x", batch, row["tokens"], width), weight, Bias(draw, "bias", width)], inputs => [Formulas.Convolve(inputs[0], inputs[1], inputs[2])])
        {
            WithGradient = [0, 1, 2],
            Slope = row.Pass == "backward" ? draw.Activation("dy", batch, row["tokens"], width) : null,
        };
    }

    // Weights of the input gate, its bias, the recurrence gate's, its bias.
    private static Tensor[] GateWeights(BenchRow row, TorchDraw draw)
    {
        (long blocks, long size) = (row["blocks"], row["width"] / row["blocks"]);
        return
        [
            Weight(draw, "input_weight", size, blocks, size, size), Bias(draw, "input_bias", row["width"]),
            Weight(draw, "recurrence_weight", size, blocks, size, size), Bias(draw, "recurrence_bias", row["width"]),
        ];
    }

    private static Tensor BothGates(Tensor z, Tensor[] inputs, int first) =>
        cat([Formulas.BlockDiagonal(z, inputs[first], inputs[first + 1]), Formulas.BlockDiagonal(z, inputs[first + 2], inputs[first + 3])], -1);

    private static TorchCase Gates(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("z", row["rows"], row["width"]), .. GateWeights(row, draw)], inputs => [BothGates(inputs[0], inputs, 1)])
        {
            WithGradient = [0, 1, 3],
            Slope = row.Pass == "backward" ? draw.Activation("dgates", row["rows"], 2 * row["width"]) : null,
            Between = 1,
        };

    private static TorchCase ConvolutionAndGates(BenchRow row, TorchDraw draw)
    {
        (long width, long taps) = (row["width"], row["taps"]);
        return new([draw.Activation("x", row["batch"], row["tokens"], width), Weight(draw, "conv_weight", taps, width, taps), Bias(draw, "bias", width), .. GateWeights(row, draw)], inputs =>
        {
            Tensor z = Formulas.Convolve(inputs[0], inputs[1], inputs[2]);
            return [z, BothGates(z, inputs, 3)];
        })
        { Between = 1 };
    }

    private static TorchCase RecurrentMixer(BenchRow row, TorchDraw draw)
    {
        (long batch, long tokens, long width, long taps) = (row["batch"], row["tokens"], row["width"], row["taps"]);
        return new([draw.Activation("x", batch, tokens, width), Weight(draw, "conv_weight", taps, width, taps), Bias(draw, "bias", width), .. GateWeights(row, draw),
            draw.Activation("y", batch, tokens, width), draw.Input("lambda", InputRules.Lambda, null, width)], inputs =>
        {
            Tensor z = Formulas.Convolve(inputs[0], inputs[1], inputs[2]);
            return [Recurrence.RgLru(z, BothGates(z, inputs, 3), inputs[7], inputs[8])];
        })
        { Between = 2 };
    }

    private static TorchCase RgLru(BenchRow row, TorchDraw draw)
    {
        (long width, long batch) = (row["width"], row["batch"]);
        Tensor decay = draw.Input("lambda", InputRules.Lambda, null, width);
        if (row.Pass == "step")
        {
            return new([draw.Activation("z", batch, width), draw.Activation("gates", batch, 2 * width), draw.Activation("y", batch, width), decay,
                    draw.Input("state", InputRules.Activation, ScalarType.Float32, batch, width)],
                inputs => [Recurrence.Step(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4]), inputs[4]]);
        }

        long tokens = row["tokens"];
        Tensor[] inputs = [draw.Activation("z", batch, tokens, width), draw.Activation("gates", batch, tokens, 2 * width), draw.Activation("y", batch, tokens, width), decay];
        if (row.Pass == "forward") return new(inputs, given => [Recurrence.RgLru(given[0], given[1], given[2], given[3])]);
        // As ours, from hidden states that the forward pass has kept: the whole way back is the work.
        return new([.. inputs, draw.Activation("hidden", batch, tokens, width), draw.Activation("dout", batch, tokens, width)],
            given => Recurrence.Backward(given[0], given[1], given[2], given[3], given[4], given[5]))
        { IsBackward = true };
    }

    private static TorchCase Mixer(BenchRow row, TorchDraw draw)
    {
        (long batch, long tokens, long width) = (row["batch"], row["tokens"], row["width"]);
        const int y = 5, decay = 6;
        return new([draw.Activation("z", batch, tokens, width), .. GateWeights(row, draw), draw.Activation("y", batch, tokens, width), draw.Input("lambda", InputRules.Lambda, null, width)],
            inputs => [Recurrence.RgLru(inputs[0], BothGates(inputs[0], inputs, 1), inputs[y], inputs[decay])])
        {
            WithGradient = [0, y, decay, 1, 3, 2, 4],
            Slope = row.Pass == "forward" ? null : draw.Activation("dout", batch, tokens, width),
            Arrange = gradients => [.. gradients[..5], cat([gradients[5], gradients[6]])],
            Between = 1,
        };
    }
}
