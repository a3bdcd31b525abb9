// The rotation of partial RoPE. A frequency is a fixed-point fraction of a turn per position, round(frac(inv_freq / 2pi) * 2^64):
// position * phase modulo 2^64 is then the angle in turns, exact to 2^-33 turns for every position that an i32 can hold.
#pragma once
#include "include/base.cuh"

struct Rotation { f32 cosine; f32 sine; };

GK_DEVICE Rotation rotation_at(u64 phase, i32 position) {
    const i64 turn = static_cast<i64>(phase * static_cast<u64>(position));   // [-1/2, 1/2) of a turn, scaled by 2^64
    Rotation rotation;
    sincospif(static_cast<f32>(turn) * 0x1p-63f, &rotation.sine, &rotation.cosine);
    return rotation;
}

// (a, b) -> (a cos - b sin, b cos + a sin), two roundings in each.
GK_DEVICE void rotate_pair(const Rotation& r, f32& a, f32& b) {
    const f32 x = fmaf(a, r.cosine, -(b * r.sine));
    b = fmaf(b, r.cosine, a * r.sine);
    a = x;
}
