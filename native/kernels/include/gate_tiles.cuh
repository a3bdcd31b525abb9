// The tile of a block-diagonal product for both gates, shared by the kernels that make gate logits: 64 rows, and 64 columns of each gate, so that
// both share the tile of z. A warp takes 32 rows and 16 columns of each gate, which lie side by side in shared memory: column s of the tile
// is column s / 32 · 16 + s % 16 of gate s / 16 % 2.
#pragma once
#include "include/async_copy.cuh"
#include "include/mma.cuh"

constexpr i32 GATES_BM = 64;       // rows of a tile
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

// A warp's share of a tile.
struct GateTile {
    static GK_DEVICE i32 warp_row() { return warp_id() % 2 * 32; }
    static GK_DEVICE i32 warp_column() { return warp_id() / 2 * 32; }   // in the tile of shared columns

    // Adds the products of GATES_BK terms. z_tile: the tile's first row at the first of those terms.
    static GK_DEVICE void multiply(MmaAccumulator<2, 4>& sum, const bf16* z_tile, i32 z_stride, const bf16* w_tile) {
        mma_tile<GATES_BK / 16>(sum, MmaRowsA{z_tile + warp_row() * z_stride, z_stride}, MmaColumnsB{w_tile + warp_column(), GATES_W_STRIDE});
    }

    // Adds the biases and writes the logits.
    static GK_DEVICE void store(const MmaAccumulator<2, 4>& sum, const GateBlockWeights& weights, i32 first_column, bf16* gates, i64 stride, i32 first_row, i32 rows) {
        #pragma unroll
        for (i32 nt = 0; nt < 4; ++nt) {
            const i32 s = warp_column() + 8 * nt;
            const i32 column = first_column + s / 32 * 16 + s % 16 + sum.column(0, 0);
            if (column >= weights.b) continue;
            const bool recurrence = nt >= 2;
            f32 bias[2];
            load_floats<2>((recurrence ? weights.recurrence_bias : weights.input_bias) + weights.h * weights.b + column, bias);
            #pragma unroll
            for (i32 mt = 0; mt < 2; ++mt) {
                #pragma unroll
                for (i32 e = 0; e < 4; e += 2) {
                    const i32 row = first_row + warp_row() + sum.row(mt, e);
                    if (row >= rows) continue;
                    const f32 pair[2] = {sum.v[mt][nt][e] + bias[0], sum.v[mt][nt][e + 1] + bias[1]};
                    store_floats<2>(gates + row * stride + (recurrence ? weights.width : 0) + weights.h * weights.b + column, pair);
                }
            }
        }
    }
};
