// MatMulInputGradient: dx[m, k] = round(sum_n dy[m, n] · w[n, k]), the gradient of y = x · wᵀ with respect to x
//
// Shapes       dy T [rows, columns]; w T [columns, k]; dx T [rows, k]; inner strides 1.
// Kernels      matmul_input_gradient_mma      bf16; columns, k and the strides of dy, w and dx multiples of 8, addresses of 16 bytes.
//              matmul_input_gradient_general  anything. No TF32: products of f32 are f32 products.
// Launch       ..._mma      grid (ceil(rows / BM), ceil(k / BN)), block (32 · BM/WM · BN/WN), dynamic shared 3 · (BM · 80 + 32 · (2·BN + 16)) bytes.
//              ..._general  grid (ceil(rows / 64), ceil(k / 64)), block (256): 4 x 4 outputs a thread.
// Aliasing     none.
// Determinism  every output is one sum in an order that depends on columns and the kernel alone.
// Error        f32 accumulation, one rounding: one ulp of T plus columns · 2^-23 · sum |dy · w|.
// Traffic      least: each operand once. ..._mma requests dy ceil(k / BN) times and w ceil(rows / BM) times; ..._general dy ceil(k / 4)
//              times and w ceil(rows / 4) times, mostly from the caches.
#include "include/gradient_tiles.cuh"

struct MatMulInputGradientParams {
    const void* dy;
    const void* w;
    void* dx;
    i64 dy_stride;
    i64 w_stride;
    i64 dx_stride;
    i32 rows;
    i32 columns;
    i32 k;
};

template <i32 BM, i32 BN, i32 WM, i32 WN>
__global__ void __launch_bounds__(32 * (BM / WM) * (BN / WN)) matmul_input_gradient_mma(MatMulInputGradientParams p) {
    constexpr i32 THREADS = 32 * (BM / WM) * (BN / WN), STAGES = 3, BK = 32;
    constexpr i32 DY_TILE = BM * mma_stride(BK), STAGE = DY_TILE + BK * mma_stride(BN);
    extern __shared__ Vec<bf16, 8> gradient_tiles[];
    bf16* const tiles = gradient_tiles[0].v;
    const TileSource dy{static_cast<const bf16*>(p.dy), p.dy_stride, p.rows, p.columns};
    const TileSource w{static_cast<const bf16*>(p.w), p.w_stride, p.columns, p.k};
    const i32 first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    const i32 warp_row = warp_id() % (BM / WM) * WM, warp_column = warp_id() / (BM / WM) * WN;

    MmaAccumulator<WM / 16, WN / 8> sum;
    sum.fill(0.0f);
    pipelined<STAGES>(
        ceil_div(p.columns, BK),
        [&](i32 step) {
            bf16* const stage = tiles + step % STAGES * STAGE;
            copy_tile<BM, BK, THREADS>(stage, dy, first_row, step * BK);
            copy_tile<BK, BN, THREADS>(stage + DY_TILE, w, step * BK, first_column);
        },
        [&](i32 step) {
            const bf16* const stage = tiles + step % STAGES * STAGE;
            mma_tile<BK / 16>(sum, MmaRowsA{stage + warp_row * mma_stride(BK), mma_stride(BK)}, MmaColumnsB{stage + DY_TILE + warp_column, mma_stride(BN)});
        });
    for_each_piece(sum, [&](i32 r, i32 c, const f32 (&piece)[8]) {
        const i32 row = first_row + warp_row + r, column = first_column + warp_column + c;
        if (row < p.rows && column < p.k) store_floats<8>(static_cast<bf16*>(p.dx) + row * p.dx_stride + column, piece);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) matmul_input_gradient_general(MatMulInputGradientParams p) {
    const i32 first_row = blockIdx.x * 64 + threadIdx.x / 16 * 4, first_column = blockIdx.y * 64 + threadIdx.x % 16;
    if (first_row >= p.rows || first_column >= p.k) return;
    f32 sum[4][4] = {};
    general_product(sum, Factor<T>{static_cast<const T*>(p.dy), p.dy_stride, 1, p.rows}, first_row,
                    Factor<T>{static_cast<const T*>(p.w), 1, p.w_stride, p.k}, first_column, 0, p.columns);
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) {
            const i32 row = first_row + i, column = first_column + 16 * j;
            if (row < p.rows && column < p.k) static_cast<T*>(p.dx)[row * p.dx_stride + column] = from_float<T>(sum[i][j]);
        }
    }
}
