// Gumbel numbers, for draws by a maximum (Gumbel-max): the token where x_v / temperature + g_v, or x_v + temperature · g_v, is largest is v with
// probability exp(x_v / temperature) / sum.
//
//   g = -ln(-ln(1 - u)), u = (r + 1/2) / 2^64, r the lower half of Philox 4x32-10 of counter (index, token, 0, 0) and key seed
//
// Both tails are as fine as 64 bits: the smaller of u and 1 - u goes through the logarithm, so numbers reach from -3.8 to 45.05.
// Error  of g: at most (5 + 2 |g|) · 2^-24
#pragma once
#include "include/base.cuh"
#include "include/philox.cuh"

GK_DEVICE f32 gumbel(u64 seed, u32 index, u32 token) {
    const RandomBlock random = philox({{index, token, 0u, 0u}}, seed);
    const u64 r = static_cast<u64>(random.v[1]) << 32 | random.v[0];
    const bool upper = r >> 63 != 0;
    const f32 nearer = (static_cast<f32>(upper ? ~r : r) + 0.5f) * 0x1p-64f;   // u or 1 - u, at most 1/2
    return -logf(upper ? -logf(nearer) : -log1pf(-nearer));
}
