// Scalar functions of the model in f32, in forms that lose nothing to cancellation or overflow.
// Relative error of each, over the whole range where the result is a normal number: at most 8 units of f32 rounding (2^-24),
// plus what the argument's own rounding carries through (|x| units for the exponential forms).
#pragma once
#include "include/base.cuh"

// 1 / (1 + e^-x). Tends to 0 by underflow and to 1 without overflow.
GK_DEVICE f32 sigmoid(f32 x) { return 1.0f / (1.0f + expf(-x)); }

// tanh-form GELU, 0.5·x·(1 + tanh u) with u = sqrt(2/pi)·(x + 0.044715·x^3), written as x·sigmoid(2u):
// the same function, without the cancellation of 1 + tanh u in the negative tail.
GK_DEVICE f32 gelu_tanh(f32 x) {
    const f32 u2 = 1.5957691216057308f * fmaf(0.044715f * x, x * x, x);   // 2·sqrt(2/pi)·(…)
    return x * sigmoid(u2);
}

// ln(1 + e^x) without overflow.
GK_DEVICE f32 softplus(f32 x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }
