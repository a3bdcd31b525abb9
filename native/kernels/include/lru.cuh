// One step of the real-gated linear recurrent unit, h_t = a_t·h_{t-1} + v_t, shared by every kernel that walks it:
//   L = decay·sigmoid(recurrence gate),  a = e^L,  v = sqrt(1 - e^2L)·sigmoid(input gate)·z,
// with decay = -8·softplus(lambda), constant in time. A token that starts a document has no past and no multiplier: v = gate·z.
#pragma once
#include "include/approx.cuh"

// The reference's limit of the root's derivative: 1/(2m) at most 1000.
constexpr f32 MOST_INVERSE_M = 2000.0f;

struct LruTerms { f32 a; f32 v; };

GK_DEVICE f32 lru_decay(f32 lambda) { return -8.0f * softplus(lambda); }

GK_DEVICE LruTerms lru_terms(f32 z, f32 input_gate, f32 recurrence_gate, f32 decay, bool starts) {
    const f32 gated = sigmoid(input_gate) * z;
    if (starts) return {0.0f, gated};
    const f32 log_a = decay * sigmoid(recurrence_gate);
    // expm1 keeps every digit of 1 - a² where a is close to 1; 1 - a·a would lose them all.
    return {expf(log_a), sqrtf(-expm1f(2.0f * log_a)) * gated};
}

struct LruDecay { f32 a; f32 m; };

// a = 2^log2_a and sqrt(1 - a²) by approximate functions. Where a is close to 1, what it lacks is a polynomial of -log2_a (relative error below 2^-23), which
// keeps every digit of 1 - a². With r units of error in log2_a: a is off by r·|L| + 5 units, the root by r/2 + 7.
GK_DEVICE LruDecay approx_lru_decay(f32 log2_a) {
    const f32 t = -log2_a, lacking = t * fmaf(t, fmaf(t, fmaf(t, fmaf(t, 0.00115544f, -0.00954227522f), 0.055490721f), -0.240225673f), 0.693147182f);
    const f32 power = approx_exp2(log2_a);
    const bool close = t < 0.5f;
    const f32 a = close ? 1.0f - lacking : power;
    return {a, approx_sqrt(close ? lacking * (2.0f - lacking) : fmaf(-power, power, 1.0f))};
}

// lru_terms by approximate functions, with decay in powers of two: LOG2_E·lru_decay.
GK_DEVICE LruTerms approx_lru_terms(f32 z, f32 input_gate, f32 recurrence_gate, f32 log2_decay, bool starts) {
    const f32 gated = approx_sigmoid(input_gate) * z;
    const LruDecay decay = approx_lru_decay(log2_decay * approx_sigmoid(recurrence_gate));
    return {starts ? 0.0f : decay.a, starts ? gated : decay.m * gated};
}

// A start replaces the past instead of multiplying it by zero: a stale state may hold anything, NaN included.
GK_DEVICE f32 lru_advance(f32 h, const LruTerms& terms, bool starts) { return starts ? terms.v : fmaf(terms.a, h, terms.v); }
