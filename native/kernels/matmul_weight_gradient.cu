// MatMulWeightGradient: dw[n, k] += sum_m dy[m, n] · x[m, k], the gradient of y = x · wᵀ with respect to w
//
// The sum over rows is cut into `slices` slices of slice_rows rows each. With one slice its sums are added to dw; with more each writes its own
// sums to the workspace, and matmul_weight_gradient_reduce adds them to dw, the first slice first.
//
// Shapes       dy T [rows, columns]; x T [rows, k]; dw f32 [columns, k]; workspace f32 [slices, columns, k] (unused where slices is 1);
//              inner strides 1. slice_rows is a multiple of 32; slices · slice_rows >= rows.
// Kernels      matmul_weight_gradient_mma      bf16; columns, k and the strides of dy and x multiples of 8, their addresses of 16 bytes.
//              matmul_weight_gradient_general  anything. No TF32: products of f32 are f32 products.
//              matmul_weight_gradient_reduce   where slices > 1.
// Launch       ..._mma      grid (ceil(columns / BM), ceil(k / BN), slices), block (32 · BM/WM · BN/WN), dynamic shared 3 · 64 · (BM + BN + 16) bytes.
//              ..._general  grid (ceil(columns / 64), ceil(k / 64), slices), block (256): 4 x 4 outputs a thread.
//              ..._reduce   grid (ceil(columns · k / 256)), block (256).
// Aliasing     none.
// Determinism  the same bits for the same call: every output is one sum in an order that depends on rows, slices and the kernel alone. No atomics.
// Error        f32 accumulation: (rows + slices) · 2^-23 · sum |dy · x|, and half an ulp of dw.
// Traffic      least: dy and x once, dw once in and once out. ..._mma requests dy ceil(k / BN) times and x ceil(columns / BM) times;
//              ..._general dy ceil(k / 4) and x ceil(columns / 4) times, mostly from the caches; the workspace goes out once and in once.
#include "include/gradient_tiles.cuh"

struct MatMulWeightGradientParams {
    const void* dy;
    const void* x;
    f32* dw;
    f32* workspace;
    i64 dy_stride;
    i64 x_stride;
    i64 dw_stride;
    i32 rows;
    i32 columns;
    i32 k;
    i32 slice_rows;
    i32 slices;
};

// Where the sums of this block's slice go: added to dw where it is the only one, else written to its part of the workspace.
struct SliceOutput {
    const MatMulWeightGradientParams& p;

    GK_DEVICE void put(i32 row, i32 column, f32 sum) const {
        if (row >= p.columns || column >= p.k) return;
        if (p.slices == 1) {
            p.dw[row * p.dw_stride + column] += sum;
        } else {
            p.workspace[(static_cast<i64>(blockIdx.z) * p.columns + row) * p.k + column] = sum;
        }
    }
};

template <i32 BM, i32 BN, i32 WM, i32 WN>
__global__ void __launch_bounds__(32 * (BM / WM) * (BN / WN)) matmul_weight_gradient_mma(MatMulWeightGradientParams p) {
    constexpr i32 THREADS = 32 * (BM / WM) * (BN / WN), STAGES = 3, BK = 32;
    constexpr i32 DY_TILE = BK * mma_stride(BM), STAGE = DY_TILE + BK * mma_stride(BN);
    extern __shared__ Vec<bf16, 8> gradient_tiles[];
    bf16* const tiles = gradient_tiles[0].v;
    const i32 first_m = blockIdx.z * p.slice_rows, last_m = min_of(p.rows, first_m + p.slice_rows);
    const TileSource dy{static_cast<const bf16*>(p.dy), p.dy_stride, last_m, p.columns};
    const TileSource x{static_cast<const bf16*>(p.x), p.x_stride, last_m, p.k};
    const i32 first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    const i32 warp_row = warp_id() % (BM / WM) * WM, warp_column = warp_id() / (BM / WM) * WN;

    MmaAccumulator<WM / 16, WN / 8> sum;
    sum.fill(0.0f);
    pipelined<STAGES>(
        ceil_div(last_m - first_m, BK),
        [&](i32 step) {
            bf16* const stage = tiles + step % STAGES * STAGE;
            copy_tile<BK, BM, THREADS>(stage, dy, first_m + step * BK, first_row);
            copy_tile<BK, BN, THREADS>(stage + DY_TILE, x, first_m + step * BK, first_column);
        },
        [&](i32 step) {
            const bf16* const stage = tiles + step % STAGES * STAGE;
            mma_tile<BK / 16>(sum, MmaColumnsA{stage + warp_row, mma_stride(BM)}, MmaColumnsB{stage + DY_TILE + warp_column, mma_stride(BN)});
        });
    const SliceOutput output{p};
    for_each_pair(sum, [&](i32 r, i32 c, f32 first, f32 second) {
        output.put(first_row + warp_row + r, first_column + warp_column + c, first);
        output.put(first_row + warp_row + r, first_column + warp_column + c + 1, second);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) matmul_weight_gradient_general(MatMulWeightGradientParams p) {
    const i32 first_row = blockIdx.x * 64 + threadIdx.x / 16 * 4, first_column = blockIdx.y * 64 + threadIdx.x % 16;
    if (first_row >= p.columns || first_column >= p.k) return;
    const i32 first_m = blockIdx.z * p.slice_rows, last_m = min_of(p.rows, first_m + p.slice_rows);
    f32 sum[4][4] = {};
    general_product(sum, Factor<T>{static_cast<const T*>(p.dy), 1, p.dy_stride, p.columns}, first_row,
                    Factor<T>{static_cast<const T*>(p.x), 1, p.x_stride, p.k}, first_column, first_m, last_m);
    const SliceOutput output{p};
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) output.put(first_row + i, first_column + 16 * j, sum[i][j]);
    }
}

__global__ void __launch_bounds__(256) matmul_weight_gradient_reduce(MatMulWeightGradientParams p) {
    const i64 size = static_cast<i64>(p.columns) * p.k;
    const i64 i = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= size) return;
    f32 sum = p.workspace[i];
    for (i32 s = 1; s < p.slices; ++s) sum += p.workspace[s * size + i];
    p.dw[i / p.k * p.dw_stride + i % p.k] += sum;
}
