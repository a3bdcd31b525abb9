// The tile of a block-diagonal product for both gates, shared by the kernels that make gate logits: some rows, and 64 columns of each gate, so that
// both share the tile of z. A warp takes half the rows and 16 columns of each gate, which lie side by side in shared memory: column s of the tile
// is column s / 32 · 16 + s % 16 of gate s / 16 % 2.
#pragma once
#include "include/async_copy.cuh"
#include "include/mma.cuh"
#include "include/quad.cuh"
#include "include/vec.cuh"

constexpr i32 GATES_BN = 64;       // columns of each gate in a tile
constexpr i32 GATES_BK = 32;
constexpr i32 GATES_THREADS = 256;
constexpr i32 GATES_W_STRIDE = mma_stride(2 * GATES_BN);
constexpr i32 GATES_W_STAGE = GATES_BK * GATES_W_STRIDE;

// What makes logits of z in one block of the diagonal.
struct GateBlockWeights {
    const bf16* input_weight;      // [blocks, b, b]
    const bf16* input_bias;        // [l]
    const bf16* recurrence_weight;
    const bf16* recurrence_bias;
    i32 width;                     // l
    i32 b;
    i32 h;

    // Starts copying GATES_BK rows of both weights, from first_k on, and COLUMNS columns of each. Neighbouring lanes copy one row of the tile and meet
    // every bank once in each quarter.
    template <i32 COLUMNS = GATES_BN>
    GK_DEVICE void load(bf16* w_tile, i32 first_column, i32 first_k) const {
        constexpr i32 PIECES = 2 * COLUMNS / 8, ROWS = GATES_THREADS / PIECES;
        const i32 s = static_cast<i32>(threadIdx.x) % PIECES * 8, row = static_cast<i32>(threadIdx.x) / PIECES;
        const i32 column = first_column + s / 32 * 16 + s % 16;
        const bf16* const w = s / 16 % 2 == 0 ? input_weight : recurrence_weight;
        const bf16* from = w + (static_cast<i64>(h) * b + first_k + row) * b + column;
        bf16* to = w_tile + row * mma_stride(2 * COLUMNS) + s;
        #pragma unroll
        for (i32 k = 0; k < GATES_BK; k += ROWS) {
            const bool inside = first_k + row + k < b && column < b;
            async_copy_16(to, inside ? from : w, inside ? 16 : 0);
            from += ROWS * b;
            to += ROWS * mma_stride(2 * COLUMNS);
        }
    }
};

// A warp's share of a tile of ROWS rows.
template <i32 ROWS>
struct GateTile {
    static constexpr i32 MT = ROWS / 32;
    using Accumulator = MmaAccumulator<MT, 4>;   // two fragments of each gate

    static GK_DEVICE i32 warp_row() { return warp_id() % 2 * (ROWS / 2); }
    static GK_DEVICE i32 warp_column() { return warp_id() / 2 * 32; }   // in the tile of shared columns

    // Adds the products of GATES_BK terms. z_tile: the tile's first row at the first of those terms.
    static GK_DEVICE void multiply(Accumulator& sum, const bf16* z_tile, i32 z_stride, const bf16* w_tile) {
        mma_tile<GATES_BK / 16>(sum, MmaRowsA{z_tile + warp_row() * z_stride, z_stride}, MmaColumnsB{w_tile + warp_column(), GATES_W_STRIDE});
    }

    // Adds the biases and writes the logits. The four fragments of a row become one piece of eight columns a lane: two lanes a gate, a whole sector.
    static GK_DEVICE void store(const Accumulator& sum, const GateBlockWeights& weights, i32 first_column, bf16* gates, i64 stride, i32 first_row, i32 rows) {
        const i32 warp_first = first_column + warp_column() / 2;
        u32 words[2 * MT][4];
        #pragma unroll
        for (i32 nt = 0; nt < 4; ++nt) {
            const i32 column = warp_first + nt % 2 * 8 + sum.column(0, 0);
            f32 bias[2] = {};
            if (column < weights.b) load_floats<2>((nt >= 2 ? weights.recurrence_bias : weights.input_bias) + weights.h * weights.b + column, bias);
            #pragma unroll
            for (i32 visit = 0; visit < 2 * MT; ++visit) {
                const f32* const pair = &sum.v[visit / 2][nt][visit % 2 * 2];
                words[visit][nt] = mma_pack(pair[0] + bias[0], pair[1] + bias[1]);
            }
        }
        quad_transpose(words);
        const i32 piece = lane_id() % 4, column = warp_first + piece % 2 * 8;
        if (column >= weights.b) return;
        bf16* const to = gates + (piece >= 2 ? weights.width : 0) + weights.h * weights.b + column;
        #pragma unroll
        for (i32 visit = 0; visit < 2 * MT; ++visit) {
            const i32 row = first_row + warp_row() + sum.row(visit / 2, visit % 2 * 2);
            if (row < rows) store_vec<4>(reinterpret_cast<u32*>(to + row * stride), Vec<u32, 4>{{words[visit][0], words[visit][1], words[visit][2], words[visit][3]}});
        }
    }
};
