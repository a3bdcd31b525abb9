// The backward pass of BlockDiagonalGates: with du_g = dgates[:, g·l ...) of gate g = 0 (input) and 1 (recurrence), per block h of the diagonal
//   dz[n, h·b + i]  <- round(dz[n, h·b + i] + sum_g sum_j du_g[n, h·b + j] · w_g[h, i, j])
//   parts[s, g, h·b + i, j] = sum over the rows n of slice s of z[n, h·b + i] · du_g[n, h·b + j]
// partial_sums adds the parts to the gradients of the weights, the first slice first. Those of the biases are column sums of dgates.
//
// Shapes       z, dz T [rows, l]; dgates T [rows, 2·l]; w_0, w_1 T [blocks, b, b] (in, out), l = blocks · b; parts f32 [slices, 2, l, b];
//              inner strides 1. slice_rows is a multiple of 32; slices · slice_rows >= rows.
// Kernels      gates_input_gradient_mma, gates_weight_gradient_mma          bf16; b a multiple of 8, and the strides of z, dgates and dz; addresses of 16 bytes.
//              gates_input_gradient_general, gates_weight_gradient_general  anything. No TF32: products of f32 are f32 products.
// Launch       gates_input_gradient_...   grid (ceil(rows / TILE), blocks · ceil(b / TILE)), TILE of the general ones 64.
//              gates_weight_gradient_...  grid (ceil(b / TILE)², 2 · blocks, slices).
//              Blocks: mma (32 · (TILE / WM) · (TILE / WN)), general (256). Dynamic shared memory: 480 · TILE bytes, 3 · 64 · (2 · TILE + 16) bytes.
// Aliasing     none.
// Determinism  the same bits for the same call: every output is one sum in an order that depends on b, or on rows and slices, alone. No atomics.
// Error        f32 accumulation, one rounding: dz one ulp of T plus 2·b · 2^-23 · sum |du · w| + 2^-23 · |dz|; parts rows · 2^-23 · sum |z · du|.
// Traffic      least: every operand once, dz twice. The mma kernels request dgates (twice) and z ceil(b / TILE) times, the weights
//              ceil(rows / TILE) times; the general ones b / 4 times, mostly from the caches.
#include "include/gradient_tiles.cuh"

struct BlockDiagonalGatesBackwardParams {
    const void* z;
    const void* input_weight;
    const void* recurrence_weight;
    const void* dgates;
    void* dz;
    f32* parts;
    i64 z_stride;
    i64 dgates_stride;
    i64 dz_stride;
    i32 rows;
    i32 blocks;
    i32 block_width;
    i32 slice_rows;
};

constexpr i32 STEP = 32;
constexpr i32 STAGES = 3;
constexpr i32 GENERAL_TILE = 64;

// A tile of dz: which block of the diagonal, which columns of it.
struct InputTile {
    i32 h, first_row, first_column;
    GK_DEVICE InputTile(const BlockDiagonalGatesBackwardParams& p, i32 tile) {
        const i32 tiles = ceil_div(p.block_width, tile);
        h = blockIdx.y / tiles;
        first_row = blockIdx.x * tile;
        first_column = blockIdx.y % tiles * tile;
    }
};

// A tile of a weight's gradient over one slice of rows.
struct WeightTile {
    i32 gate, h, first_row, first_column, first_m, last_m;
    GK_DEVICE WeightTile(const BlockDiagonalGatesBackwardParams& p, i32 tile) {
        const i32 tiles = ceil_div(p.block_width, tile);
        gate = blockIdx.y / p.blocks;
        h = blockIdx.y % p.blocks;
        first_row = blockIdx.x / tiles * tile;
        first_column = blockIdx.x % tiles * tile;
        first_m = blockIdx.z * p.slice_rows;
        last_m = min_of(p.rows, first_m + p.slice_rows);
    }

    // Where the sum at a row and column of this slice goes.
    GK_DEVICE f32* part(const BlockDiagonalGatesBackwardParams& p, i32 row, i32 column) const {
        const i64 line = (static_cast<i64>(blockIdx.z) * 2 + gate) * p.blocks * p.block_width + h * p.block_width + row;
        return p.parts + line * p.block_width + column;
    }
};

// A block's warps over a square tile.
template <i32 TILE, i32 WM, i32 WN>
struct TileWarps {
    static constexpr i32 THREADS = 32 * (TILE / WM) * (TILE / WN);
    using Accumulator = MmaAccumulator<WM / 16, WN / 8>;
    static GK_DEVICE i32 row() { return warp_id() % (TILE / WM) * WM; }
    static GK_DEVICE i32 column() { return warp_id() / (TILE / WM) * WN; }
};

template <typename T>
GK_DEVICE const T* gate_weight(const BlockDiagonalGatesBackwardParams& p, i32 gate, i32 h) {
    return static_cast<const T*>(gate == 0 ? p.input_weight : p.recurrence_weight) + static_cast<i64>(h) * p.block_width * p.block_width;
}

// The first column of block h in the gradient of a gate's logits.
template <typename T>
GK_DEVICE const T* gate_gradient(const BlockDiagonalGatesBackwardParams& p, i32 gate, i32 h) {
    return static_cast<const T*>(p.dgates) + (gate * p.blocks + h) * p.block_width;
}

template <typename T>
GK_DEVICE void add_to(T* p, f32 value) { *p = from_float<T>(to_float(*p) + value); }

template <i32 TILE, i32 WM, i32 WN>
__global__ void __launch_bounds__(TileWarps<TILE, WM, WN>::THREADS) gates_input_gradient_mma(BlockDiagonalGatesBackwardParams p) {
    using Warps = TileWarps<TILE, WM, WN>;
    constexpr i32 STRIDE = mma_stride(STEP), STAGE = 2 * TILE * STRIDE;   // a tile of dgates, then one of the weight
    extern __shared__ Vec<bf16, 8> gates_tiles[];
    bf16* const stages = gates_tiles[0].v;
    const i32 b = p.block_width;
    const InputTile tile(p, TILE);
    const i32 steps = ceil_div(b, STEP);   // of one gate
    typename Warps::Accumulator sum;
    sum.fill(0.0f);
    pipelined<STAGES>(
        2 * steps,
        [&](i32 step) {
            const i32 gate = step / steps, first_k = step % steps * STEP;
            bf16* const stage = stages + step % STAGES * STAGE;
            copy_tile<TILE, STEP, Warps::THREADS>(stage, {gate_gradient<bf16>(p, gate, tile.h), p.dgates_stride, p.rows, b}, tile.first_row, first_k);
            copy_tile<TILE, STEP, Warps::THREADS>(stage + TILE * STRIDE, {gate_weight<bf16>(p, gate, tile.h), b, b, b}, tile.first_column, first_k);
        },
        [&](i32 step) {
            const bf16* const stage = stages + step % STAGES * STAGE;
            mma_tile<STEP / 16>(sum, MmaRowsA{stage + Warps::row() * STRIDE, STRIDE}, MmaRowsB{stage + (TILE + Warps::column()) * STRIDE, STRIDE});
        });
    for_each_piece(sum, [&](i32 r, i32 c, const f32 (&piece)[8]) {
        const i32 row = tile.first_row + Warps::row() + r, column = tile.first_column + Warps::column() + c;
        if (row >= p.rows || column >= b) return;
        bf16* const dz = static_cast<bf16*>(p.dz) + row * p.dz_stride + tile.h * b + column;
        f32 total[8];
        load_floats<8>(dz, total);
        #pragma unroll
        for (i32 i = 0; i < 8; ++i) total[i] += piece[i];
        store_floats<8>(dz, total);
    });
}

template <i32 TILE, i32 WM, i32 WN>
__global__ void __launch_bounds__(TileWarps<TILE, WM, WN>::THREADS) gates_weight_gradient_mma(BlockDiagonalGatesBackwardParams p) {
    using Warps = TileWarps<TILE, WM, WN>;
    constexpr i32 STRIDE = mma_stride(TILE), STAGE = 2 * STEP * STRIDE;   // a tile of z, then one of dgates
    extern __shared__ Vec<bf16, 8> gates_tiles[];
    bf16* const stages = gates_tiles[0].v;
    const i32 b = p.block_width;
    const WeightTile tile(p, TILE);
    typename Warps::Accumulator sum;
    sum.fill(0.0f);
    pipelined<STAGES>(
        ceil_div(tile.last_m - tile.first_m, STEP),
        [&](i32 step) {
            const i32 m = tile.first_m + step * STEP;
            bf16* const stage = stages + step % STAGES * STAGE;
            copy_tile<STEP, TILE, Warps::THREADS>(stage, {static_cast<const bf16*>(p.z) + tile.h * b, p.z_stride, tile.last_m, b}, m, tile.first_row);
            copy_tile<STEP, TILE, Warps::THREADS>(stage + STEP * STRIDE, {gate_gradient<bf16>(p, tile.gate, tile.h), p.dgates_stride, tile.last_m, b}, m,
                                                  tile.first_column);
        },
        [&](i32 step) {
            const bf16* const stage = stages + step % STAGES * STAGE;
            mma_tile<STEP / 16>(sum, MmaColumnsA{stage + Warps::row(), STRIDE}, MmaColumnsB{stage + STEP * STRIDE + Warps::column(), STRIDE});
        });
    for_each_pair(sum, [&](i32 r, i32 c, f32 first, f32 second) {   // a quad's pairs are a whole sector
        const i32 row = tile.first_row + Warps::row() + r, column = tile.first_column + Warps::column() + c;
        const f32 pair[2] = {first, second};
        if (row < b && column < b) store_floats<2>(tile.part(p, row, column), pair);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) gates_input_gradient_general(BlockDiagonalGatesBackwardParams p) {
    const i32 b = p.block_width;
    const InputTile tile(p, GENERAL_TILE);
    const i32 first_row = tile.first_row + threadIdx.x / 16 * 4, first_column = tile.first_column + threadIdx.x % 16;
    if (first_row >= p.rows || first_column >= b) return;
    f32 sum[4][4] = {};
    for (i32 gate = 0; gate < 2; ++gate)
        general_product(sum, Factor<T>{gate_gradient<T>(p, gate, tile.h), p.dgates_stride, 1, p.rows}, first_row, Factor<T>{gate_weight<T>(p, gate, tile.h), b, 1, b},
                        first_column, 0, b);
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) {
            const i32 row = first_row + i, column = first_column + 16 * j;
            if (row < p.rows && column < b) add_to(static_cast<T*>(p.dz) + row * p.dz_stride + tile.h * b + column, sum[i][j]);
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(256) gates_weight_gradient_general(BlockDiagonalGatesBackwardParams p) {
    const i32 b = p.block_width;
    const WeightTile tile(p, GENERAL_TILE);
    const i32 first_row = tile.first_row + threadIdx.x / 16 * 4, first_column = tile.first_column + threadIdx.x % 16;
    if (first_row >= b || first_column >= b) return;
    f32 sum[4][4] = {};
    general_product(sum, Factor<T>{static_cast<const T*>(p.z) + tile.h * b, 1, p.z_stride, b}, first_row,
                    Factor<T>{gate_gradient<T>(p, tile.gate, tile.h), 1, p.dgates_stride, b}, first_column, tile.first_m, tile.last_m);
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        #pragma unroll
        for (i32 j = 0; j < 4; ++j) {
            const i32 row = first_row + i, column = first_column + 16 * j;
            if (row < b && column < b) *tile.part(p, row, column) = sum[i][j];
        }
    }
}
