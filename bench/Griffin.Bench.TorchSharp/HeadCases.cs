using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Griffin.Bench.TorchSharp;

/// <summary>Tables, losses, sums and the optimiser.</summary>
internal static class HeadCases
{
    private const double EmbeddingScale = 50.5, Cap = 30;

    public static TorchCase Embedding(BenchRow row, TorchDraw draw)
    {
        Tensor tokens = draw.Below("tokens", row[row.Pass == "step" ? "batch" : "rows"], row["vocabulary"]);
        if (row.Pass == "step")
        {
            // With each row's sum of squares, which the first norm takes.
            return new([tokens, draw.Activation("table", row["vocabulary"], row["width"])], inputs =>
            {
                Tensor y = Gathered(inputs[1], inputs[0]);
                return [y, Formulas.Wide(y).square().sum(-1)];
            });
        }

        if (row.Pass == "forward")
        {
            return new([tokens, draw.Activation("table", row["vocabulary"], row["width"])], inputs => [Gathered(inputs[1], inputs[0])]);
        }

        // Into float32, as our trainer keeps gradients; autograd would make them in the table's type.
        Tensor gradient = zeros([row["vocabulary"], row["width"]], ScalarType.Float32, draw.Device);
        return new([tokens, draw.Activation("dx", row["rows"], row["width"]), gradient],
            inputs => [inputs[2].index_add_(0, inputs[0], Formulas.Wide(inputs[1]) * EmbeddingScale, 1)])
        { IsBackward = true };
    }

    public static TorchCase ColumnSum(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["width"])], inputs => [inputs[0].sum(0, type: ScalarType.Float32)]);

    public static TorchCase GradientNorm(BenchRow row, TorchDraw draw) =>
        new([draw.Input("gradient", InputRules.Activation, ScalarType.Float32, row["parameters"])], inputs => [linalg.vector_norm(inputs[0])]);

    public static TorchCase SoftCap(BenchRow row, TorchDraw draw) =>
        new([draw.Input("logits", InputRules.Activation, ScalarType.Float32, row["rows"], row["vocabulary"])], inputs => [inputs[0].div_(Cap).tanh_().mul_(Cap)]);

    public static TorchCase CrossEntropy(BenchRow row, TorchDraw draw) =>
        new([draw.Input("logits", InputRules.Activation, ScalarType.Float32, row["rows"], row["vocabulary"]), draw.Below("targets", row["rows"], row["vocabulary"])],
            inputs => [Losses(inputs[0], inputs[1])])
        {
            WithGradient = [0],
            Slope = full([row["rows"]], 1.0 / row["rows"], ScalarType.Float32, draw.Device),
        };

    public static TorchCase LinearCrossEntropy(BenchRow row, TorchDraw draw) =>
        new([draw.Activation("x", row["rows"], row["width"]), TorchCases.Weight(draw, "weight", row["width"], row["vocabulary"], row["width"]), draw.Below("targets", row["rows"], row["vocabulary"])],
            inputs => [Losses(Formulas.Wide(inputs[0].matmul(inputs[1].t())), inputs[2])])
        {
            WithGradient = [0, 1],
            Slope = full([row["rows"]], 1.0 / row["rows"], ScalarType.Float32, draw.Device),
            Between = 1,
        };

    /// <summary>The seventh step from moments of zero, a gradient of norm 2 clipped to 1, nothing decayed: as our case has it.</summary>
    public static TorchCase AdamW(BenchRow row, TorchDraw draw)
    {
        const long group = Griffin.Kernels.Ops.AdamW.Group;
        const double rate = 3e-3, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, norm = 2;
        const int step = 7;
        double correction1 = 1 / (1 - Math.Pow(beta1, step)), correction2 = 1 / (1 - Math.Pow(beta2, step));
        long count = (row["parameters"] + group - 1) / group * group;
        Tensor Moment() => zeros([count], ScalarType.Float32, draw.Device);
        Tensor[] inputs =
        [
            draw.Input("master", InputRules.Activation, ScalarType.Float32, count), draw.Input("gradient", InputRules.Activation, ScalarType.Float32, count),
            Moment(), Moment(), empty([count], draw.Type, draw.Device),
        ];
        return new(inputs, given =>
        {
            (Tensor master, Tensor gradient, Tensor first, Tensor second) = (given[0], given[1] / norm, given[2], given[3]);
            first.mul_(beta1).add_(gradient, 1 - beta1);
            second.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
            master.sub_(first * (rate * correction1) / ((second * correction2).sqrt() + epsilon));
            return [master, given[4].copy_(master), first, second];
        });
    }

    private static Tensor Gathered(Tensor table, Tensor tokens) => (Formulas.Wide(table.index_select(0, tokens)) * EmbeddingScale).to(table.dtype);

    private static Tensor Losses(Tensor logits, Tensor targets) => cross_entropy(Formulas.SoftCap(logits, Cap), targets, reduction: nn.Reduction.None);
}
