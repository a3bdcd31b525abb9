// One step of the real-gated linear recurrent unit, h_t = a_t·h_{t-1} + v_t, shared by every kernel that walks it:
//   L = decay·sigmoid(recurrence gate),  a = e^L,  v = sqrt(1 - e^2L)·sigmoid(input gate)·z,
// with decay = -8·softplus(lambda), constant in time. A token that starts a document has no past and no multiplier: v = gate·z.
#pragma once
#include "include/math.cuh"

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

// A start replaces the past instead of multiplying it by zero: a stale state may hold anything, NaN included.
GK_DEVICE f32 lru_advance(f32 h, const LruTerms& terms, bool starts) { return starts ? terms.v : fmaf(terms.a, h, terms.v); }
