// Approximate functions: one instruction of the special-function unit each, and what is made of them. For kernels that would otherwise spend their
// time on the last digit of every exponential. Results below the normal numbers become 0.
//
// Relative error, in units of f32 rounding (2^-24): approx_exp2 5, approx_reciprocal 3, approx_sqrt 2. The PTX manual has 2 and 1 units in the last place
// for the first two, but from the correctly rounded result, which is up to a unit off itself. The emulator's twins are off from the rounded result by all
// that the manual allows, up or down as the bits fall, and round once more, so that a bound which holds there counts on no luck.
// approx_sigmoid: 8 + 2·|x| units, approx_gelu_tanh: of the sigmoid's argument 8·|u| more, as in math.cuh.
//
// Unproved: the PTX forms compile, but have not run on a GPU so far; tests ran their twins.
#pragma once
#include "include/math.cuh"

#if defined(GRIFFIN_EMULATOR)
GK_DEVICE f32 approx_of(f32 exact, f32 units) {
    const f32 error = units / 16777216.0f;
    const f32 off = exact * ((__float_as_uint(exact) * 0x9E3779B1u) >> 31 ? 1.0f + error : 1.0f - error);
    return fabsf(off) < 1.17549435e-38f ? 0.0f : off;
}
GK_DEVICE f32 approx_exp2(f32 x) { return approx_of(exp2f(x), 4.0f); }
GK_DEVICE f32 approx_reciprocal(f32 x) { return approx_of(1.0f / x, 2.0f); }
GK_DEVICE f32 approx_sqrt(f32 x) { return approx_of(sqrtf(x < 1.17549435e-38f ? 0.0f * x : x), 2.0f); }
#else
GK_DEVICE f32 approx_exp2(f32 x) {
    f32 y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
GK_DEVICE f32 approx_reciprocal(f32 x) {
    f32 y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
GK_DEVICE f32 approx_sqrt(f32 x) {
    f32 y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

constexpr f32 LOG2_E = 1.4426950408889634f;

GK_DEVICE f32 approx_sigmoid(f32 x) { return approx_reciprocal(1.0f + approx_exp2(-LOG2_E * x)); }

// -2u·log2 e of the GELU, from |x| for the side that cannot overflow.
GK_DEVICE f32 gelu_exponent(f32 x, f32 square) { return x * fmaf(-0.10294324f, square, -2.3022082f); }

GK_DEVICE f32 approx_gelu_tanh(f32 x) { return x * approx_reciprocal(1.0f + approx_exp2(gelu_exponent(x, x * x))); }

// The sigmoid of a number with the sign of x, from 2^-|that number · log2 e|.
GK_DEVICE ValueAndSlope approx_sigmoid_of_power(f32 x, f32 power) {
    const f32 larger = approx_reciprocal(1.0f + power);
    return sigmoid_of_parts(x, larger, power * larger);
}

GK_DEVICE ValueAndSlope approx_sigmoid_with_slope(f32 x) { return approx_sigmoid_of_power(x, approx_exp2(-LOG2_E * fabsf(x))); }

// As gelu_of_sigmoid, which says why; one square serves the argument and its derivative.
GK_DEVICE ValueAndSlope approx_gelu_tanh_with_slope(f32 x) {
    const f32 square = x * x;
    const ValueAndSlope s = approx_sigmoid_of_power(x, approx_exp2(gelu_exponent(fabsf(x), square)));
    return {x * s.value, fmaf(x * s.slope, fmaf(0.21406445f, fminf(square, 4096.0f), 1.5957691f), s.value)};
}
