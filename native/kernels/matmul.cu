// MatMul: y[m, n] = round(sum_k x[m, k] · w[n, k]), or with FACTORS round(factors[m] · sum_k …)
//
// Shapes       x T [rows, k]; w T [columns, k] (a weight [out, in], read once); y Out [rows, columns], Out = T or f32; factors f32 [rows]; inner strides 1.
// Kernels      matmul_mma      bf16; k and the strides of x and w multiples of 8, their addresses multiples of 16 bytes.
//              matmul_warpgroup  as matmul_mma, for sm_90a.
//              matmul_skinny   for few rows; k and the strides of x and w in multiples of 16 bytes, as their addresses.
//              matmul_general  anything. No TF32: products of f32 are f32 products.
// Launch       matmul_mma      grid (ceil(rows / BM), ceil(columns / BN)), block (32 · BM/WM · BN/WN), dynamic shared 3 · (BM + BN) · 80 bytes;
//                              Tiles = MatMulTiles<BM, BN, WM, WN>
//              matmul_warpgroup  grid min(tiles of 128 x 256, multiprocessors), block (384), dynamic shared WarpgroupTiles::SHARED_BYTES; the maps'
//                              boxes are 64 of k by 128 rows of x, 64 by 256 of w, with the swizzle of 128 bytes.
//              matmul_skinny   grid (ceil(rows / BATCH), ceil(columns / 16)), block (128): a warp for four columns.
//              matmul_general  grid (ceil(rows / 64), ceil(columns / 64)), block (256): 4 x 4 outputs a thread.
// Aliasing     none.
// Determinism  every output is one sum in an order that depends on k alone: a row's bits do not depend on the other rows, on their
//              number, or (matmul_mma) on the tile shape. The kernels differ from each other in that order: where results must
//              not depend on the number of rows, matmul_mma serves all of them where it fits, else matmul_general.
// Error        f32 accumulation, one rounding: one ulp of Out plus k · 2^-23 · sum |x · w|; with FACTORS 2^-24 of y more.
// Traffic      least: each operand once. matmul_mma and matmul_warpgroup (BM = 128, BN = 256) request x ceil(columns / BN) and w ceil(rows / BM) times;
//              matmul_skinny x ceil(columns / 4) and w ceil(rows / BATCH) times; matmul_general x ceil(columns / 4) and w ceil(rows / 4) times, mostly from the caches.
#include "include/matmul_tiles.cuh"
#include "include/quad.cuh"
#include "include/vec.cuh"
#include "include/warpgroup_tiles.cuh"

struct MatMulParams {
    const void* x;
    const void* w;
    const f32* factors;
    void* y;
    i64 x_stride;
    i64 w_stride;
    i64 y_stride;
    i32 rows;
    i32 columns;
    i32 k;
};

template <bool FACTORS>
GK_DEVICE f32 factor_of(const MatMulParams& p, i32 row) {
    if constexpr (FACTORS) return p.factors[row];
    else return 1.0f;
}

struct MatMulTensorParams {
    TensorMap x;
    TensorMap w;
    MatMulParams plain;
};

template <typename Tiles, typename Out, bool FACTORS>
GK_DEVICE void store_tile(const MatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    const bool paired = p.columns % 2 == 0 && p.y_stride % 2 == 0 && reinterpret_cast<u64>(p.y) % (2 * sizeof(Out)) == 0;
    #pragma unroll
    for (i32 mt = 0; mt < Tiles::MT; ++mt) {
        #pragma unroll
        for (i32 e = 0; e < 4; e += 2) {
            const i32 row = first_row + Tiles::warp_row() + sum.row(mt, e);
            if (row >= p.rows) continue;
            Out* const y = static_cast<Out*>(p.y) + row * p.y_stride;
            const f32 factor = factor_of<FACTORS>(p, row);
            #pragma unroll
            for (i32 nt = 0; nt < Tiles::NT; ++nt) {
                const i32 column = first_column + Tiles::warp_column() + sum.column(nt, e);
                if (column >= p.columns) continue;
                const f32 pair[2] = {sum.v[mt][nt][e] * factor, sum.v[mt][nt][e + 1] * factor};
                if (paired) {
                    store_floats<2>(y + column, pair);
                } else {
                    y[column] = from_float<Out>(pair[0]);
                    if (column + 1 < p.columns) y[column + 1] = from_float<Out>(pair[1]);
                }
            }
        }
    }
}

// The same in bf16 where eight neighbouring results lie together in 16 aligned bytes. Each lane's two columns of four fragments become eight
// neighbouring ones, so that a quad stores 64 bytes of a row at once.
template <typename Tiles, bool FACTORS>
GK_DEVICE void store_tile_wide(const MatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    constexpr i32 VISITS = 2 * Tiles::MT;   // rows of a lane
    #pragma unroll
    for (i32 g = 0; g < Tiles::NT / 4; ++g) {
        u32 words[VISITS][4];
        #pragma unroll
        for (i32 v = 0; v < VISITS; ++v) {
            const i32 mt = v / 2, e = v % 2 * 2, row = first_row + Tiles::warp_row() + sum.row(mt, e);
            const f32 factor = row < p.rows ? factor_of<FACTORS>(p, row) : 0.0f;
            #pragma unroll
            for (i32 i = 0; i < 4; ++i) words[v][i] = mma_pack(sum.v[mt][4 * g + i][e] * factor, sum.v[mt][4 * g + i][e + 1] * factor);
        }
        quad_transpose(words);
        const i32 column = first_column + Tiles::warp_column() + 32 * g + 8 * (lane_id() % 4);
        #pragma unroll
        for (i32 v = 0; v < VISITS; ++v) {
            const i32 row = first_row + Tiles::warp_row() + sum.row(v / 2, v % 2 * 2);
            if (row < p.rows && column < p.columns)
                store_vec<4>(static_cast<u32*>(p.y) + (row * p.y_stride + column) / 2, Vec<u32, 4>{{words[v][0], words[v][1], words[v][2], words[v][3]}});
        }
    }
}

// By whole sectors where the tile and y allow it.
template <typename Tiles, typename Out, bool FACTORS>
GK_DEVICE void store_sums(const MatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    if constexpr (sizeof(Out) == sizeof(bf16) && Tiles::NT % 4 == 0) {
        if (p.columns % 8 == 0 && p.y_stride % 8 == 0 && reinterpret_cast<u64>(p.y) % 16 == 0) return store_tile_wide<Tiles, FACTORS>(p, sum, first_row, first_column);
    }
    store_tile<Tiles, Out, FACTORS>(p, sum, first_row, first_column);
}

template <typename Tiles, typename Out, bool FACTORS = false>
__global__ void __launch_bounds__(Tiles::THREADS) matmul_mma(MatMulParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    const i32 first_row = blockIdx.x * Tiles::ROWS, first_column = blockIdx.y * Tiles::COLUMNS;
    const typename Tiles::Accumulator sum = Tiles::run(
        RowsOf<bf16>{static_cast<const bf16*>(p.x), p.x_stride, first_row, p.rows},
        RowsOf<bf16>{static_cast<const bf16*>(p.w), p.w_stride, first_column, p.columns}, p.k, matmul_tiles[0].v);
    store_sums<Tiles, Out, FACTORS>(p, sum, first_row, first_column);
}

template <typename Out, bool FACTORS = false>
__global__ void __launch_bounds__(WarpgroupTiles::THREADS, 1) matmul_warpgroup(const __grid_constant__ MatMulTensorParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    WarpgroupTiles::run(
        matmul_tiles[0].v, p.plain.rows, p.plain.columns, p.plain.k,
        [&](bf16* x, bf16* w, Mbarrier* full, i32 first_row, i32 first_column, i32 first_k) {
            tensor_copy(x, p.x, full, first_k, first_row);
            tensor_copy(w, p.w, full, first_k, first_column);
        },
        [&](const WarpgroupTiles::Accumulator& sum, i32 first_row, i32 first_column) {
            store_sums<WarpgroupTiles, Out, FACTORS>(p.plain, sum, first_row, first_column);
        });
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

template <typename T, typename Out, bool FACTORS = false>
__global__ void __launch_bounds__(GeneralTile::THREADS) matmul_general(MatMulParams p) {
    const i32 first_row = blockIdx.x * GeneralTile::ROWS, first_column = blockIdx.y * GeneralTile::COLUMNS;
    f32 sum[4][4] = {};
    GeneralTile::run(RowsOf<T>{static_cast<const T*>(p.x), p.x_stride, first_row, p.rows}, RowsOf<T>{static_cast<const T*>(p.w), p.w_stride, first_column, p.columns}, p.k, sum);
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) {
            const i32 row = first_row + GeneralTile::row(i), column = first_column + GeneralTile::column(j);
            if (row < p.rows && column < p.columns) static_cast<Out*>(p.y)[row * p.y_stride + column] = from_float<Out>(sum[i][j] * factor_of<FACTORS>(p, row));
        }
    }
}
