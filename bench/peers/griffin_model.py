"""A Griffin in plain torch, of any of rows.json's shapes: the whole forward pass, and a decode step on states of fixed size.

`Forms` chooses how its pieces are computed: by the library's calls in eager mode, in forms that a compiler fuses otherwise.
"""
import math
from dataclasses import dataclass
from typing import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ops_torch
import scans_torch
from attention_torch import grouped, mask_of
from cases import wide


@dataclass(frozen=True)
class Shape:
    width: int
    rnn_width: int
    layers: int
    heads: int
    head_dim: int
    blocks: int
    mlp_width: int
    vocabulary: int
    window: int | None
    taps: int = 4
    pattern: tuple = ("recurrent", "recurrent", "attention")
    soft_cap: float = 30.0

    @staticmethod
    def of(model):
        return Shape(**{name: tuple(value) if isinstance(value, list) else value for name, value in model.items()})

    def kind(self, layer):
        return self.pattern[layer % len(self.pattern)]


@dataclass(frozen=True)
class Forms:
    scan: Callable = scans_torch.doubling_scan
    library_conv: bool = True
    attend: Callable | None = None  # q [B,H,T,d], k and v [B,1,T,d] -> [B,H,T,d]; by scaled_dot_product_attention otherwise


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return ops_torch.rms_norm(x, self.scale)


class BlockDiagonal(nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        block = width // blocks
        self.weight = nn.Parameter(torch.randn(blocks, block, block) / math.sqrt(block))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, z):
        return scans_torch.block_diagonal(z, self.weight, self.bias)


class Recurrent(nn.Module):
    def __init__(self, shape, forms):
        super().__init__()
        width, rnn = shape.width, shape.rnn_width
        self.taps, self.forms = shape.taps, forms
        self.x, self.y, self.out = nn.Linear(width, rnn), nn.Linear(width, rnn), nn.Linear(rnn, width)
        self.conv = nn.Conv1d(rnn, rnn, shape.taps, groups=rnn, padding=shape.taps - 1)
        self.input_gate, self.recurrence_gate = BlockDiagonal(rnn, shape.blocks), BlockDiagonal(rnn, shape.blocks)
        self.decay = nn.Parameter(torch.empty(rnn).uniform_(-6.9, -2.2))

    def forward(self, u):
        convolve = ops_torch.library_conv if self.forms.library_conv else ops_torch.shifted_conv
        z = convolve(self.x(u), self.conv.weight[:, 0], self.conv.bias)
        gates = torch.stack([self.input_gate(z), self.recurrence_gate(z)], 2)
        return self.out(scans_torch.rg_lru(z, gates, self.y(u), self.decay, self.forms.scan))

    def state(self, batch, context):
        weight = self.x.weight
        return [weight.new_zeros(batch, weight.shape[0], dtype=torch.float32), weight.new_zeros(batch, self.taps - 1, weight.shape[0])]

    def step(self, u, state, position):
        z = ops_torch.conv_step(self.x(u), self.conv.weight[:, 0], self.conv.bias, state[1])
        gates = torch.stack([self.input_gate(z), self.recurrence_gate(z)], 1)
        return self.out(scans_torch.rg_lru_step(z, gates, self.y(u), self.decay, state[0], position))


class Attention(nn.Module):
    def __init__(self, shape, forms):
        super().__init__()
        self.heads, self.head_dim, self.window, self.forms = shape.heads, shape.head_dim, shape.window, forms
        self.q = nn.Linear(shape.width, shape.heads * shape.head_dim, bias=False)
        self.k, self.v = (nn.Linear(shape.width, shape.head_dim, bias=False) for _ in range(2))
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.width)

    def rotate(self, x, position):
        """x [..., T, head_dim], position [T]: the first half of each head turns."""
        half = self.head_dim // 4
        first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        angle = position[:, None] * 10000.0 ** (-torch.arange(half, device=x.device) * 2 / (2 * half))
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)

    def forward(self, u):
        rows, length, _ = u.shape
        position = torch.arange(length, device=u.device)
        q = self.rotate(self.q(u).view(rows, length, self.heads, self.head_dim).transpose(1, 2), position)
        k, v = self.rotate(self.k(u)[:, None], position), self.v(u)[:, None]
        return self.out(self.attend(q, k, v, length).transpose(1, 2).reshape(rows, length, -1))

    def attend(self, q, k, v, length):
        window = length if self.window is None else self.window
        if self.forms.attend is not None and length > window + 1:
            return self.forms.attend(q, k, v)
        if not hasattr(F, "scaled_dot_product_attention"):
            scores = wide(q @ k.transpose(-1, -2)) / math.sqrt(self.head_dim)
            return scores.masked_fill(~mask_of(length, window, q.device), float("-inf")).softmax(-1).to(v.dtype) @ v
        if length <= window + 1:
            return grouped(q, k, v, is_causal=True)
        return grouped(q, k, v, attn_mask=mask_of(length, window, q.device))

    def state(self, batch, context):
        """A ring of window + 1 slots; without a window, one slot a token."""
        slots = context if self.window is None else self.window + 1
        return [self.k.weight.new_zeros(batch, slots, self.head_dim) for _ in range(2)]

    def step(self, u, state, position):
        keys, values = state
        slots = keys.shape[1]
        q = self.rotate(self.q(u).view(-1, self.heads, 1, self.head_dim), position)[:, :, 0]
        keys.index_copy_(1, position % slots, self.rotate(self.k(u)[:, None], position))
        values.index_copy_(1, position % slots, self.v(u)[:, None])
        seen = torch.arange(slots, device=u.device) <= position
        if hasattr(F, "scaled_dot_product_attention"):  # the query heads are rows of one head
            y = F.scaled_dot_product_attention(q[:, None], keys[:, None], values[:, None], attn_mask=seen[None, None, None])[:, 0]
        else:
            scores = wide(q @ keys.transpose(1, 2)) / math.sqrt(self.head_dim)
            y = scores.masked_fill(~seen, float("-inf")).softmax(-1).to(u.dtype) @ values
        return self.out(y.flatten(1))


class Layer(nn.Module):
    def __init__(self, shape, kind, forms):
        super().__init__()
        temporal = Attention(shape, forms) if kind == "attention" else Recurrent(shape, forms)
        self.temporal_norm, self.temporal, self.channel_norm = RmsNorm(shape.width), temporal, RmsNorm(shape.width)
        self.gate, self.up = nn.Linear(shape.width, shape.mlp_width), nn.Linear(shape.width, shape.mlp_width)
        self.down = nn.Linear(shape.mlp_width, shape.width)

    def mlp(self, x):
        u = self.channel_norm(x)
        return x + self.down(F.gelu(self.gate(u), approximate="tanh") * self.up(u))

    def forward(self, x):
        return self.mlp(x + self.temporal(self.temporal_norm(x)))

    def step(self, x, state, position):
        return self.mlp(x + self.temporal.step(self.temporal_norm(x), state, position))


class Griffin(nn.Module):
    def __init__(self, shape, forms=Forms()):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) / math.sqrt(shape.width))
        self.layers = nn.ModuleList(Layer(shape, shape.kind(i), forms) for i in range(shape.layers))
        self.final_norm = RmsNorm(shape.width)

    def embed(self, tokens):
        return F.embedding(tokens, self.embedding) * math.sqrt(self.shape.width)

    def logits(self, x):
        logits = (self.final_norm(x) @ self.embedding.t()).float()
        cap = self.shape.soft_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    def hidden(self, tokens, recompute=False):
        """The layers' result [B,T,width]; with recompute, backward computes each layer's inside again."""
        x = self.embed(tokens)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if recompute else layer(x)
        return x

    def forward(self, tokens, last_only=False):
        """tokens [B,T] -> logits [B,T,V], or of the last token alone [B,V]."""
        x = self.hidden(tokens)
        return self.logits(x[:, -1] if last_only else x)

    def loss(self, tokens, targets, recompute=False, piece=2048):
        """Mean cross-entropy; the logits exist for `piece` tokens at a time and are computed again in backward."""
        x, targets = self.hidden(tokens, recompute).flatten(0, 1), targets.flatten()
        part = lambda x, targets: F.cross_entropy(self.logits(x), targets, reduction="sum")
        return sum(checkpoint(part, *pair, use_reentrant=False) for pair in zip(x.split(piece), targets.split(piece))) / targets.numel()

    def states(self, batch, context):
        return [layer.temporal.state(batch, context) for layer in self.layers]

    def step(self, tokens, states, position):
        """One token a sequence [B] at position [1] -> logits [B,V]; the states change in place."""
        x = self.embed(tokens)
        for layer, state in zip(self.layers, states):
            x = layer.step(x, state, position)
        return self.logits(x)
