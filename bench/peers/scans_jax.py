"""The recurrence in JAX, as the paper's own code runs it on a GPU: lax.associative_scan, and lax.scan unrolled 128 times.

Run by run.py in a process of its own: JAX takes memory for itself.
"""
import math
import os
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

import timing
from cases import LIMIT, NotMeasured
from inputs import NORMAL_SCALE

TYPES = {"bf16": jnp.bfloat16, "f32": jnp.float32}
CHECKED, UNROLL, GRADIENT_SEED = 16, 128, 6


def mix32(x):
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def bits(seed, shape, k):
    """Draw k of a tensor's elements; it has fewer than 2^32 of them."""
    word = (0x9E3779B9 * k + seed * 0x85EBCA6B) & 0xFFFFFFFF
    return mix32(jax.lax.iota(jnp.uint32, math.prod(shape)) ^ mix32(jnp.uint32(word))).reshape(shape)


def normal(seed, shape, dtype):
    first, second = bits(seed, shape, 0), bits(seed, shape, 1)
    total = (first & 0xFFFF) + (first >> 16) + (second & 0xFFFF) + (second >> 16)
    return ((total.astype(jnp.int32) - 131070).astype(jnp.float32) * jnp.float32(NORMAL_SCALE)).astype(dtype)


def uniform(seed, shape):
    return (bits(seed, shape, 0) >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def decay(seed, width, dtype):
    return (uniform(seed, (width,)) * jnp.float32(4.6637) + jnp.float32(-8.9867)).astype(dtype)


def associative(a, v):
    def combine(earlier, later):
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(combine, (a, v), axis=1)[1]


def stepwise(a, v):
    def step(h, now):
        h = now[0] * h + now[1]
        return h, h

    _, h = jax.lax.scan(step, jnp.zeros_like(a[:, 0]), (a.swapaxes(0, 1), v.swapaxes(0, 1)), unroll=min(UNROLL, a.shape[1]))
    return h.swapaxes(0, 1)


SCANS = {"jax-associative": associative, "jax-scan": stepwise}


def rg_lru(z, gates, y, decay, scan):
    wide = lambda x: x.astype(jnp.float32)
    log_a = -8 * jax.nn.softplus(wide(decay)) * jax.nn.sigmoid(wide(gates[:, :, 1]))
    first = (jnp.arange(z.shape[1]) == 0)[:, None]
    m = jnp.where(first, 1.0, jnp.sqrt(-jnp.expm1(2 * log_a)))
    h = scan(jnp.where(first, 0.0, jnp.exp(log_a)), m * jax.nn.sigmoid(wide(gates[:, :, 0])) * wide(z))
    return (h * jax.nn.gelu(wide(y), approximate=True)).astype(z.dtype)


def exact_rg_lru(z, gates, y, decay):
    """Loops in float64, on numpy arrays."""
    z, gates, y, decay = (np.asarray(t, np.float64) for t in (z, gates, y, decay))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    log_a = -8 * np.log1p(np.exp(decay)) * sigmoid(gates[:, :, 1])
    a, m, gated = np.exp(log_a), np.sqrt(-np.expm1(2 * log_a)), sigmoid(gates[:, :, 0]) * z
    h, out = gated[:, 0], np.empty_like(z)
    for t in range(z.shape[1]):
        h = gated[:, 0] if t == 0 else a[:, t] * h + m[:, t] * gated[:, t]
        out[:, t] = h * 0.5 * y[:, t] * (1 + np.tanh(math.sqrt(2 / math.pi) * (y[:, t] + 0.044715 * y[:, t] ** 3)))
    return out


def exact_scan(a, x):
    a, x = (np.asarray(t, np.float64) for t in (a, x))
    out, h = np.empty_like(x), np.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        h = out[:, t] = a[:, t] * h + x[:, t]
    return out


def build(row, peer):
    """(function, inputs, exact result of the first channels)."""
    s, dtype, scan = row["shape"], TYPES[row["type"]], SCANS[peer]
    shape = (s["batch"], s["tokens"], s["width"])
    if row["op"] == "linear_scan":
        inputs = [(0.9 + 0.099 * uniform(1, shape)).astype(dtype), normal(2, shape, dtype)]
        function = lambda a, x: scan(a.astype(jnp.float32), x.astype(jnp.float32)).astype(x.dtype)
        return function, inputs, lambda: exact_scan(*(t[..., :CHECKED] for t in inputs))
    inputs = [normal(1, shape, dtype), normal(2, (*shape[:2], 2, shape[2]), dtype), normal(3, shape, dtype), decay(4, shape[2], dtype)]
    return lambda *x: rg_lru(*x, scan), inputs, lambda: exact_rg_lru(*(t[..., :CHECKED] for t in inputs))


def run(row, peer, longest):
    """(timing, variant, relative L2) of a row."""
    if row["op"] not in ("rg_lru", "linear_scan") or row["pass"] == "step":
        raise NotMeasured("JAX is timed on the scans only")
    function, inputs, exact = build(row, peer)
    found = np.asarray(jax.jit(function)(*inputs)[..., :CHECKED], np.float64)
    expected = exact()
    relative = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    if not relative <= LIMIT[row["type"]]:
        raise NotMeasured(f"wrong result: relative L2 {relative:.2e} is over {LIMIT[row['type']]:.0e}")
    if row["pass"] == "forward":
        call = jax.jit(function)
    else:  # the residuals are values of the compiled backward, as they are after a forward
        gradient = normal(GRADIENT_SEED, inputs[0].shape, inputs[0].dtype)
        _, pullback = jax.vjp(jax.jit(function), *inputs)
        call = lambda *x: backward(pullback, gradient)
        backward = jax.jit(lambda pull, g: pull(g))
    return timed(call, inputs, longest), f"{jax.devices()[0].platform}, unroll {UNROLL}" if peer == "jax-scan" else jax.devices()[0].platform, relative


def timed(call, inputs, longest):
    """Host clock around block_until_ready; calls so short that the host would show are queued several at a time."""
    jax.block_until_ready(call(*inputs))
    start = time.perf_counter()
    jax.block_until_ready(call(*inputs))
    count = max(1, min(50, int(0.005 / max(1e-6, time.perf_counter() - start))))

    def sample():
        start = time.perf_counter()
        for _ in range(count):
            last = call(*inputs)
        jax.block_until_ready(last)
        return (time.perf_counter() - start) * 1e6 / count

    timing.settle(sample, longest / 2)
    before = timing.clock_and_power()
    samples = timing.collect(sample, longest)
    return timing.summary(samples, "host", before, timing.clock_and_power())
