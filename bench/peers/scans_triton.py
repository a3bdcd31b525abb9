"""The recurrence in Triton: one step at a time, and chunks by tl.associative_scan; the fused RG-LRU forward of each.

Both give a block of channels of one sequence to a program, so that the grid is (W / BLOCK, B); float32 inside.
"""
import torch
import triton
import triton.language as tl

STEP_CHANNELS, CHUNK_CHANNELS, CHUNK = 64, 32, 64


@triton.jit
def softplus(x):
    e = tl.exp(-tl.abs(x))
    return tl.maximum(x, 0.0) + tl.where(e < 0.01, e * (1.0 - e * (0.5 - e * (0.3333333333 - 0.25 * e))), tl.log(1.0 + e))


@triton.jit
def gelu(x):
    return x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


@triton.jit
def multiplier(log_a):
    x = 2.0 * log_a
    series = -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0))))
    return tl.sqrt(tl.where(x > -0.125, series, 1.0 - tl.exp(x)))


@triton.jit
def gated(z, input_gate, recurrence_gate, rate, t):
    """(a, v) of a step from its logits; position 0 resets."""
    log_a = rate * tl.sigmoid(recurrence_gate)
    a = tl.where(t == 0, 0.0, tl.exp(log_a))
    m = tl.where(t == 0, 1.0, multiplier(log_a))
    return a, m * tl.sigmoid(input_gate) * z


@triton.jit
def combine(a1, v1, a2, v2):
    return a1 * a2, a2 * v1 + v2


@triton.jit
def rg_lru_steps(z, gates, y, decay, out, T, W, BLOCK: tl.constexpr):
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, b = c < W, tl.program_id(1).to(tl.int64)
    rate = -8.0 * softplus(tl.load(decay + c, mask=inside, other=0.0).to(tl.float32))
    h = tl.zeros([BLOCK], tl.float32)
    for t in range(T):
        at, gate = (b * T + t) * W + c, (b * T + t) * 2 * W + c
        a, v = gated(tl.load(z + at, mask=inside, other=0.0).to(tl.float32), tl.load(gates + gate, mask=inside, other=0.0).to(tl.float32),
                     tl.load(gates + gate + W, mask=inside, other=0.0).to(tl.float32), rate, t)
        h = a * h + v
        branch = gelu(tl.load(y + at, mask=inside, other=0.0).to(tl.float32))
        tl.store(out + at, (h * branch).to(out.dtype.element_ty), mask=inside)


@triton.jit
def rg_lru_chunks(z, gates, y, decay, out, T, W, BLOCK: tl.constexpr, STEPS: tl.constexpr):
    c = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    b, row = tl.program_id(1).to(tl.int64), tl.arange(0, STEPS)[:, None]
    rate = -8.0 * softplus(tl.load(decay + c, mask=c < W, other=0.0).to(tl.float32))
    carry = tl.zeros([1, BLOCK], tl.float32)
    for start in range(0, T, STEPS):
        t = start + row
        inside = (t < T) & (c < W)
        at, gate = (b * T + t) * W + c, (b * T + t) * 2 * W + c
        a, v = gated(tl.load(z + at, mask=inside, other=0.0).to(tl.float32), tl.load(gates + gate, mask=inside, other=0.0).to(tl.float32),
                     tl.load(gates + gate + W, mask=inside, other=0.0).to(tl.float32), rate, t)
        decayed, local = tl.associative_scan((a, v), 0, combine)
        h = local + decayed * carry
        carry = tl.sum(tl.where(row == STEPS - 1, h, 0.0), 0)[None, :]
        branch = gelu(tl.load(y + at, mask=inside, other=0.0).to(tl.float32))
        tl.store(out + at, (h * branch).to(out.dtype.element_ty), mask=inside)


@triton.jit
def scan_steps(a, v, out, T, W, BLOCK: tl.constexpr, REVERSE: tl.constexpr):
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, b = c < W, tl.program_id(1).to(tl.int64)
    h = tl.zeros([BLOCK], tl.float32)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        at = (b * T + t) * W + c
        h = tl.load(a + at, mask=inside, other=0.0).to(tl.float32) * h + tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + at, h.to(out.dtype.element_ty), mask=inside)


@triton.jit
def scan_chunks(a, v, out, T, W, BLOCK: tl.constexpr, STEPS: tl.constexpr, REVERSE: tl.constexpr):
    c = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    b, row = tl.program_id(1).to(tl.int64), tl.arange(0, STEPS)[:, None]
    carry = tl.zeros([1, BLOCK], tl.float32)
    for start in range(0, T, STEPS):
        t = T - 1 - (start + row) if REVERSE else start + row
        inside = (t >= 0) & (t < T) & (c < W)
        at = (b * T + t) * W + c
        decay = tl.load(a + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
        decayed, local = tl.associative_scan((decay, value), 0, combine)
        h = local + decayed * carry
        carry = tl.sum(tl.where(row == STEPS - 1, h, 0.0), 0)[None, :]
        tl.store(out + at, h.to(out.dtype.element_ty), mask=inside)


def rg_lru_sequential(z, gates, y, decay):
    out, (batch, length, width) = torch.empty_like(z), z.shape
    rg_lru_steps[(triton.cdiv(width, STEP_CHANNELS), batch)](z, gates, y, decay, out, length, width, BLOCK=STEP_CHANNELS, num_warps=2)
    return out


def rg_lru_associative(z, gates, y, decay):
    out, (batch, length, width) = torch.empty_like(z), z.shape
    rg_lru_chunks[(triton.cdiv(width, CHUNK_CHANNELS), batch)](z, gates, y, decay, out, length, width, BLOCK=CHUNK_CHANNELS, STEPS=CHUNK, num_warps=4)
    return out


def scan_sequential(a, v, reverse=False):
    a, v = a.contiguous(), v.contiguous()
    out, (batch, length, width) = torch.empty_like(v), v.shape
    scan_steps[(triton.cdiv(width, STEP_CHANNELS), batch)](a, v, out, length, width, BLOCK=STEP_CHANNELS, REVERSE=reverse, num_warps=2)
    return out


def scan_associative(a, v, reverse=False):
    a, v = a.contiguous(), v.contiguous()
    out, (batch, length, width) = torch.empty_like(v), v.shape
    scan_chunks[(triton.cdiv(width, CHUNK_CHANNELS), batch)](a, v, out, length, width, BLOCK=CHUNK_CHANNELS, STEPS=CHUNK, REVERSE=reverse, num_warps=4)
    return out
