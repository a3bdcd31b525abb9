"""The gated linear recurrence in torch: h_t = a_t h_{t-1} + v_t along dimension 1, and the RG-LRU around it."""
import functools

import torch
from torch.nn import functional as F

from cases import NotMeasured, wide


def doubling_scan(a, v, reverse=False):
    """Log-depth: after round k every h_t has taken in the 2^k values up to it."""
    if reverse:
        return doubling_scan(a.flip(1), v.flip(1)).flip(1)
    distance = 1
    while distance < a.shape[1]:
        v = torch.cat([v[:, :distance], v[:, distance:] + a[:, distance:] * v[:, :-distance]], 1)
        a = torch.cat([a[:, :distance], a[:, distance:] * a[:, :-distance]], 1)
        distance *= 2
    return v


def combine(earlier, later):
    return earlier[0] * later[0], later[0] * earlier[1] + later[1]


def associative_scan(a, v, reverse=False):
    """torch's own higher-order scan; pointwise needs CUDA and Triton, elsewhere the generic form stands in."""
    try:
        from torch._higher_order_ops.associative_scan import associative_scan as scan
    except ImportError as error:
        raise NotMeasured(f"this torch has no associative_scan ({error})") from None
    mode = "pointwise" if a.device.type == "cuda" else "generic"
    return scan(combine, (a.contiguous(), v.contiguous()), dim=1, reverse=reverse, combine_mode=mode)[1]


class LinearScan(torch.autograd.Function):
    """A scan with its gradient as the reverse scan: only the decays and the results are kept."""

    @staticmethod
    def forward(ctx, a, v, scan):
        h = scan(a, v)
        ctx.save_for_backward(a, h)
        ctx.scan = scan
        return h

    @staticmethod
    def backward(ctx, dh):
        a, h = ctx.saved_tensors
        later = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        g = ctx.scan(later, dh, True)
        earlier = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
        return g * earlier, g, None


def linear_scan(a, x, scan=doubling_scan):
    return LinearScan.apply(wide(a), wide(x), scan).to(x.dtype)


def decays(z, gates, decay):
    """(a, v) of the recurrence from z [B,T,W], gate logits [B,T,2,W] (input, recurrence) and Lambda; each sequence starts at position 0."""
    input_gate, recurrence_gate = torch.sigmoid(wide(gates[:, :, 0])), torch.sigmoid(wide(gates[:, :, 1]))
    log_a = -8 * F.softplus(wide(decay)) * recurrence_gate
    first = (torch.arange(z.shape[1], device=z.device) == 0)[:, None]
    multiplier = torch.where(first, 1.0, torch.sqrt(-torch.expm1(2 * log_a)))
    return torch.where(first, 0.0, torch.exp(log_a)), multiplier * input_gate * wide(z)


def rg_lru(z, gates, y, decay, scan=doubling_scan):
    a, v = decays(z, gates, decay)
    return (LinearScan.apply(a, v, scan) * F.gelu(wide(y), approximate="tanh")).to(z.dtype)


def rg_lru_step(z, gates, y, decay, state, position=None):
    """One token a sequence ([B,W]) with its state [B,W] in float32, in place; no position: in the middle of a document."""
    input_gate, recurrence_gate = torch.sigmoid(wide(gates[:, 0])), torch.sigmoid(wide(gates[:, 1]))
    log_a = -8 * F.softplus(wide(decay)) * recurrence_gate
    a, multiplier = torch.exp(log_a), torch.sqrt(-torch.expm1(2 * log_a))
    if position is not None:
        a, multiplier = torch.where(position == 0, 0.0, a), torch.where(position == 0, 1.0, multiplier)
    state.mul_(a).add_(multiplier * input_gate * wide(z))
    return (state * F.gelu(wide(y), approximate="tanh")).to(z.dtype)


def block_diagonal(z, weight, bias):
    """z [..., W] times `blocks` square matrices [H,b,b] (in, out), plus a bias [W]."""
    blocks, size = weight.shape[0], weight.shape[1]
    product = torch.bmm(z.reshape(-1, blocks, size).transpose(0, 1), weight).transpose(0, 1)
    return (wide(product.reshape(z.shape)) + wide(bias)).to(z.dtype)


def mixer(z, input_weight, input_bias, recurrence_weight, recurrence_bias, y, decay, scan=doubling_scan):
    gates = torch.stack([block_diagonal(z, input_weight, input_bias), block_diagonal(z, recurrence_weight, recurrence_bias)], 2)
    return rg_lru(z, gates, y, decay, scan)


with_associative_scan = functools.partial(rg_lru, scan=associative_scan)
