// RMSNorm: y = round(x · (1 + scale) / sqrt(mean(x²) + eps)), the mean over a row
// With RESIDUAL first sum = round(x + (delta + bias)), stored, and y is the norm of that rounded sum.
//
// Source       Zhang and Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467, with the scale stored around 0 as RecurrentGemma does.
// Shapes       x, y, delta, sum T [rows, width]; scale, bias T [width] (bias may be null); inner strides 1.
// Launch       grid (rows), block (THREADS).
//              rms_norm keeps the row in registers: ITEMS·THREADS·VEC >= width; VEC > 1 needs width, strides and addresses in
//              multiples of VEC elements. rms_norm_wide takes any width and reads the row again for its second pass.
// Aliasing     y may be exactly x where RESIDUAL is false, and exactly delta where it is true; sum may be exactly x.
// Determinism  the sum has a fixed order that depends on THREADS, VEC and width alone: equal bits at any row count.
// Error        f32 throughout, one rounding of y: one ulp of T plus (width / max(THREADS, VEC) + 16) · 2^-24 of |y|; sum is rounded once.
// Traffic      2·rows·width·sizeof(T), with RESIDUAL 4·rows·width·sizeof(T); scale and bias once per row.
//              rms_norm_wide requests x, with RESIDUAL the sum, once more.
#include "include/block.cuh"
#include "include/vec.cuh"

struct RmsNormParams {
    const void* x;
    const void* delta;
    const void* bias;
    const void* scale;
    void* sum;
    void* y;
    i64 x_stride;
    i64 delta_stride;
    i64 sum_stride;
    i64 y_stride;
    i32 width;
    f32 eps;
};

// Row pointers of one block, and what both kernels do to VEC elements at column c.
template <typename T, int VEC, bool RESIDUAL>
struct NormRow {
    const T* x;
    const T* delta;
    const T* bias;
    const T* scale;
    T* sum;
    T* y;

    GK_DEVICE NormRow(const RmsNormParams& p, i64 row)
        : x(static_cast<const T*>(p.x) + row * p.x_stride), delta(static_cast<const T*>(p.delta) + row * p.delta_stride),
          bias(static_cast<const T*>(p.bias)), scale(static_cast<const T*>(p.scale)),
          sum(static_cast<T*>(p.sum) + row * p.sum_stride), y(static_cast<T*>(p.y) + row * p.y_stride) {}

    // The row's elements, the residual added, rounded and stored.
    GK_DEVICE void take(i32 c, f32 (&v)[VEC]) const {
        load_floats<VEC>(x + c, v);
        if constexpr (RESIDUAL) {
            f32 d[VEC], b[VEC] = {};
            load_floats<VEC>(delta + c, d);
            if (bias != nullptr) load_floats<VEC>(bias + c, b);
            #pragma unroll
            for (int i = 0; i < VEC; ++i) v[i] = round_to<T>(v[i] + (d[i] + b[i]));
            store_floats<VEC>(sum + c, v);
        }
    }

    GK_DEVICE void finish(i32 c, f32 (&v)[VEC], f32 inverse) const {
        f32 g[VEC];
        load_floats<VEC>(scale + c, g);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) v[i] = v[i] * inverse * (1.0f + g[i]);
        store_floats<VEC>(y + c, v);
    }
};

template <int VEC>
GK_DEVICE f32 add_squares(f32 sum, const f32 (&v)[VEC]) {
    #pragma unroll
    for (int i = 0; i < VEC; ++i) sum = fmaf(v[i], v[i], sum);
    return sum;
}

GK_DEVICE f32 inverse_root(f32 sum, const RmsNormParams& p) { return 1.0f / sqrtf(sum / static_cast<f32>(p.width) + p.eps); }

template <typename T, int VEC, int THREADS, int ITEMS, bool RESIDUAL>
__global__ void __launch_bounds__(THREADS) rms_norm(RmsNormParams p) {
    const NormRow<T, VEC, RESIDUAL> row(p, blockIdx.x);
    f32 v[ITEMS][VEC];
    f32 sum = 0.0f;
    #pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
        if (c < p.width) {
            row.take(c, v[item]);
            sum = add_squares(sum, v[item]);
        }
    }
    const f32 inverse = inverse_root(block_sum<THREADS>(sum), p);
    #pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
        if (c < p.width) row.finish(c, v[item], inverse);
    }
}

template <typename T, int VEC, int THREADS, bool RESIDUAL>
__global__ void __launch_bounds__(THREADS) rms_norm_wide(RmsNormParams p) {
    const NormRow<T, VEC, RESIDUAL> row(p, blockIdx.x);
    f32 v[VEC], squares[VEC] = {};
    for (i32 c = threadIdx.x * VEC; c < p.width; c += THREADS * VEC) {
        row.take(c, v);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) squares[i] = fmaf(v[i], v[i], squares[i]);
    }
    f32 sum = 0.0f;
    #pragma unroll
    for (int i = 0; i < VEC; ++i) sum += squares[i];
    const f32 inverse = inverse_root(block_sum<THREADS>(sum), p);
    for (i32 c = threadIdx.x * VEC; c < p.width; c += THREADS * VEC) {
        load_floats<VEC>((RESIDUAL ? row.sum : row.x) + c, v);   // its own store, or an input that nobody writes before this read
        row.finish(c, v, inverse);
    }
}
