// The window of the causal depthwise convolution, shared by its kernels: where the input k tokens back lies.
// The input is z = round(x + input_bias), raw; a state keeps the last taps-1 of them, oldest first, as T [taps-1, width].
#pragma once
#include "include/rows.cuh"
#include "include/vec.cuh"

// z at VEC channels from x as it was loaded. A kernel that loads several tokens at once does so before it looks at any.
template <typename T, int VEC>
GK_DEVICE void conv_input(const Vec<T, VEC>& x, bool biased, const f32 (&bias)[VEC], f32 (&z)[VEC]) {
    widen(x, 0, z);
    if (!biased) return;
    #pragma unroll
    for (int i = 0; i < VEC; ++i) z[i] = round_to<T>(z[i] + bias[i]);
}

// z at VEC channels of one token.
template <typename T, int VEC>
GK_DEVICE void conv_input(const T* x, const T* input_bias, f32 (&z)[VEC]) {
    load_floats<VEC>(x, z);
    if (input_bias == nullptr) return;
    f32 b[VEC];
    load_floats<VEC>(input_bias, b);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) z[i] = round_to<T>(z[i] + b[i]);
}

// The taps of VEC channels from weight [width, TAPS], w[k]: the one that looks k tokens back.
template <typename T, int VEC, int TAPS>
GK_DEVICE void load_taps(const T* weight, f32 (&w)[TAPS][VEC]) {
    f32 flat[VEC * TAPS];
    #pragma unroll
    for (int part = 0; part < TAPS; ++part) {
        f32 piece[VEC];
        load_floats<VEC>(weight + part * VEC, piece);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) flat[part * VEC + i] = piece[i];
    }
    #pragma unroll
    for (int k = 0; k < TAPS; ++k) {
        #pragma unroll
        for (int i = 0; i < VEC; ++i) w[k][i] = flat[i * TAPS + TAPS - 1 - k];
    }
}

// z at VEC channels from the state: `back` tokens before the first token of the call, back in 1 … taps-1.
template <typename T, int VEC>
GK_DEVICE void conv_history(const u8* state, i32 taps, i32 back, i32 width, i32 c, f32 (&z)[VEC]) {
    load_floats<VEC>(reinterpret_cast<const T*>(state) + static_cast<i64>(taps - 1 - back) * width + c, z);
}

// One token at VEC channels: `sum`, the bias at first, takes its taps' terms in conv1d's order, newest first, and the state drops its oldest input
// and takes z. Each input moves one place towards the oldest as it is passed; those out of reach count as zero and are stored as zero.
template <typename T, int VEC>
GK_DEVICE void conv_advance(const T* weight, u8* state, i32 taps, i32 reach, i32 width, i32 c, f32 (&z)[VEC], f32 (&sum)[VEC]) {
    for (i32 k = 0; k < taps; ++k) {
        #pragma unroll
        for (int i = 0; i < VEC; ++i)
            if (k <= reach) sum[i] = fmaf(to_float(weight[i * taps + taps - 1 - k]), z[i], sum[i]);
        if (k == taps - 1) break;
        f32 next[VEC] = {};
        if (k + 1 <= reach) conv_history<T, VEC>(state, taps, k + 1, width, c, next);
        store_floats<VEC>(reinterpret_cast<T*>(state) + static_cast<i64>(taps - 2 - k) * width + c, z);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) z[i] = next[i];
    }
}
