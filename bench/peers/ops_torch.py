"""Every op row as plain torch: inputs by the generator in the order of the op's call, the forward, and forms that other peers prefer.

CHECKED rows, columns or channels are compared in float64: enough to tell a wrong result, at any size.
"""
import functools
import math

import torch
from torch.nn import functional as F

import scans_torch
from cases import SIZES, TYPES, Op, wide
from inputs import decay, normal, tokens, uniform

CHECKED = 16
COMPOSED = ("gate_up_gelu", "gated_matmul", "rg_lru_mixer")  # round in between as well
SCALE, BIAS = 0.5, 0.1  # standard deviations of norms' scales and of biases


class Draw:
    """Tensors by name: the seed is the name's place among the inputs that rows.json lists for the op; others take the numbers behind."""

    def __init__(self, row, device):
        self.type, self.device, self.names = TYPES[row["type"]], device, list(row["inputs"])

    def seed(self, name):
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1

    def normal(self, name, *shape, scale=1.0, type=None):
        return normal(self.seed(name), shape, self.device, scale).to(type or self.type)

    def uniform(self, name, *shape):
        return uniform(self.seed(name), shape, self.device)

    def decay(self, width):
        return decay(self.seed("lambda"), width, self.device).to(self.type)

    def tokens(self, name, count, vocabulary):
        return tokens(self.seed(name), (count,), vocabulary, self.device)

    def gradient_seed(self):
        return self.seed(next((name for name in ("dy", "dout", "dgates", "dx") if name in self.names), "dy"))


def first_rows(*whole):
    """Cuts rows of everything but the named arguments."""
    return lambda which, t: t if which in whole else t[:CHECKED]


def channels(which, t):
    return t[..., :CHECKED]


def first_channels(*rowwise):
    """Cuts channels: the last axis, of the named arguments ([width, ...]) the first."""
    return lambda which, t: t[:CHECKED] if which in rowwise else t[..., :CHECKED]


def rms_norm(x, scale):
    y = wide(x)
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * (1 + wide(scale))).to(x.dtype)


def residual_rms_norm(x, delta, scale):
    x = (wide(x) + wide(delta)).to(x.dtype)
    return x, rms_norm(x, scale)


def gelu_multiply(gate_up, bias):
    gate, up = (wide(gate_up) + wide(bias)).chunk(2, -1)
    return (F.gelu(gate, approximate="tanh") * up).to(gate_up.dtype)


def shifted_conv(x, weight, bias):
    """x [B,T,W], weight [W,taps]: the last tap is the current token's."""
    taps, y = weight.shape[1], wide(x)
    padded = F.pad(y, (0, 0, taps - 1, 0))
    total = sum(wide(weight)[:, tap] * padded[:, tap : tap + x.shape[1]] for tap in range(taps))
    return (total + wide(bias)).to(x.dtype)


def library_conv(x, weight, bias):
    taps = weight.shape[1]
    return F.conv1d(x.transpose(1, 2), weight[:, None], bias, padding=taps - 1, groups=x.shape[2])[..., : x.shape[1]].transpose(1, 2)


def conv_step(x, weight, bias, state):
    """One token [B,W] with its state [B,taps-1,W], oldest first, in place."""
    window = torch.cat([state, x[:, None]], 1)
    y = ((wide(window) * wide(weight).t()).sum(1) + wide(bias)).to(x.dtype)
    state.copy_(window[:, 1:])
    return y


def rotate(x, positions, heads, head_dim):
    """x [N, (heads + 2) head_dim]: the first half of each head of q and k turns, in place."""
    half = head_dim // 4
    frequency = 10000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float64) * 2 / (2 * half))
    angle = positions[:, None].double() * frequency
    cos, sin = (t[:, None].to(wide(x).dtype) for t in (angle.cos(), angle.sin()))
    view = x.view(x.shape[0], heads + 2, head_dim)[:, : heads + 1]
    first, second = wide(view[..., :half]).clone(), wide(view[..., half : 2 * half]).clone()
    view[..., :half] = (first * cos - second * sin).to(x.dtype)
    view[..., half : 2 * half] = (second * cos + first * sin).to(x.dtype)
    return x


def rotary_step(qkv, ring, position, heads, head_dim):
    """One token a sequence; its key and value go into the ring [B,W+1,2,head_dim]."""
    rotate(qkv, position.expand(qkv.shape[0]), heads, head_dim)
    ring.index_copy_(1, position % ring.shape[1], qkv.view(-1, heads + 2, head_dim)[:, None, heads:])
    return ring


def ring_append(qkv, ring, heads):
    batch, slots, _, head_dim = ring.shape
    entries = qkv.view(batch, -1, heads + 2, head_dim)[:, :, heads:]
    count = entries.shape[1]
    last = torch.arange(max(0, count - slots), count, device=qkv.device)
    return ring.index_copy_(1, last % slots, entries[:, last])


def cross_entropy(logits, targets, cap=30.0):
    return F.cross_entropy(cap * torch.tanh(logits / cap), targets)


def linear_cross_entropy(x, weight, targets, cap=30.0):
    return cross_entropy(wide(x @ weight.t()), targets, cap)


def sample(logits, drawn, top_k=50, top_p=0.95, temperature=0.8):
    values, index = torch.topk(logits / temperature, min(top_k, logits.shape[-1]), dim=-1)
    probabilities = values.softmax(-1)
    kept = probabilities * (probabilities.cumsum(-1) - probabilities < top_p)
    chosen = (kept.cumsum(-1) > drawn * kept.sum(-1, keepdim=True)).int().argmax(-1, keepdim=True)
    return index.gather(1, chosen)[:, 0]


RATE, BETA1, BETA2, EPSILON, WEIGHT_DECAY = 1e-3, 0.9, 0.95, 1e-8, 0.1


def adam_w(master, gradient, first, second, step, weights):
    g = wide(gradient)
    step.add_(1)
    first.mul_(BETA1).add_(g, alpha=1 - BETA1)
    second.mul_(BETA2).add_(g * g, alpha=1 - BETA2)
    root = (second / (1 - BETA2**step)).sqrt() + EPSILON
    master.mul_(1 - RATE * WEIGHT_DECAY).sub_(RATE / (1 - BETA1**step) * first / root)
    return weights.copy_(master)


def fused_adam_w(master, gradient, first, second, step, weights):
    """torch's fused step on the float32 master weights, then the copy to the row's type."""
    from torch.optim.adamw import adamw
    adamw([master], [gradient.to(master.dtype)], [first], [second], [], [step], fused=True, amsgrad=False, beta1=BETA1, beta2=BETA2,
          lr=RATE, weight_decay=WEIGHT_DECAY, eps=EPSILON, maximize=False)
    return weights.copy_(master)


def _matmul(row, s, draw):
    x, w = draw.normal("x", s["rows"], s["inner"]), draw.normal("weight", s["columns"], s["inner"], scale=1 / math.sqrt(s["inner"]))
    return Op([x, w], lambda x, w: x @ w.t(), wrt=(0, 1), cut=first_rows(1), local=(0,))


def _gate_up(row, s, draw):
    x, w = draw.normal("x", s["rows"], s["inner"]), draw.normal("weight", s["columns"], s["inner"], scale=1 / math.sqrt(s["inner"]))
    return Op([x, w, draw.normal("bias", s["columns"], scale=BIAS)], lambda x, w, b: gelu_multiply(x @ w.t(), b), cut=first_rows(1, 2))


def _rms_norm(row, s, draw):
    library = lambda x, scale: F.rms_norm(x, (x.shape[-1],), 1 + scale, 1e-6)
    return Op([draw.normal("x", s["rows"], s["width"]), draw.normal("scale", s["width"], scale=SCALE)], rms_norm, wrt=(0, 1), cut=first_rows(1), local=(0,),
              forms={"torch-eager": library} if hasattr(F, "rms_norm") else {})


def _residual_rms_norm(row, s, draw):
    x, delta = draw.normal("x", s["rows"], s["width"]), draw.normal("delta", s["rows"], s["width"])
    return Op([x, delta, draw.normal("scale", s["width"], scale=SCALE)], residual_rms_norm, cut=first_rows(2))


def _gelu_multiply(row, s, draw):
    return Op([draw.normal("gate_up", s["rows"], 2 * s["width"]), draw.normal("bias", 2 * s["width"], scale=BIAS)], gelu_multiply,
              wrt=(0, 1), cut=first_rows(1), local=(0,))


def _conv1d(row, s, draw):
    taps, width = s["taps"], s["width"]
    step = row["pass"] == "step"
    x = draw.normal("x", s["batch"], *([] if step else [s["tokens"]]), width)
    weight, bias = draw.normal("weight", width, taps, scale=1 / math.sqrt(taps)), draw.normal("bias", width, scale=BIAS)
    if step:
        return Op([x, weight, bias, draw.normal("state", s["batch"], taps - 1, width)], conv_step, cut=first_channels(1))
    return Op([x, weight, bias], shifted_conv, wrt=(0, 1, 2), cut=first_channels(1), local=(0, 1, 2), forms={"torch-eager": library_conv})


def _rg_lru(row, s, draw):
    if row["pass"] == "step":
        shape = (s["batch"], s["width"])
        inputs = [draw.normal("z", *shape), draw.normal("gates", shape[0], 2, shape[1]), draw.normal("y", *shape), draw.decay(s["width"]),
                  draw.normal("state", *shape, type=torch.float32)]
        return Op(inputs, scans_torch.rg_lru_step, cut=channels)
    shape = (s["batch"], s["tokens"], s["width"])
    inputs = [draw.normal("z", *shape), draw.normal("gates", shape[0], shape[1], 2, shape[2]), draw.normal("y", *shape), draw.decay(s["width"])]
    return Op(inputs, scans_torch.rg_lru, wrt=(0, 1, 2, 3), cut=channels, local=(0, 1, 2, 3))


def gate_weights(s, draw):
    size = s["width"] // s["blocks"]
    weight = lambda name: draw.normal(name, s["blocks"], size, size, scale=1 / math.sqrt(size))
    bias = lambda name: draw.normal(name, s["width"], scale=BIAS)
    return [weight("input_weight"), bias("input_bias"), weight("recurrence_weight"), bias("recurrence_bias")]


def _gates(row, s, draw):
    def forward(z, wi, bi, wa, ba):
        return torch.cat([scans_torch.block_diagonal(z, wi, bi), scans_torch.block_diagonal(z, wa, ba)], -1)
    return Op([draw.normal("z", s["rows"], s["width"]), *gate_weights(s, draw)], forward, wrt=(0, 1, 2, 3, 4), cut=first_rows(1, 2, 3, 4), local=(0,))


def _mixer(row, s, draw):
    size = s["width"] // s["blocks"]

    def cut(which, t):  # the first block of channels
        return t[:1] if which in (1, 3) else t[..., :size]

    shape = (s["batch"], s["tokens"], s["width"])
    inputs = [draw.normal("z", *shape), *gate_weights(s, draw), draw.normal("y", *shape), draw.decay(s["width"])]
    return Op(inputs, scans_torch.mixer, wrt=tuple(range(7)), cut=cut, local=tuple(range(7)))


def _linear_scan(row, s, draw):
    shape = (s["batch"], s["tokens"], s["width"])
    a = (0.9 + 0.099 * draw.uniform("a", *shape)).to(draw.type)
    return Op([a, draw.normal("x", *shape)], scans_torch.linear_scan, wrt=(0, 1), cut=channels, local=(0, 1))


def _embedding(row, s, draw):
    count = s["batch"] if row["pass"] == "step" else s["rows"]
    ids, table = draw.tokens("tokens", count, s["vocabulary"]), draw.normal("table", s["vocabulary"], s["width"])
    scale = torch.tensor(math.sqrt(s["width"])).bfloat16().item()
    forward = lambda ids, table: (wide(F.embedding(ids, table)) * scale).to(table.dtype)
    return Op([ids, table], forward, wrt=(1,), cut=lambda which, t: t if which == 1 else t[:CHECKED])


def _cross_entropy(row, s, draw):
    return Op([draw.normal("logits", s["rows"], s["vocabulary"], type=torch.float32), draw.tokens("targets", s["rows"], s["vocabulary"])], cross_entropy, wrt=(0,), local=(0,))


def _linear_cross_entropy(row, s, draw):
    x, weight = draw.normal("x", s["rows"], s["width"]), draw.normal("weight", s["vocabulary"], s["width"], scale=1 / math.sqrt(s["width"]))
    return Op([x, weight, draw.tokens("targets", s["rows"], s["vocabulary"])], linear_cross_entropy, wrt=(0, 1), checked_forward=False)


def _rotary(row, s, draw):
    heads, head_dim = s["heads"], s["head_dim"]
    if row["pass"] == "step":
        position = torch.tensor([s["window"] + 7], device=draw.device)
        ring = draw.normal("ring", s["batch"], s["window"] + 1, 2, head_dim)
        return Op([draw.normal("qkv", s["batch"], (heads + 2) * head_dim), ring, position], functools.partial(rotary_step, heads=heads, head_dim=head_dim))
    positions = torch.arange(s["tokens"], device=draw.device).repeat(s["batch"])
    return Op([draw.normal("qkv", s["batch"] * s["tokens"], (heads + 2) * head_dim), positions], functools.partial(rotate, heads=heads, head_dim=head_dim), cut=first_rows())


def _ring_append(row, s, draw):
    qkv = draw.normal("qkv", s["batch"] * s["tokens"], (s["heads"] + 2) * s["head_dim"])
    return Op([qkv, draw.normal("ring", s["batch"], s["window"] + 1, 2, s["head_dim"])], functools.partial(ring_append, heads=s["heads"]))


def _sampler(row, s, draw):
    return Op([draw.normal("logits", s["batch"], s["vocabulary"]), draw.uniform("drawn", s["batch"], 1)], sample)


def _copy(row, s, draw):
    return Op([draw.normal("x", s["bytes"] // SIZES[row["type"]])], torch.clone, cut=first_rows())


def _read(row, s, draw):
    return Op([draw.normal("x", s["bytes"] // SIZES[row["type"]]).view(-1, 4096 if s["bytes"] % 8192 == 0 else 1)], lambda x: x.sum(1, dtype=wide(x).dtype), cut=first_rows())


def _column_sum(row, s, draw):
    return Op([draw.normal("x", s["rows"], s["width"])], lambda x: x.sum(0, dtype=wide(x).dtype), cut=lambda which, t: t[..., :CHECKED])


def _gradient_norm(row, s, draw):
    return Op([draw.normal("gradient", s["parameters"])], torch.linalg.vector_norm)


def _soft_cap(row, s, draw):
    return Op([draw.normal("logits", s["rows"], s["vocabulary"])], lambda x: x.div_(30).tanh_().mul_(30), cut=first_rows())


def _adam_w(row, s, draw):
    count = s["parameters"]
    drawn = lambda name: draw.normal(name, count, type=torch.float32)
    inputs = [drawn("master"), draw.normal("gradient", count), drawn("first"), draw.uniform("second", count), torch.tensor(9.0, device=draw.device), torch.empty(count, dtype=draw.type, device=draw.device).fill_(float("nan"))]
    forms = {"torch-eager": fused_adam_w} if torch.device(draw.device).type == "cuda" else {}
    return Op(inputs, adam_w, cut=lambda which, t: t if which == 4 else t[:CHECKED], forms=forms)


MAKERS = {
    "copy": _copy, "read": _read, "matmul": _matmul, "gate_up_gelu": _gate_up, "gated_matmul": _gate_up, "rms_norm": _rms_norm, "residual_rms_norm": _residual_rms_norm,
    "gelu_multiply": _gelu_multiply, "conv1d": _conv1d, "rg_lru": _rg_lru, "block_diagonal_gates": _gates, "rg_lru_mixer": _mixer,
    "linear_scan": _linear_scan, "embedding": _embedding, "cross_entropy": _cross_entropy, "linear_cross_entropy": _linear_cross_entropy,
    "rotary_embedding": _rotary, "ring_append": _ring_append, "sampler": _sampler, "column_sum": _column_sum, "gradient_norm": _gradient_norm,
    "soft_cap": _soft_cap, "adam_w": _adam_w,
}
