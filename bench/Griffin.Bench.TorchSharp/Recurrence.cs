using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>The RG-LRU in TorchSharp: a log-depth scan along dimension 1, as there is no other scan to call, and its way back as the reverse scan.</summary>
internal static class Recurrence
{
    /// <summary>Output [B, T, W] of z [B, T, W], gate logits [B, T, 2 W] (input, recurrence), branch y and Λ; every sequence begins at position 0.</summary>
    public static Tensor RgLru(Tensor z, Tensor gates, Tensor y, Tensor decay)
    {
        (Tensor a, Tensor multiplier, Tensor inputGate, _) = Gates(gates, decay, z.shape[1]);
        Tensor h = LinearScan.apply(a, multiplier * inputGate * Formulas.Wide(z));
        return (h * Formulas.Gelu(Formulas.Wide(y))).to(z.dtype);
    }

    /// <summary>One token [B, W], in the middle of a document or at a position, with its state [B, W] in float32, in place.</summary>
    public static Tensor Step(Tensor z, Tensor gates, Tensor y, Tensor decay, Tensor state, Tensor? position = null)
    {
        Tensor[] logits = Formulas.Wide(gates).chunk(2, -1);
        Tensor logA = Formulas.Softplus(Formulas.Wide(decay)) * -8 * sigmoid(logits[1]), a = exp(logA), multiplier = sqrt(-expm1(logA * 2));
        if (position is not null)
        {
            Tensor first = position.eq(0);
            (a, multiplier) = (where(first, zeros_like(a), a), where(first, ones_like(multiplier), multiplier));
        }

        state.mul_(a).add_(multiplier * sigmoid(logits[0]) * Formulas.Wide(z));
        return (state * Formulas.Gelu(Formulas.Wide(y))).to(z.dtype);
    }

    /// <summary>Gradients of z, gates, y and Λ from the kept hidden states [B, T, W] and the output's gradient.</summary>
    public static Tensor[] Backward(Tensor z, Tensor gates, Tensor y, Tensor decay, Tensor hidden, Tensor dout)
    {
        (Tensor a, Tensor multiplier, Tensor inputGate, Tensor recurrenceGate) = Gates(gates, decay, z.shape[1]);
        (Tensor x, Tensor h, Tensor slope, Tensor branch) = (Formulas.Wide(z), Formulas.Wide(hidden), Formulas.Wide(dout), Formulas.Wide(y));
        Tensor g = Scan(Later(a), slope * Formulas.Gelu(branch), reverse: true);
        Tensor dlogA = g * a * Earlier(h) - where(a.eq(0), zeros_like(a), g * inputGate * x * a * a / multiplier);
        Tensor speed = Formulas.Softplus(Formulas.Wide(decay)) * -8;
        Tensor dinput = g * multiplier * x * inputGate * (1 - inputGate), drecurrence = dlogA * speed * recurrenceGate * (1 - recurrenceGate);
        Tensor ddecay = (dlogA * recurrenceGate).sum([0, 1]) * -8 * sigmoid(Formulas.Wide(decay));
        return [(g * multiplier * inputGate).to(z.dtype), cat([dinput, drecurrence], -1).to(z.dtype), (slope * h * GeluSlope(branch)).to(z.dtype), ddecay];
    }

    /// <summary>h[t] = a[t] h[t-1] + v[t], or backwards from the last. After round k every h has taken in the 2^k values up to it.</summary>
    public static Tensor Scan(Tensor a, Tensor v, bool reverse)
    {
        if (reverse) return Scan(a.flip(1), v.flip(1), reverse: false).flip(1);
        long length = a.shape[1];
        for (long distance = 1; distance < length; distance *= 2)
        {
            Tensor near = a.narrow(1, distance, length - distance);
            v = cat([v.narrow(1, 0, distance), v.narrow(1, distance, length - distance) + near * v.narrow(1, 0, length - distance)], 1);
            a = cat([a.narrow(1, 0, distance), near * a.narrow(1, 0, length - distance)], 1);
        }

        return v;
    }

    private static (Tensor A, Tensor Multiplier, Tensor InputGate, Tensor RecurrenceGate) Gates(Tensor gates, Tensor decay, long tokens)
    {
        Tensor[] logits = Formulas.Wide(gates).chunk(2, -1);
        Tensor input = sigmoid(logits[0]), recurrence = sigmoid(logits[1]), logA = Formulas.Softplus(Formulas.Wide(decay)) * -8 * recurrence;
        Tensor first = arange(tokens, ScalarType.Int64, gates.device).eq(0).unsqueeze(-1), a = exp(logA), multiplier = sqrt(-expm1(logA * 2));
        return (where(first, zeros_like(a), a), where(first, ones_like(multiplier), multiplier), input, recurrence);
    }

    private static Tensor Earlier(Tensor x) => cat([zeros_like(x.narrow(1, 0, 1)), x.narrow(1, 0, x.shape[1] - 1)], 1);

    private static Tensor Later(Tensor x) => cat([x.narrow(1, 1, x.shape[1] - 1), zeros_like(x.narrow(1, 0, 1))], 1);

    // d/dx of 0.5 x (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3).
    private static Tensor GeluSlope(Tensor x)
    {
        const double root = 0.7978845608028654, cubic = 0.044715;
        Tensor t = tanh((x + x * x * x * cubic) * root);
        return (t + 1) * 0.5 + x * (1 - t * t) * 0.5 * root * (x * x * (3 * cubic) + 1);
    }

    /// <summary>The scan with its gradient: only the decays and the results are kept.</summary>
    private sealed class LinearScan : autograd.SingleTensorFunction<LinearScan>
    {
        public override string Name => nameof(LinearScan);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            Tensor a = (Tensor)vars[0], h = Scan(a, (Tensor)vars[1], reverse: false);
            ctx.save_for_backward([a, h]);
            return h;
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            List<Tensor> kept = ctx.get_saved_variables();
            Tensor g = Scan(Later(kept[0]), grad_output, reverse: true);
            return [g * Earlier(kept[1]), g];
        }
    }
}
