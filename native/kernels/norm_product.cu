// The head of a decode step: y = norm(x) · wᵀ in f32, soft-capped where a cap is given: cap · tanh(y / cap)
//
// Shapes       x T [rows, k], scale T [k], squares f32 [rows, parts]; w T [width, k]; y f32 [rows, width]; inner strides 1.
// Kernel       norm_product<Core>; the cores, the norm and what they ask for are in skinny.cuh.
// Launch       grid (ceil(width / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it.
// Aliasing     none.
// Determinism  as skinny.cuh.
// Error        normed x as in gated_product; k · 2^-23 · Σ |x · w|, and 8 · 2^-24 of |y| with a cap.
// Traffic      w once per Core::BATCH rows; x and scale once per tile; y once.
#include "include/math.cuh"
#include "include/skinny.cuh"

struct NormProductParams {
    SkinnyProductParams product;
    NormInputParams norm;
    f32* y;
    i64 y_stride;
    i32 width;
    f32 cap;                // 0: none
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) norm_product(NormProductParams p) {
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * Core::ROWS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, NormInput{p.norm}, PlainRows{first, p.width}, skinny_shared);

    #pragma unroll 1
    for (i32 i = threadIdx.x; i < Core::ROWS * Core::BATCH; i += SKINNY_THREADS) {
        const i32 v = i % Core::ROWS, b = i / Core::ROWS, column = first + v, row = first_row + b;
        if (column >= p.width || row >= p.product.rows) continue;
        p.y[row * p.y_stride + column] = soft_capped(tile.sum(v, b), p.cap);
    }
}
