// The convolution of one block of the diagonal over a tile of 64 tokens, in shared memory: what the kernels that feed z to the gates begin with.
//   x'_t = round(x_t + x_bias);  z_t = round(bias + sum_k weight[:, 3-k] · x'_{t-k}), k = 0 … min(3, available(t)),
// with the terms, the order and the roundings of conv1d.cu. Padding, and what lies past the tile, gets zeros.
//
// 256 threads. x goes to rows 0 … 66 of the tile, row j holding token first - 3 + j, and becomes z in place. A warp takes 8 tokens, a lane 4 channels.
#pragma once
#include "include/async_copy.cuh"
#include "include/conv_window.cuh"
#include "include/gate_tiles.cuh"

constexpr i32 CONV_TAPS = 4;
constexpr i32 CONV_HALO = CONV_TAPS - 1;
constexpr i32 CONV_BM = 64;                                   // tokens of a tile
constexpr i32 CONV_STEPS = CONV_BM / (GATES_THREADS / 32);    // tokens of a warp
constexpr i32 CONV_VEC = 4;                                   // channels of a lane

struct ConvTile {
    const bf16* x;
    const bf16* x_bias;      // [width], or null
    const bf16* weight;      // [width, 4]
    const bf16* bias;        // [width]
    const PackedRows& rows;
    const SlotMemory& state;
    i64 x_stride;
    i32 width;
    i32 b;                   // channels of a block of the diagonal
    i32 h;                   // which of them
    i32 first;               // the tile's tokens
    i32 last;

    using Inputs = Vec<bf16, CONV_VEC>[CONV_STEPS + CONV_HALO];

    // Starts copying x. Rows outside the call are left alone.
    GK_DEVICE void stage(bf16* tile, i32 stride) const {
        const i32 pieces = b / VEC16<bf16>;
        for (i32 i = threadIdx.x; i < (CONV_BM + CONV_HALO) * pieces; i += GATES_THREADS) {
            const i32 row = i / pieces, c = i % pieces * VEC16<bf16>, t = first - CONV_HALO + row;
            if (t >= 0 && t < last) async_copy_16(tile + row * stride + c, x + t * x_stride + h * b + c);
        }
    }

    // Turns x into z. place(r): the row in which token first + r ends. z and positions as in convolve_span. Columns up to a multiple of GATES_BK become zeros.
    template <typename Place>
    GK_DEVICE void convolve(bf16* tile, i32 stride, const i32* positions, bf16* z, i64 z_stride, const Place& place) const {
        const i32 columns = ceil_div(b, GATES_BK) * GATES_BK, mine = warp_id() * CONV_STEPS;
        for (i32 pass = 0; pass < columns; pass += 32 * CONV_VEC) {
            const i32 column = pass + lane_id() * CONV_VEC;
            Inputs inputs = {};
            if (column < b) {
                f32 shift[CONV_VEC];
                if (x_bias != nullptr) load_floats<CONV_VEC>(x_bias + h * b + column, shift);
                #pragma unroll
                for (i32 j = 0; j < CONV_STEPS + CONV_HALO; ++j) {
                    const i32 t = first + mine - CONV_HALO + j;
                    if (t < 0 || t >= last) continue;
                    inputs[j] = load_vec<CONV_VEC>(tile + (mine + j) * stride + column);
                    if (x_bias == nullptr) continue;
                    #pragma unroll
                    for (i32 i = 0; i < CONV_VEC; ++i) inputs[j][i] = from_float<bf16>(to_float(inputs[j][i]) + shift[i]);
                }
            }
            __syncthreads();   // every warp has read what its neighbours overwrite
            const auto out = [&](i32 n) { return tile + place(mine + n) * stride + column; };
            if (column < b) {
                convolve_span(inputs, positions + mine, first + mine, h * b + column, z, z_stride, out);
            } else if (column < columns) {
                #pragma unroll
                for (i32 n = 0; n < CONV_STEPS; ++n) store_fill<CONV_VEC>(out(n), 0.0f);
            }
        }
    }

private:
    // z at a lane's channels of the warp's tokens, from the x' of those and of the three before. positions: of these tokens. z: where a copy of it goes, or null.
    template <typename Out>
    GK_DEVICE void convolve_span(const Inputs& inputs, const i32* positions, i32 from, i32 c, bf16* z, i64 z_stride, const Out& out) const {
        f32 w[CONV_TAPS][CONV_VEC], shift[CONV_VEC];
        load_taps<bf16, CONV_VEC, CONV_TAPS>(weight + static_cast<i64>(c) * CONV_TAPS, w);
        load_floats<CONV_VEC>(bias + c, shift);
        i32 row = from < last ? row_of(rows, from) : 0;
        i32 row_first = rows.row_start[row], row_end = rows.row_start[row + 1];
        // Nearly all spans lie inside a document, three tokens and more behind its start, and each of their tokens sees the three before it.
        bool inner = from - CONV_HALO >= row_first && from + CONV_STEPS <= min_of(row_end, last);
        for (i32 n = 0; inner && n < CONV_STEPS; ++n) inner = positions[n] >= CONV_HALO;
        #pragma unroll
        for (i32 n = 0; n < CONV_STEPS; ++n) {
            const i32 t = from + n;
            f32 sum[CONV_VEC];
            #pragma unroll
            for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = shift[i];
            if (inner) {
                #pragma unroll
                for (i32 k = 0; k < CONV_TAPS; ++k) {
                    #pragma unroll
                    for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = fmaf(w[k][i], to_float(inputs[n + CONV_HALO - k][i]), sum[i]);
                }
            } else {
                i32 reach = -1;
                if (t < last) {
                    while (t >= row_end) {
                        ++row;
                        row_first = row_end;
                        row_end = rows.row_start[row + 1];
                    }
                    reach = min_of(available(rows, row, t), CONV_HALO);
                }
                #pragma unroll
                for (i32 k = 0; k < CONV_TAPS; ++k) {
                    if (k > reach) break;
                    f32 earlier[CONV_VEC];
                    if (t - k >= row_first) {
                        #pragma unroll
                        for (i32 i = 0; i < CONV_VEC; ++i) earlier[i] = to_float(inputs[n + CONV_HALO - k][i]);
                    } else {
                        conv_history<bf16, CONV_VEC>(slot_address(state, rows.slot[row]), CONV_TAPS, row_first - (t - k), width, c, earlier);
                    }
                    #pragma unroll
                    for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = fmaf(w[k][i], earlier[i], sum[i]);
                }
                if (reach < 0) {
                    #pragma unroll
                    for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = 0.0f;
                }
            }
            store_floats<CONV_VEC>(out(n), sum);
            if (z != nullptr && t < last) store_floats<CONV_VEC>(z + t * z_stride + c, sum);
        }
    }
};
