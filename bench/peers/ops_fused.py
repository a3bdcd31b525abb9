"""Rows of our fused kernels as torch runs the same work: several calls in eager mode, what its compiler fuses otherwise."""
import functools
import math

import torch

import ops_torch
import scans_torch
from cases import Op, wide


def _weight(draw, columns, inner):
    return draw.normal("weight", columns, inner, scale=1 / math.sqrt(inner))


def _scaled(draw, s):
    return [draw.normal("x", s["batch"], s["inner"]), draw.normal("scale", s["inner"], scale=ops_torch.SCALE)]


def gated_product(row, s, draw):
    inputs = [*_scaled(draw, s), _weight(draw, 2 * s["width"], s["inner"]), draw.normal("bias", 2 * s["width"], scale=ops_torch.BIAS)]
    return Op(inputs, lambda x, scale, w, bias: ops_torch.gelu_multiply(ops_torch.rms_norm(x, scale) @ w.t(), bias), cut=ops_torch.first_rows(1, 2, 3))


def norm_product(row, s, draw):
    def forward(x, scale, w):
        return 30 * torch.tanh(wide(ops_torch.rms_norm(x, scale) @ w.t()) / 30)
    return Op([*_scaled(draw, s), _weight(draw, s["vocabulary"], s["inner"])], forward, cut=ops_torch.first_rows(1, 2))


def residual_product(row, s, draw):
    def forward(x, w, residual):
        residual.add_(x @ w.t())
        return residual, wide(residual).square().sum(1)
    inputs = [draw.normal("input", s["batch"], s["inner"]), _weight(draw, s["width"], s["inner"]), draw.normal("residual", s["batch"], s["width"])]
    return Op(inputs, forward, cut=ops_torch.first_rows(1))


def residual_matmul(row, s, draw):
    def forward(x, w, residual, scale):
        residual.add_(x @ w.t())
        rows = wide(residual)
        return residual, (rows * (1 + wide(scale))).to(residual.dtype), torch.rsqrt(rows.square().mean(1) + 1e-6)
    inputs = [draw.normal("input", s["rows"], s["inner"]), _weight(draw, s["width"], s["inner"]), draw.normal("residual", s["rows"], s["width"]),
              draw.normal("scale", s["width"], scale=ops_torch.SCALE)]
    return Op(inputs, forward, cut=ops_torch.first_rows(1, 3))


def recurrent_input(row, s, draw):
    def forward(x, scale, w, conv_weight, bias, state):
        z, y = (ops_torch.rms_norm(x, scale) @ w.t()).chunk(2, -1)
        return ops_torch.conv_step(z, conv_weight, bias, state), y
    width, taps = s["width"], s["taps"]
    inputs = [*_scaled(draw, s), _weight(draw, 2 * width, s["inner"]), draw.normal("conv_weight", width, taps, scale=1 / math.sqrt(taps)),
              draw.normal("bias", width, scale=ops_torch.BIAS), draw.normal("state", s["batch"], taps - 1, width)]
    return Op(inputs, forward, cut=ops_torch.first_rows(1, 2, 3, 4))


def recurrent_step(row, s, draw):
    def forward(z, wi, bi, wa, ba, y, decay, state):
        gates = torch.stack([scans_torch.block_diagonal(z, wi, bi), scans_torch.block_diagonal(z, wa, ba)], 1)
        return scans_torch.rg_lru_step(z, gates, y, decay, state)
    shape = (s["batch"], s["width"])
    inputs = [draw.normal("z", *shape), *ops_torch.gate_weights(s, draw), draw.normal("y", *shape), draw.decay(s["width"]), draw.normal("state", *shape, type=torch.float32)]
    return Op(inputs, forward, cut=ops_torch.first_rows(1, 2, 3, 4, 6))


def rotary_product(row, s, draw):
    heads, head_dim = s["heads"], s["head_dim"]
    turn = functools.partial(ops_torch.rotary_step, heads=heads, head_dim=head_dim)

    def forward(x, scale, w, ring, position):
        qkv = ops_torch.rms_norm(x, scale) @ w.t()
        return turn(qkv, ring, position), qkv
    inputs = [*_scaled(draw, s), _weight(draw, (heads + 2) * head_dim, s["inner"]), draw.normal("ring", s["batch"], s["window"] + 1, 2, head_dim),
              torch.tensor([s["window"] + 7], device=draw.device)]
    return Op(inputs, forward, cut=ops_torch.first_rows(1, 2, 4))


def conv_gates(row, s, draw):
    def forward(x, conv_weight, bias, wi, bi, wa, ba):
        z = ops_torch.shifted_conv(x, conv_weight, bias)
        return z, torch.stack([scans_torch.block_diagonal(z, wi, bi), scans_torch.block_diagonal(z, wa, ba)], 2)
    taps, size = s["taps"], s["width"] // s["blocks"]

    def cut(which, t):  # the first block of channels
        return t[:1] if which in (3, 5) else t[:size] if which == 1 else t[..., :size]
    inputs = [draw.normal("x", s["batch"], s["tokens"], s["width"]), draw.normal("conv_weight", s["width"], taps, scale=1 / math.sqrt(taps)),
              draw.normal("bias", s["width"], scale=ops_torch.BIAS), *ops_torch.gate_weights(s, draw)]
    return Op(inputs, forward, cut=cut)


def recurrent_mixer(row, s, draw):
    gates = conv_gates(row, s, draw)
    shape = (s["batch"], s["tokens"], s["width"])

    def forward(*inputs):
        return scans_torch.rg_lru(*gates.forward(*inputs[:7]), *inputs[7:])

    def cut(which, t):
        return t[..., :s["width"] // s["blocks"]] if which in (7, 8) else gates.cut(which, t)
    return Op([*gates.inputs, draw.normal("y", *shape), draw.decay(s["width"])], forward, cut=cut)


MAKERS = {maker.__name__: maker for maker in (gated_product, norm_product, residual_matmul, residual_product, recurrent_input, recurrent_step, rotary_product,
                                             conv_gates, recurrent_mixer)}
