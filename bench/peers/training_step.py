#!/usr/bin/env python3
"""One training step of a small Griffin in eager PyTorch, for comparison with ours.

The shape is models/austen-tiny's: 6 layers (recurrent, recurrent, attention), width 192, 3 heads of 64, window 128, vocabulary 384.
A step is forward, cross-entropy, backward and torch's AdamW over 16 rows of 256 tokens; the scan doubles its span log2(256) times.
Prints one JSON line a storage type: the shortest of some steps, after one that is not counted.

usage: training_step.py [--threads 2] [--steps 5] [--rows 16] [--length 256] [--types float32,bfloat16]
"""
import argparse
import json
import math
import platform
import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, HEAD_DIM, MLP, WINDOW, VOCABULARY, TAPS, LAYERS, CAP = 192, 3, 64, 576, 128, 384, 4, 6, 30.0


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.scale.float())
        return y.to(x.dtype)


class BlockDiagonal(nn.Module):
    def __init__(self):
        super().__init__()
        block = WIDTH // HEADS
        self.weight = nn.Parameter(torch.randn(HEADS, block, block) / math.sqrt(block))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        rows, length, _ = x.shape
        y = torch.einsum("bthi,hij->bthj", x.view(rows, length, HEADS, -1), self.weight)
        return y.reshape(rows, length, WIDTH) + self.bias


def doubling_scan(a, v):
    """h_t = a_t h_{t-1} + v_t along dimension 1: after round k every h_t has taken in the 2^k tokens up to it."""
    distance = 1
    while distance < a.shape[1]:
        v = torch.cat([v[:, :distance], v[:, distance:] + a[:, distance:] * v[:, :-distance]], 1)
        a = torch.cat([a[:, :distance], a[:, distance:] * a[:, :-distance]], 1)
        distance *= 2
    return v


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.y, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.conv = nn.Conv1d(WIDTH, WIDTH, TAPS, groups=WIDTH, padding=TAPS - 1)
        self.input_gate, self.recurrence_gate = BlockDiagonal(), BlockDiagonal()
        self.decay = nn.Parameter(torch.empty(WIDTH).uniform_(-6.9, -2.2))

    def forward(self, u):
        branch = F.gelu(self.y(u), approximate="tanh")
        z = self.conv(self.x(u).transpose(1, 2))[..., : u.shape[1]].transpose(1, 2)
        i, r = torch.sigmoid(self.input_gate(z).float()), torch.sigmoid(self.recurrence_gate(z).float())
        log_a = -8 * r * F.softplus(self.decay.float())
        gated = i * z.float()
        multiplier = torch.sqrt(-torch.expm1(2 * log_a))
        v = torch.cat([gated[:, :1], multiplier[:, 1:] * gated[:, 1:]], 1)
        h = doubling_scan(torch.exp(log_a), v)
        return self.out(h.to(u.dtype) * branch)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(WIDTH, HEADS * HEAD_DIM, bias=False)
        self.k, self.v = (nn.Linear(WIDTH, HEAD_DIM, bias=False) for _ in range(2))
        self.out = nn.Linear(HEADS * HEAD_DIM, WIDTH)

    def rotate(self, x, cos, sin):
        half = HEAD_DIM // 4
        first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)

    def forward(self, u):
        rows, length, _ = u.shape
        rotated = HEAD_DIM // 2
        position = torch.arange(length)
        angle = position[:, None] * 10000.0 ** (-torch.arange(rotated // 2) * 2 / rotated)
        cos, sin = angle.cos().to(u.dtype), angle.sin().to(u.dtype)
        q = self.rotate(self.q(u).view(rows, length, HEADS, HEAD_DIM).transpose(1, 2), cos, sin)
        k = self.rotate(self.k(u)[:, None], cos, sin)
        v = self.v(u)[:, None]
        scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(HEAD_DIM)
        distance = position[:, None] - position[None]
        scores = scores.masked_fill((distance < 0) | (distance > WINDOW), float("-inf"))
        attended = scores.softmax(-1).to(u.dtype) @ v
        return self.out(attended.transpose(1, 2).reshape(rows, length, -1))


class Layer(nn.Module):
    def __init__(self, temporal):
        super().__init__()
        self.temporal_norm, self.temporal, self.channel_norm = RmsNorm(), temporal, RmsNorm()
        self.gate, self.up, self.down = nn.Linear(WIDTH, MLP), nn.Linear(WIDTH, MLP), nn.Linear(MLP, WIDTH)

    def forward(self, x):
        x = x + self.temporal(self.temporal_norm(x))
        u = self.channel_norm(x)
        return x + self.down(F.gelu(self.gate(u), approximate="tanh") * self.up(u))


class Griffin(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(VOCABULARY, WIDTH) / math.sqrt(WIDTH))
        self.layers = nn.ModuleList(Layer(Attention() if i % 3 == 2 else Recurrent()) for i in range(LAYERS))
        self.final_norm = RmsNorm()

    def forward(self, tokens):
        x = self.embedding[tokens] * math.sqrt(WIDTH)
        for layer in self.layers:
            x = layer(x)
        logits = (self.final_norm(x) @ self.embedding.t()).float()
        return CAP * torch.tanh(logits / CAP)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--types", default="float32,bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.types.split(","):
        torch.manual_seed(1)
        model = Griffin().to(getattr(torch, name))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        tokens = torch.randint(3, 259, (options.rows, options.length + 1))
        seconds, loss = [], None
        for _ in range(options.steps + 1):
            start = time.perf_counter()
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({
            "row": "training_step", "peer": "pytorch-eager", "version": torch.__version__, "device": platform.processor() or platform.machine(), "threads": options.threads,
            "type": name, "rows": options.rows, "length": options.length, "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(min(seconds[1:]), 4), "loss": round(loss.item(), 4)}), flush=True)


if __name__ == "__main__":
    main()
