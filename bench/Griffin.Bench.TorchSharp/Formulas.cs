using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Griffin.Bench.TorchSharp;

/// <summary>The family's formulas in TorchSharp's operations: float32 steps where ours take them, one rounding at each store.</summary>
internal static class Formulas
{
    public const double Epsilon = 1e-6;

    public static Tensor Wide(Tensor x) => x.dtype == ScalarType.BFloat16 ? x.to(ScalarType.Float32) : x;

    public static Tensor Gelu(Tensor x) => gelu(x, GELU.Approximate.tanh);

    public static Tensor Softplus(Tensor x) => softplus(x);

    public static Tensor RmsNorm(Tensor x, Tensor scale)
    {
        Tensor y = Wide(x);
        return (y * rsqrt(y.square().mean([-1], keepdim: true) + Epsilon) * (Wide(scale) + 1)).to(x.dtype);
    }

    public static Tensor GeluMultiply(Tensor gateUp, Tensor bias)
    {
        Tensor[] halves = (Wide(gateUp) + Wide(bias)).chunk(2, -1);
        return (Gelu(halves[0]) * halves[1]).to(gateUp.dtype);
    }

    /// <summary>x [B, T, W], weight [W, taps]: the last tap meets the current token.</summary>
    public static Tensor Convolve(Tensor x, Tensor weight, Tensor bias)
    {
        long taps = weight.shape[1];
        return conv1d(x.transpose(1, 2), weight.unsqueeze(1), bias, padding: taps - 1, groups: x.shape[2]).narrow(2, 0, x.shape[1]).transpose(1, 2);
    }

    /// <summary>One token [B, W] behind its state [B, taps - 1, W], oldest first, in place.</summary>
    public static Tensor ConvolveStep(Tensor x, Tensor weight, Tensor bias, Tensor state)
    {
        Tensor window = cat([state, x.unsqueeze(1)], 1);
        Tensor y = ((Wide(window) * Wide(weight).t()).sum(1) + Wide(bias)).to(x.dtype);
        state.copy_(window.narrow(1, 1, state.shape[1]));
        return y;
    }

    /// <summary>z [..., W] times square matrices [H, b, b] ([in, out]), plus a bias [W].</summary>
    public static Tensor BlockDiagonal(Tensor z, Tensor weight, Tensor bias)
    {
        long blocks = weight.shape[0], size = weight.shape[1];
        Tensor product = z.reshape(-1, blocks, size).transpose(0, 1).bmm(weight).transpose(0, 1);
        return (Wide(product.reshape(z.shape)) + Wide(bias)).to(z.dtype);
    }

    /// <summary>The first half of each head [..., N, d] turns by its position's angles.</summary>
    public static Tensor Rotate(Tensor x, Tensor positions, double theta = 10_000)
    {
        long dim = x.shape[^1], half = dim / 4;
        Tensor frequency = pow(theta, arange(half, ScalarType.Float64, x.device) * (-1.0 / half)), angle = positions.to(ScalarType.Float64).unsqueeze(-1) * frequency;
        Tensor cosine = cos(angle).to(ScalarType.Float32), sine = sin(angle).to(ScalarType.Float32);
        Tensor first = Wide(x.narrow(-1, 0, half)), second = Wide(x.narrow(-1, half, half));
        return cat([(first * cosine - second * sine).to(x.dtype), (second * cosine + first * sine).to(x.dtype), x.narrow(-1, 2 * half, dim - 2 * half)], -1);
    }

    /// <summary>[queries, keys]: whether a query sees a key: itself and so many before.</summary>
    public static Tensor WindowMask(long tokens, long window, Device device)
    {
        Tensor at = arange(tokens, ScalarType.Int64, device), distance = at.unsqueeze(1) - at.unsqueeze(0);
        return distance.ge(0).logical_and(distance.le(window));
    }

    /// <summary>q [B, H, T, d], k and v [B, 1, T, d]; one key and value head serves all, expanded, for this call knows no groups.</summary>
    public static Tensor Attend(Tensor q, Tensor k, Tensor v, long? window)
    {
        (Tensor keys, Tensor values) = (k.expand_as(q), v.expand_as(q));
        long tokens = q.shape[2];
        return window is { } width && tokens > width + 1
            ? scaled_dot_product_attention(q, keys, values, attn_mask: WindowMask(tokens, width, q.device))
            : scaled_dot_product_attention(q, keys, values, is_casual: true);
    }

    public static Tensor SoftCap(Tensor logits, double cap) => cap == 0 ? logits : tanh(logits / cap) * cap;
}
