// MatMul: y[m, n] = round(sum_k x[m, k] · w[n, k])
//
// Shapes       x T [rows, k]; w T [columns, k] (a weight [out, in], read once); y Out [rows, columns], Out = T or f32; inner strides 1.
// Kernels      matmul_mma      bf16; k and the strides of x and w multiples of 8, their addresses multiples of 16 bytes.
//              matmul_skinny   for few rows; k and the strides of x and w in multiples of 16 bytes, as their addresses.
//              matmul_general  anything. No TF32: products of f32 are f32 products.
// Launch       matmul_mma      grid (ceil(rows / BM), ceil(columns / BN)), block (32 · BM/WM · BN/WN), dynamic shared 3 · (BM + BN) · 80 bytes.
//              matmul_skinny   grid (ceil(rows / BATCH), ceil(columns / 16)), block (128): a warp for four columns.
//              matmul_general  grid (ceil(rows / 64), ceil(columns / 64)), block (256): 4 x 4 outputs a thread.
// Aliasing     none.
// Determinism  every output is one sum in an order that depends on k alone: a row's bits do not depend on the other rows, on their
//              number, or (matmul_mma) on the tile shape. The three kernels differ from each other in that order: where results must
//              not depend on the number of rows, matmul_mma serves all of them where it fits, else matmul_general.
// Error        f32 accumulation, one rounding: one ulp of Out plus k · 2^-23 · sum |x · w|.
// Traffic      least: each operand once. matmul_mma requests x ceil(columns / BN) and w ceil(rows / BM) times; matmul_skinny x
//              ceil(columns / 4) and w ceil(rows / BATCH) times; matmul_general x ceil(columns / 4) and w ceil(rows / 4) times, mostly from the caches.
#include "include/async_copy.cuh"
#include "include/mma.cuh"
#include "include/vec.cuh"

struct MatMulParams {
    const void* x;
    const void* w;
    void* y;
    i64 x_stride;
    i64 w_stride;
    i64 y_stride;
    i32 rows;
    i32 columns;
    i32 k;
};

constexpr i32 MATMUL_BK = 32;
constexpr i32 MATMUL_STAGES = 3;
constexpr i32 MATMUL_STRIDE = mma_stride(MATMUL_BK);

// Rows [first_row, +TILE) and k's [first_k, +MATMUL_BK) of a matrix into a shared tile; what lies outside the matrix becomes zero.
// A warp copies eight whole rows; eight neighbouring lanes copy one column of them, which meets every bank once.
template <i32 TILE, i32 THREADS>
GK_DEVICE void load_tile(bf16* tile, const bf16* source, i64 stride, i32 first_row, i32 rows, i32 first_k, i32 k) {
    constexpr i32 pieces = MATMUL_BK / 8;
    for (i32 i = threadIdx.x; i < TILE * pieces; i += THREADS) {
        const i32 row = i / (8 * pieces) * 8 + i % 8, column = i / 8 % pieces * 8;
        const bool inside = first_row + row < rows && first_k + column < k;
        const bf16* from = inside ? source + (first_row + row) * stride + first_k + column : source;
        async_copy_16(tile + row * MATMUL_STRIDE + column, from, inside ? 16 : 0);
    }
}

template <i32 BM, i32 BN, i32 WM, i32 WN, typename Out>
__global__ void __launch_bounds__(32 * (BM / WM) * (BN / WN)) matmul_mma(MatMulParams p) {
    constexpr i32 THREADS = 32 * (BM / WM) * (BN / WN);
    constexpr i32 STAGE = (BM + BN) * MATMUL_STRIDE;
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    bf16* const tiles = matmul_tiles[0].v;   // [MATMUL_STAGES][BM rows of x, then BN rows of w][MATMUL_STRIDE]
    const bf16* const x = static_cast<const bf16*>(p.x);
    const bf16* const w = static_cast<const bf16*>(p.w);
    const i32 first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    const i32 warp_row = warp_id() % (BM / WM) * WM, warp_column = warp_id() / (BM / WM) * WN;

    MmaAccumulator<WM / 16, WN / 8> sum;
    sum.fill(0.0f);
    const auto load = [&](i32 step) {
        bf16* const stage = tiles + step % MATMUL_STAGES * STAGE;
        load_tile<BM, THREADS>(stage, x, p.x_stride, first_row, p.rows, step * MATMUL_BK, p.k);
        load_tile<BN, THREADS>(stage + BM * MATMUL_STRIDE, w, p.w_stride, first_column, p.columns, step * MATMUL_BK, p.k);
    };
    const i32 steps = ceil_div(p.k, MATMUL_BK);
    for (i32 step = 0; step < MATMUL_STAGES - 1; ++step) {
        if (step < steps) load(step);
        async_commit();
    }
    for (i32 step = 0; step < steps; ++step) {
        async_wait<MATMUL_STAGES - 2>();
        __syncthreads();   // this step's tile is there for all, and nobody still reads the one that the next load replaces
        if (step + MATMUL_STAGES - 1 < steps) load(step + MATMUL_STAGES - 1);
        async_commit();
        const bf16* const stage = tiles + step % MATMUL_STAGES * STAGE;
        mma_tile<MATMUL_BK / 16>(sum, MmaRowsA{stage + warp_row * MATMUL_STRIDE, MATMUL_STRIDE},
                                 MmaRowsB{stage + (BM + warp_column) * MATMUL_STRIDE, MATMUL_STRIDE});
    }
    async_wait<0>();

    const bool paired = p.columns % 2 == 0 && p.y_stride % 2 == 0 && reinterpret_cast<u64>(p.y) % (2 * sizeof(Out)) == 0;
    #pragma unroll
    for (i32 mt = 0; mt < WM / 16; ++mt) {
        #pragma unroll
        for (i32 e = 0; e < 4; e += 2) {
            const i32 row = first_row + warp_row + sum.row(mt, e);
            if (row >= p.rows) continue;
            Out* const y = static_cast<Out*>(p.y) + row * p.y_stride;
            #pragma unroll
            for (i32 nt = 0; nt < WN / 8; ++nt) {
                const i32 column = first_column + warp_column + sum.column(nt, e);
                if (column >= p.columns) continue;
                if (paired) {
                    const f32 pair[2] = {sum.v[mt][nt][e], sum.v[mt][nt][e + 1]};
                    store_floats<2>(y + column, pair);
                } else {
                    y[column] = from_float<Out>(sum.v[mt][nt][e]);
                    if (column + 1 < p.columns) y[column + 1] = from_float<Out>(sum.v[mt][nt][e + 1]);
                }
            }
        }
    }
}

template <typename T, typename Out, i32 BATCH>
__global__ void __launch_bounds__(128) matmul_skinny(MatMulParams p) {
    constexpr i32 VEC = VEC16<T>;
    constexpr i32 COLUMNS = 4;
    const i32 first_row = blockIdx.x * BATCH, first = (static_cast<i32>(blockIdx.y) * 4 + warp_id()) * COLUMNS;
    if (first >= p.columns) return;
    const T* const x = static_cast<const T*>(p.x);
    const T* w[COLUMNS];
    #pragma unroll
    for (i32 c = 0; c < COLUMNS; ++c) w[c] = static_cast<const T*>(p.w) + min_of(first + c, p.columns - 1) * p.w_stride;

    f32 sum[COLUMNS * BATCH] = {};
    for (i32 k = lane_id() * VEC; k < p.k; k += 32 * VEC) {
        Vec<T, VEC> weights[COLUMNS];
        #pragma unroll
        for (i32 c = 0; c < COLUMNS; ++c) weights[c] = load_vec<VEC>(w[c] + k);
        #pragma unroll
        for (i32 b = 0; b < BATCH; ++b) {
            f32 v[VEC];
            load_floats<VEC>(x + min_of(first_row + b, p.rows - 1) * p.x_stride + k, v);
            #pragma unroll
            for (i32 c = 0; c < COLUMNS; ++c) {
                #pragma unroll
                for (i32 i = 0; i < VEC; ++i) sum[b * COLUMNS + c] = fmaf(to_float(weights[c].v[i]), v[i], sum[b * COLUMNS + c]);
            }
        }
    }
    warp_sum(sum);
    #pragma unroll
    for (i32 i = 0; i < COLUMNS * BATCH; ++i) {
        const i32 row = first_row + i / COLUMNS, column = first + i % COLUMNS;
        if (lane_id() == i && row < p.rows && column < p.columns) static_cast<Out*>(p.y)[row * p.y_stride + column] = from_float<Out>(sum[i]);
    }
}

template <typename T, typename Out>
__global__ void __launch_bounds__(256) matmul_general(MatMulParams p) {
    // Threads of a warp take neighbouring columns; a thread's four columns are 16 apart.
    const i32 first_row = blockIdx.x * 64 + threadIdx.x / 16 * 4, first_column = blockIdx.y * 64 + threadIdx.x % 16;
    if (first_row >= p.rows || first_column >= p.columns) return;
    const T* x[4];
    const T* w[4];
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        x[i] = static_cast<const T*>(p.x) + min_of(first_row + i, p.rows - 1) * p.x_stride;
        w[i] = static_cast<const T*>(p.w) + min_of(first_column + 16 * i, p.columns - 1) * p.w_stride;
    }
    f32 sum[4][4] = {};
    for (i32 k = 0; k < p.k; ++k) {
        f32 a[4], b[4];
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            a[i] = to_float(x[i][k]);
            b[i] = to_float(w[i][k]);
        }
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            #pragma unroll
            for (i32 j = 0; j < 4; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
        }
    }
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) {
            const i32 row = first_row + i, column = first_column + 16 * j;
            if (row < p.rows && column < p.columns) static_cast<Out*>(p.y)[row * p.y_stride + column] = from_float<Out>(sum[i][j]);
        }
    }
}
