// Scalar functions of the model in f32, in forms that lose nothing to cancellation or overflow.
// Relative error of each, over the whole range where the result is a normal number: at most 8 units of f32 rounding (2^-24),
// plus what the argument's own rounding carries through (|x| units for the exponential forms).
#pragma once
#include "include/base.cuh"

GK_DEVICE f32 minus_infinity() { return __int_as_float(static_cast<i32>(0xFF800000u)); }

// 1 / (1 + e^-x). Tends to 0 by underflow and to 1 without overflow.
GK_DEVICE f32 sigmoid(f32 x) { return 1.0f / (1.0f + expf(-x)); }

// tanh-form GELU, 0.5·x·(1 + tanh u) with u = sqrt(2/pi)·(x + 0.044715·x^3), written as x·sigmoid(2u):
// the same function, without the cancellation of 1 + tanh u in the negative tail.
GK_DEVICE f32 gelu_argument(f32 x) { return 1.5957691216057308f * fmaf(0.044715f * x, x * x, x); }   // 2u
GK_DEVICE f32 gelu_tanh(f32 x) { return x * sigmoid(gelu_argument(x)); }

struct ValueAndSlope { f32 value; f32 slope; };

// sigmoid s and its derivative s·(1 - s). Both s and 1 - s come from e^-|x|, which cannot overflow, and neither by cancellation.
GK_DEVICE ValueAndSlope sigmoid_of_parts(f32 x, f32 larger, f32 smaller) { return {x < 0.0f ? smaller : larger, larger * smaller}; }
GK_DEVICE ValueAndSlope sigmoid_with_slope(f32 x) {
    const f32 e = expf(-fabsf(x)), larger = 1.0f / (1.0f + e);
    return sigmoid_of_parts(x, larger, e * larger);
}

// gelu_tanh and its derivative s + x·s·(1 - s)·v', s = sigmoid(v), v = 2u.
// The slope is a sum: its error is 16 units of max(|s|, |x·s·(1 - s)·v'|), with |v| units for the exponential.
GK_DEVICE ValueAndSlope gelu_of_sigmoid(f32 x, const ValueAndSlope& s) {
    const f32 tail = x * s.slope;                   // 0 from |x| = 16 on
    const f32 near = fminf(fabsf(x), 64.0f);        // its square must not become the infinity in 0·infinity
    return {x * s.value, fmaf(tail, 1.5957691216057308f * fmaf(0.134145f * near, near, 1.0f), s.value)};
}
GK_DEVICE ValueAndSlope gelu_tanh_with_slope(f32 x) { return gelu_of_sigmoid(x, sigmoid_with_slope(gelu_argument(x))); }

// ln(1 + e^x) without overflow.
GK_DEVICE f32 softplus(f32 x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

// cap · tanh(x / cap), which keeps logits within ±cap; a cap of 0 leaves them alone.
GK_DEVICE f32 soft_capped(f32 x, f32 cap) { return cap > 0.0f ? cap * tanhf(x / cap) : x; }
