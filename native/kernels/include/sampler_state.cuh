// What the kernels that choose tokens share: a row's settings, the order of its logits, and the rule of the choice.
#pragma once
#include "include/gumbel.cuh"
#include "include/math.cuh"
#include "include/rows.cuh"

// At the start of a sampler slot; counts i32 [vocabulary] of the tokens that its document has seen follow.
struct SamplerState {
    u64 seed;
    f32 temperature;
    f32 top_p;
    f32 min_p;
    f32 repetition_penalty;
    i32 top_k;
    i32 reserved;
};

GK_DEVICE const SamplerState& sampler_state(const SlotMemory& states, i32 slot) { return *reinterpret_cast<const SamplerState*>(slot_address(states, slot)); }

GK_DEVICE i32* sampler_counts(const SlotMemory& states, i32 slot) {
    return reinterpret_cast<i32*>(slot_address(states, slot) + sizeof(SamplerState));
}

// Orders like the float; a NaN has been taken out and a zero has one sign.
GK_DEVICE u32 order_key(f32 x) {
    const u32 bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

GK_DEVICE f32 order_value(u32 key) { return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key); }

// A token's logit as it is compared: lowered by the penalty if the token has occurred.
GK_DEVICE f32 sampler_logit(f32 logit, const i32* counts, i32 token, f32 penalty) {
    f32 x = logit;
    if (penalty != 1.0f && counts[token] > 0) x = x > 0.0f ? x / penalty : x * penalty;
    return x != x ? minus_infinity() : x + 0.0f;
}

// Largest for the highest key, and of equal keys for the lowest token. Above 0 for every token.
GK_DEVICE u64 order_of(u32 key, i32 token) { return static_cast<u64>(key) << 32 | static_cast<u32>(~token); }
GK_DEVICE i32 token_of(u64 order) { return static_cast<i32>(~static_cast<u32>(order)); }

// The rule: the row's choice is the token of the largest order. At a temperature a Gumbel number decides with the logit.
GK_DEVICE u64 choice_order(f32 x, i32 token, const SamplerState& state, i32 position) {
    if (state.temperature > 0.0f)
        x = fmaf(state.temperature, gumbel(state.seed, static_cast<u32>(position) + 1u, static_cast<u32>(token)), x);
    return order_of(order_key(x), token);
}
