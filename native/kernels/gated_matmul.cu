// The first half of a gated MLP for many rows: y = round(gelu(g + bg) · (u + bu)), g|u = round(x · wᵀ), gelu in its tanh form;
// with FACTORS g|u = round(factors · (x · wᵀ)), a factor a row
//
// Shapes       x T [rows, k]; w T [2·width, k], the gate's rows first; bias T [2·width]; y T [rows, width]; factors f32 [rows]; inner strides 1.
// Kernels      gated_matmul_mma      bf16; k and the strides of x and w multiples of 8, their addresses multiples of 16 bytes.
//              gated_matmul_warpgroup  as gated_matmul_mma, for sm_90a; width a multiple of 8.
//              gated_matmul_general  anything. No TF32.
// Launch       gated_matmul_mma      Tiles = MatMulTiles<BM, BN, WM, WN>: grid (ceil(rows / BM), ceil(width / (BN / 2))), block (Tiles::THREADS),
//                                    dynamic shared Tiles::SHARED_BYTES.
//              gated_matmul_warpgroup  grid min(tiles of 128 x 128 results, multiprocessors), block (384), dynamic shared WarpgroupTiles::SHARED_BYTES; the
//                                    box of x's map is 64 of k by 128 rows, that of w's [width / 8, gate | up, 8 rows, k] is 64 of k by 8 by 2 by 16, both
//                                    with the swizzle of 128 bytes.
//              gated_matmul_general  grid (ceil(rows / 64), ceil(width / 32)), block (256).
//              A tile of BN rows of w holds eight of the gate, the same eight of up, and so on: a thread has both halves of a result.
// Aliasing     none.
// Determinism  as matmul.cu: gated_matmul_mma has the bits of matmul_mma (with the same FACTORS) followed by gelu_multiply, whatever the tile.
// Error        g and u one ulp of T plus k · 2^-23 · sum |x · w|, then as gelu_multiply.
// Traffic      gated_matmul_mma and gated_matmul_warpgroup (BM = 128, BN = 256) request x ceil(width / (BN / 2)) and w ceil(rows / BM) times, y once;
//              gated_matmul_general x ceil(width / 2) and w ceil(rows / 4) times, mostly from the caches. Against the two kernels it saves the writing and reading of g|u: 4·rows·width elements.
#include "include/math.cuh"
#include "include/matmul_tiles.cuh"
#include "include/quad.cuh"
#include "include/vec.cuh"
#include "include/warpgroup_tiles.cuh"

struct GatedMatMulParams {
    const void* x;
    const void* w;
    const void* bias;
    const f32* factors;
    void* y;
    i64 x_stride;
    i64 w_stride;
    i64 y_stride;
    i32 rows;
    i32 width;
    i32 k;
};

// Row r of a tile: eight rows of the gate, then the same eight of up.
template <typename T>
struct GatedRows {
    const T* data;
    i64 stride;
    i32 first;
    i32 width;
    static GK_DEVICE i32 pair(i32 row) { return row / 16 * 8 + row % 8; }
    GK_DEVICE const T* operator()(i32 row) const {
        const i32 column = first + pair(row);
        return column < width ? data + (column + (row % 16 < 8 ? 0 : static_cast<i64>(width))) * stride : nullptr;
    }
};

// Row r of a general tile: 32 rows of the gate, then the same 32 of up, so that a thread's four columns are two of each.
template <typename T>
struct HalvesOf {
    const T* data;
    i64 stride;
    i32 first;
    i32 width;
    GK_DEVICE const T* operator()(i32 row) const {
        const i32 column = first + row % 32;
        return column < width ? data + (column + (row < 32 ? 0 : static_cast<i64>(width))) * stride : nullptr;
    }
};

template <typename T>
GK_DEVICE f32 gated(const GatedMatMulParams& p, i32 column, f32 gate, f32 up) {
    const T* const bias = static_cast<const T*>(p.bias);
    return gelu_tanh(round_to<T>(gate) + to_float(bias[column])) * (round_to<T>(up) + to_float(bias[p.width + column]));
}

template <bool FACTORS>
GK_DEVICE f32 factor_of(const GatedMatMulParams& p, i32 row) {
    if constexpr (FACTORS) return p.factors[row];
    else return 1.0f;
}

struct GatedMatMulTensorParams {
    TensorMap x;
    TensorMap w;
    GatedMatMulParams plain;
};

template <typename Tiles, bool FACTORS>
GK_DEVICE void store_tile(const GatedMatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    static_assert(Tiles::NT % 2 == 0, "a warp needs both halves");
    const bool paired = p.width % 2 == 0 && p.y_stride % 2 == 0 && reinterpret_cast<u64>(p.y) % (2 * sizeof(bf16)) == 0;
    #pragma unroll
    for (i32 nt = 0; nt < Tiles::NT; nt += 2) {
        const i32 column = first_column + GatedRows<bf16>::pair(Tiles::warp_column() + sum.column(nt, 0));
        if (column >= p.width) continue;
        const bool both = column + 1 < p.width;
        #pragma unroll
        for (i32 mt = 0; mt < Tiles::MT; ++mt) {
            #pragma unroll
            for (i32 e = 0; e < 4; e += 2) {
                const i32 row = first_row + Tiles::warp_row() + sum.row(mt, e);
                if (row >= p.rows) continue;
                bf16* const y = static_cast<bf16*>(p.y) + row * p.y_stride + column;
                const f32 factor = factor_of<FACTORS>(p, row);
                f32 pair[2] = {gated<bf16>(p, column, sum.v[mt][nt][e] * factor, sum.v[mt][nt + 1][e] * factor)};
                if (both) pair[1] = gated<bf16>(p, column + 1, sum.v[mt][nt][e + 1] * factor, sum.v[mt][nt + 1][e + 1] * factor);
                if (paired) {
                    store_floats<2>(y, pair);
                } else {
                    y[0] = to_bf16(pair[0]);
                    if (both) y[1] = to_bf16(pair[1]);
                }
            }
        }
    }
}

// The same where eight neighbouring results lie together in 16 aligned bytes. Each lane's two results of four pairs of fragments become eight
// neighbouring ones, so that a quad stores 64 bytes of a row at once.
template <typename Tiles, bool FACTORS>
GK_DEVICE void store_tile_wide(const GatedMatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    constexpr i32 VISITS = 2 * Tiles::MT;   // rows of a lane
    static_assert(Tiles::NT % 8 == 0, "four pairs of fragments go together");
    #pragma unroll
    for (i32 g = 0; g < Tiles::NT / 8; ++g) {
        u32 words[VISITS][4] = {};
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            const i32 nt = 8 * g + 2 * i, column = first_column + GatedRows<bf16>::pair(Tiles::warp_column() + sum.column(nt, 0));
            if (column >= p.width) continue;
            #pragma unroll
            for (i32 v = 0; v < VISITS; ++v) {
                const i32 mt = v / 2, e = v % 2 * 2, row = first_row + Tiles::warp_row() + sum.row(mt, e);
                const f32 factor = row < p.rows ? factor_of<FACTORS>(p, row) : 0.0f;
                words[v][i] = mma_pack(gated<bf16>(p, column, sum.v[mt][nt][e] * factor, sum.v[mt][nt + 1][e] * factor),
                                       gated<bf16>(p, column + 1, sum.v[mt][nt][e + 1] * factor, sum.v[mt][nt + 1][e + 1] * factor));
            }
        }
        quad_transpose(words);
        const i32 column = first_column + Tiles::warp_column() / 2 + 32 * g + 8 * (lane_id() % 4);
        #pragma unroll
        for (i32 v = 0; v < VISITS; ++v) {
            const i32 row = first_row + Tiles::warp_row() + sum.row(v / 2, v % 2 * 2);
            if (row < p.rows && column < p.width)
                store_vec<4>(static_cast<u32*>(p.y) + (row * p.y_stride + column) / 2, Vec<u32, 4>{{words[v][0], words[v][1], words[v][2], words[v][3]}});
        }
    }
}

template <typename Tiles, bool FACTORS = false>
__global__ void __launch_bounds__(Tiles::THREADS) gated_matmul_mma(GatedMatMulParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    const i32 first_row = blockIdx.x * Tiles::ROWS, first_column = blockIdx.y * (Tiles::COLUMNS / 2);
    const typename Tiles::Accumulator sum = Tiles::run(
        RowsOf<bf16>{static_cast<const bf16*>(p.x), p.x_stride, first_row, p.rows},
        GatedRows<bf16>{static_cast<const bf16*>(p.w), p.w_stride, first_column, p.width}, p.k, matmul_tiles[0].v);
    store_tile<Tiles, FACTORS>(p, sum, first_row, first_column);
}

// A tile's columns are rows of w, eight of the gate and eight of up in turn: two for each result.
template <bool FACTORS>
__global__ void __launch_bounds__(WarpgroupTiles::THREADS, 1) gated_matmul_warpgroup(const __grid_constant__ GatedMatMulTensorParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    WarpgroupTiles::run(
        matmul_tiles[0].v, p.plain.rows, 2 * p.plain.width, p.plain.k,
        [&](bf16* x, bf16* w, Mbarrier* full, i32 first_row, i32 first_column, i32 first_k) {
            tensor_copy(x, p.x, full, first_k, first_row);
            tensor_copy(w, p.w, full, first_k, 0, 0, first_column / 16);
        },
        [&](const WarpgroupTiles::Accumulator& sum, i32 first_row, i32 first_column) {
            const bool wide = p.plain.y_stride % 8 == 0 && reinterpret_cast<u64>(p.plain.y) % 16 == 0;
            if (wide) store_tile_wide<WarpgroupTiles, FACTORS>(p.plain, sum, first_row, first_column / 2);
            else store_tile<WarpgroupTiles, FACTORS>(p.plain, sum, first_row, first_column / 2);
        });
}

template <typename T, bool FACTORS = false>
__global__ void __launch_bounds__(GeneralTile::THREADS) gated_matmul_general(GatedMatMulParams p) {
    const i32 first_row = blockIdx.x * GeneralTile::ROWS, first_column = blockIdx.y * (GeneralTile::COLUMNS / 2);
    f32 sum[4][4] = {};
    GeneralTile::run(RowsOf<T>{static_cast<const T*>(p.x), p.x_stride, first_row, p.rows},
                     HalvesOf<T>{static_cast<const T*>(p.w), p.w_stride, first_column, p.width}, p.k, sum);
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 2; ++j) {
            const i32 row = first_row + GeneralTile::row(i), column = first_column + GeneralTile::column(j);
            if (row >= p.rows || column >= p.width) continue;
            const f32 factor = factor_of<FACTORS>(p, row);
            static_cast<T*>(p.y)[row * p.y_stride + column] = from_float<T>(gated<T>(p, column, sum[i][j] * factor, sum[i][j + 2] * factor));
        }
    }
}
