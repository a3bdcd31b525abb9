// The first half of a gated MLP in a decode step: y = round(gelu(g + bg) · (u + bu)), g|u = round(norm(x) · wᵀ)
//
// Shapes       x T [rows, k], scale T [k], squares f32 [rows, parts]; w T [2·width, k], the gate's rows first; bias T [2·width];
//              y T [rows, width]; inner strides 1.
// Kernel       gated_product<Core>; the cores, the norm and what they ask for are in skinny.cuh. A tile holds the rows of a gate column and of
//              its up column.
// Launch       grid (ceil(width / (Core::ROWS / 2)), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it.
// Aliasing     none.
// Determinism  as skinny.cuh.
// Error        normed x within one ulp of T, where float64 would round otherwise only if it lies within (parts + 24) · 2^-24 of the midpoint;
//              the products one ulp of T plus k · 2^-23 · Σ |x · w|; then as gelu_multiply.
// Traffic      w once per Core::BATCH rows; x and scale once per tile; y once.
#include "include/math.cuh"
#include "include/skinny.cuh"

struct GatedProductParams {
    SkinnyProductParams product;
    NormInputParams norm;
    const void* bias;
    void* y;
    i64 y_stride;
    i32 width;
};

struct GatedRows {
    i32 first;
    i32 width;
    GK_DEVICE i64 operator()(i32 v) const { return min_of(pair_of_row(first, v), width - 1) + (v % 16 < 8 ? 0 : width); }
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) gated_product(GatedProductParams p) {
    using T = typename Core::Element;
    constexpr i32 COLUMNS = Core::ROWS / 2;
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * COLUMNS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, NormInput{p.norm}, GatedRows{first, p.width}, skinny_shared);

    const T* const bias = static_cast<const T*>(p.bias);
    #pragma unroll 1
    for (i32 i = threadIdx.x; i < COLUMNS * Core::BATCH; i += SKINNY_THREADS) {
        const i32 v = row_of_pair(i % COLUMNS), b = i / COLUMNS, column = first + i % COLUMNS, row = first_row + b;
        if (column >= p.width || row >= p.product.rows) continue;
        const f32 gate = round_to<T>(tile.sum(v, b)) + to_float(bias[column]);
        const f32 up = round_to<T>(tile.sum(v + 8, b)) + to_float(bias[p.width + column]);
        static_cast<T*>(p.y)[row * p.y_stride + column] = from_float<T>(gelu_tanh(gate) * up);
    }
}
