// The end of a block in a decode step: x ← round(x + (round(in · wᵀ) + bias)), and what the norm after it needs
//
//   squares[r, tile] = Σ of the squares of the new x over the tile's columns
//
// Shapes       in T [rows, k]; w T [width, k]; x T [rows, width]; bias T [width], may be null; squares f32 [rows, ceil(width / Core::ROWS)],
//              adjacent rows; inner strides 1.
// Kernel       residual_product<Core>; the cores and what they ask for are in skinny.cuh.
// Launch       grid (ceil(width / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it.
// Aliasing     x in place; nothing else.
// Determinism  as skinny.cuh; the squares add up in a fixed butterfly.
// Error        f32 accumulation: the product one ulp of T plus k · 2^-23 · Σ |in · w|, then one rounding of the sum.
// Traffic      w once per Core::BATCH rows; in once per tile; x once in and once out; bias once per tile of rows; squares once.
#include "include/skinny.cuh"

struct ResidualProductParams {
    SkinnyProductParams product;
    const void* bias;
    void* residual;
    f32* squares;
    i64 residual_stride;
    i32 width;
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) residual_product(ResidualProductParams p) {
    using T = typename Core::Element;
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * Core::ROWS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, PlainInput{}, PlainRows{first, p.width}, skinny_shared);

    // Whole warps, so that each tile row's squares meet in one.
    #pragma unroll 1
    for (i32 i = threadIdx.x; i < ceil_div(Core::ROWS * Core::BATCH, 32) * 32; i += SKINNY_THREADS) {
        const i32 v = i % Core::ROWS, b = i / Core::ROWS, column = first + v, row = first_row + b;
        const bool inside = b < Core::BATCH && row < p.product.rows;
        f32 value = 0.0f;
        if (inside && column < p.width) {
            T* const x = static_cast<T*>(p.residual) + row * p.residual_stride + column;
            const f32 bias = p.bias == nullptr ? 0.0f : to_float(static_cast<const T*>(p.bias)[column]);
            value = round_to<T>(to_float(*x) + (round_to<T>(tile.sum(v, b)) + bias));
            *x = from_float<T>(value);
        }
        const f32 squares = warp_sum<Core::ROWS>(value * value);
        if (v == 0 && inside) p.squares[static_cast<i64>(row) * gridDim.x + blockIdx.x] = squares;
    }
}
