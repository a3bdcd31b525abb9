#!/usr/bin/env python3
"""The benchmark's inputs: counter-based, so that both sides have the same bits and no file moves.

mix32 is a 32-bit finaliser; bits(seed, i, k) is draw k of element i of a tensor; a tensor's seed is its place (1, 2, ...) among the
inputs of the op's call. uniform and normal are one float32 product of an integer, so that every machine gets the same value.

usage: inputs.py          prints the golden list (bench/inputs.golden.tsv), which the tests of both sides read
"""
import math
import struct

MASK = 0xFFFFFFFF
NORMAL_SCALE = struct.unpack("f", struct.pack("f", math.sqrt(3) / 65535))[0]
CHUNK = 1 << 24


def mix32(x):
    """Also of an int64 tensor: a product may wrap, its low 32 bits are right all the same."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def bits(seed, i, k):
    high = i >> 32
    return mix32((i & MASK) ^ mix32((high + 0x9E3779B9 * k + seed * 0x85EBCA6B) & MASK))


def sum_of_four(seed, i):
    first, second = bits(seed, i, 0), bits(seed, i, 1)
    return (first & 0xFFFF) + (first >> 16) + (second & 0xFFFF) + (second >> 16) - 131070


def _fill(count, device, value):
    """A float32 vector whose elements [at, at+n) are value(int64 indices), a piece at a time: the integers take much memory."""
    import torch

    out = torch.empty(count, dtype=torch.float32, device=device)
    for at in range(0, count, CHUNK):
        index = torch.arange(at, min(at + CHUNK, count), dtype=torch.int64, device=device)
        out[at : at + index.numel()] = value(index)
    return out


def uniform(seed, shape, device="cpu"):
    """float32 in [0, 1)."""
    return _fill(math.prod(shape), device, lambda i: (bits(seed, i, 0) >> 8).float() * 2.0**-24).view(shape)


def normal(seed, shape, device="cpu", scale=1.0):
    """float32, mean 0, variance scale squared: a second float32 product where scale is not 1."""

    def value(i):
        drawn = sum_of_four(seed, i).float() * NORMAL_SCALE
        return drawn if scale == 1.0 else drawn * struct.unpack("f", struct.pack("f", scale))[0]

    return _fill(math.prod(shape), device, value).view(shape)


def decay(seed, width, device="cpu"):
    """Lambda [width]: uniform between about -8.99 and -4.32, where the decay at an open gate, exp(-8 softplus(Lambda)), is 0.999 to 0.9."""
    return uniform(seed, (width,), device) * 4.6637 + -8.9867


def tokens(seed, shape, vocabulary, device="cpu"):
    """int64 token ids: the first draw modulo the vocabulary."""
    import torch

    count = math.prod(shape)
    index = torch.arange(count, dtype=torch.int64, device=device)
    return (bits(seed, index, 0) % vocabulary).view(shape)


def golden():
    """Lines: seed, index, the two draws, and the bit patterns of uniform, normal and normal/16 as float32 (hexadecimal)."""
    def pattern(x):
        return f"{struct.unpack('I', struct.pack('f', x))[0]:08x}"

    def rounded(x):
        return struct.unpack("f", struct.pack("f", x))[0]

    yield "seed\tindex\tbits0\tbits1\tuniform\tnormal\tnormal/16"
    for seed in (1, 2, 3, 7):
        for index in (0, 1, 2, 31, 65535, 65536, 20971519, 4294967295, 4294967296, 10000000019):
            drawn = rounded(sum_of_four(seed, index) * NORMAL_SCALE)
            columns = [pattern((bits(seed, index, 0) >> 8) * 2.0**-24), pattern(drawn), pattern(drawn / 16)]
            yield "\t".join([str(seed), str(index), f"{bits(seed, index, 0):08x}", f"{bits(seed, index, 1):08x}", *columns])


if __name__ == "__main__":
    print("\n".join(golden()))
