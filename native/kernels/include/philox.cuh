// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011): a block of 128 random bits as a
// function of a 128-bit counter and a 64-bit key, with no state to keep.
#pragma once
#include "include/base.cuh"

struct RandomBlock { u32 v[4]; };

GK_DEVICE RandomBlock philox(RandomBlock counter, u64 key) {
    u32 k0 = static_cast<u32>(key), k1 = static_cast<u32>(key >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 a = static_cast<u64>(0xD2511F53u) * counter.v[0];
        const u64 b = static_cast<u64>(0xCD9E8D57u) * counter.v[2];
        counter = {{static_cast<u32>(b >> 32) ^ counter.v[1] ^ k0, static_cast<u32>(b), static_cast<u32>(a >> 32) ^ counter.v[3] ^ k1, static_cast<u32>(a)}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return counter;
}

// The upper 64 bits of a product: x * y / 2^64, which maps a uniform x to a uniform number below y.
GK_DEVICE u64 multiply_high(u64 x, u64 y) {
    const u64 x0 = static_cast<u32>(x), x1 = x >> 32, y0 = static_cast<u32>(y), y1 = y >> 32;
    const u64 middle = x1 * y0 + (x0 * y0 >> 32);
    const u64 low = x0 * y1 + static_cast<u32>(middle);
    return x1 * y1 + (middle >> 32) + (low >> 32);
}
