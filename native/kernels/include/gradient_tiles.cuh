// Pieces that the gradients of matrix products share: tiles copied as they lie in memory, and a general product with any strides.
#pragma once
#include "include/async_copy.cuh"
#include "include/mma.cuh"
#include "include/quad.cuh"
#include "include/vec.cuh"

// A matrix of bf16 whose columns, row stride and address come in multiples of 8 elements.
struct TileSource {
    const bf16* data;
    i64 stride;
    i32 rows;
    i32 columns;
};

// Rows [row, +ROWS) and columns [column, +COLUMNS) into a shared tile with rows mma_stride(COLUMNS) apart; what lies outside the matrix becomes
// zero. In narrow tiles eight neighbouring lanes copy one column of 16 bytes, in wide ones 128 bytes of a row: both meet every bank once.
template <i32 ROWS, i32 COLUMNS, i32 THREADS>
GK_DEVICE void copy_tile(bf16* tile, const TileSource& source, i32 row, i32 column) {
    constexpr i32 PIECES = COLUMNS / 8;
    #pragma unroll
    for (i32 first = 0; first < ROWS * PIECES; first += THREADS) {
        const i32 i = first + static_cast<i32>(threadIdx.x);
        if (ROWS * PIECES % THREADS != 0 && i >= ROWS * PIECES) break;
        const i32 r = PIECES < 8 ? i / (8 * PIECES) * 8 + i % 8 : i / PIECES;
        const i32 c = (PIECES < 8 ? i / 8 % PIECES : i % PIECES) * 8;
        const bool inside = row + r < source.rows && column + c < source.columns;
        const bf16* const from = inside ? source.data + (row + r) * source.stride + column + c : source.data;
        async_copy_16(tile + r * mma_stride(COLUMNS) + c, from, inside ? 16 : 0);
    }
}

// Calls multiply(step's tiles) for every step of a sum, with STAGES - 1 steps of copies under way. load(step) queues the copies of one.
template <i32 STAGES, typename Load, typename Multiply>
GK_DEVICE void pipelined(i32 steps, const Load& load, const Multiply& multiply) {
    for (i32 step = 0; step < STAGES - 1; ++step) {
        if (step < steps) load(step);
        async_commit();
    }
    for (i32 step = 0; step < steps; ++step) {
        async_wait<STAGES - 2>();
        __syncthreads();   // this step's tiles are there for all, and nobody still reads the ones that the next load replaces
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        async_commit();
        multiply(step);
    }
    async_wait<0>();
}

// Visits a thread's accumulators as pairs of neighbouring columns: body(row, column, first, second), relative to the warp's tile.
template <i32 MT, i32 NT, typename Body>
GK_DEVICE void for_each_pair(const MmaAccumulator<MT, NT>& sum, const Body& body) {
    #pragma unroll
    for (i32 mt = 0; mt < MT; ++mt) {
        #pragma unroll
        for (i32 e = 0; e < 4; e += 2) {
            #pragma unroll
            for (i32 nt = 0; nt < NT; ++nt) body(sum.row(mt, e), sum.column(nt, e), sum.v[mt][nt][e], sum.v[mt][nt][e + 1]);
        }
    }
}

// Visits a warp's sums in pieces of eight neighbouring columns of a row, one piece a lane, a quad's four side by side: body(row, column, piece).
template <i32 MT, i32 NT, typename Body>
GK_DEVICE void for_each_piece(const MmaAccumulator<MT, NT>& sum, const Body& body) {
    static_assert(NT % 4 == 0, "four fragments go together");
    #pragma unroll
    for (i32 first = 0; first < NT; first += 4) {
        u32 words[4 * MT][4];   // of visit v to a row: the first columns of its fragments' pairs in 2v, the second ones in 2v + 1
        #pragma unroll
        for (i32 i = 0; i < 4 * MT * 4; ++i) words[i / 4][i % 4] = __float_as_uint(sum.v[i / 16][first + i % 4][i / 4 % 4]);
        quad_transpose(words);
        #pragma unroll
        for (i32 visit = 0; visit < 2 * MT; ++visit) {
            f32 piece[8];
            #pragma unroll
            for (i32 i = 0; i < 8; ++i) piece[i] = __uint_as_float(words[2 * visit + i % 2][i / 2]);
            body(sum.row(visit / 2, visit % 2 * 2), 8 * (first + lane_id() % 4), piece);
        }
    }
}

// One side of a general product: element (i, k) at data + i · stride + k · k_stride, i < count.
template <typename T>
struct Factor {
    const T* data;
    i64 stride;
    i64 k_stride;
    i32 count;
};

// The sums over k in [first_k, last_k) of four rows of a, from `row` on, with four rows of b, 16 apart from `column` on; added to `sum`.
// Rows past the end repeat the last.
template <typename T>
GK_DEVICE void general_product(f32 (&sum)[4][4], const Factor<T>& a, i32 row, const Factor<T>& b, i32 column, i32 first_k, i32 last_k) {
    const T* x[4];
    const T* w[4];
    #pragma unroll
    for (i32 i = 0; i < 4; ++i) {
        x[i] = a.data + min_of(row + i, a.count - 1) * a.stride;
        w[i] = b.data + min_of(column + 16 * i, b.count - 1) * b.stride;
    }
    for (i64 k = first_k; k < last_k; ++k) {
        f32 left[4], right[4];
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            left[i] = to_float(x[i][k * a.k_stride]);
            right[i] = to_float(w[i][k * b.k_stride]);
        }
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            #pragma unroll
            for (i32 j = 0; j < 4; ++j) sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
        }
    }
}
