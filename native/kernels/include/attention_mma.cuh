// What the attention kernels on matrix instructions share: rows of shared tiles filled by asynchronous copies, and the softmax of a tile of scores.
#pragma once
#include "include/approx.cuh"
#include "include/async_copy.cuh"
#include "include/attention.cuh"
#include "include/mma.cuh"
#include "include/quad.cuh"

// Starts the copy of rows of head_dim elements into shared memory; absent rows become zeros, and nothing of theirs is read. Not unrolled: what each row
// asks and adds up to its address would take registers from the sums that wait.
template <int HEAD_DIM, int ROWS, int THREADS, typename Source>
GK_DEVICE void stage_rows_async(bf16* tile, const void* anywhere, const Source& source) {
    constexpr int PIECES = HEAD_DIM / 8;
    #pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES;
        const int c = (i - row * PIECES) * 8;
        const bf16* from = source(row);
        async_copy_16(tile + row * mma_stride(HEAD_DIM) + c, from != nullptr ? from + c : anywhere, from != nullptr ? 16 : 0);
    }
    async_commit();
}

// The same for a tile of neighbouring rows that all exist, `stride` elements apart: without a question or an address anew for each.
template <int HEAD_DIM, int ROWS, int THREADS>
GK_DEVICE void stage_neighbours_async(bf16* tile, const bf16* rows, i64 stride) {
    constexpr int PIECES = HEAD_DIM / 8, COUNT = ROWS * PIECES, STEP = THREADS / PIECES;
    if constexpr (THREADS % PIECES == 0 && ROWS % STEP == 0) {      // a thread stays in its column: all its addresses count from two
        const int row = threadIdx.x / PIECES, c = (threadIdx.x - row * PIECES) * 8;
        const SharedPlace to(tile + row * mma_stride(HEAD_DIM) + c);
        const bf16* const from = rows + row * stride + c;
        #pragma unroll
        for (int step = 0; step < ROWS / STEP; ++step)
            async_copy_16(to.past(step * STEP * mma_stride(HEAD_DIM) * static_cast<int>(sizeof(bf16))), from + step * STEP * stride);
    } else {
        #pragma unroll
        for (int first = 0; first < COUNT; first += THREADS) {
            const int i = first + static_cast<int>(threadIdx.x);
            if (COUNT % THREADS != 0 && i >= COUNT) break;
            const int row = i / PIECES, c = (i - row * PIECES) * 8;
            async_copy_16(tile + row * mma_stride(HEAD_DIM) + c, rows + row * stride + c);
        }
    }
    async_commit();
}

// Starts the copy of keys (or values) of KEYS positions from `origin` on; those outside [first, last] become zeros, and nothing of theirs is read.
template <int HEAD_DIM, int KEYS, int THREADS>
GK_DEVICE void stage_keys_async(bf16* tile, const KeySource<bf16>& source, i32 origin, i32 first, i32 last, const void* anywhere) {
    const bool in_call = origin >= source.call_position;
    if (origin >= first && origin + KEYS - 1 <= last && (in_call || source.ring_holds(origin, KEYS))) {
        stage_neighbours_async<HEAD_DIM, KEYS, THREADS>(tile, source.at(origin), in_call ? source.call_stride : HEAD_DIM);
        return;
    }
    stage_rows_async<HEAD_DIM, KEYS, THREADS>(tile, anywhere, [&](int row) -> const bf16* {
        const i32 position = origin + row;
        return position >= first && position <= last ? source.at(position) : nullptr;
    });
}

// The running softmax of a lane's two queries, whose scores lie as fragments of an accumulator. Exponentials are to base 2.
struct LaneSoftmax {
    f32 maximum[2] = {minus_infinity(), minus_infinity()};
    f32 total[2] = {0.0f, 0.0f};
    i32 position[2], from[2];               // a query sees keys [from, position]
    i32 unmasked_first, unmasked_last;      // all keys between are seen by all of the warp's queries

    // Scores of keys from `origin` on become weights, rounded to bf16; `factor` is what the sums before are to be multiplied by.
    template <int NT>
    GK_DEVICE void soften(f32 (&score)[NT][4], i32 origin, f32 scale_log2, f32 (&factor)[2]) {
        if (origin < unmasked_first || origin + 8 * NT - 1 > unmasked_last) {
            #pragma unroll
            for (int n = 0; n < NT; ++n)
                #pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const i32 key = origin + MmaAccumulator<1, 1>::column(n, e);
                    if (key < from[e / 2] || key > position[e / 2]) score[n][e] = minus_infinity();
                }
        }
        f32 tile_maximum[2] = {minus_infinity(), minus_infinity()}, base[2];
        #pragma unroll
        for (int n = 0; n < NT; ++n)
            #pragma unroll
            for (int e = 0; e < 4; ++e) tile_maximum[e / 2] = fmaxf(tile_maximum[e / 2], score[n][e]);
        warp_max<4>(tile_maximum);
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            factor[i] = raise_maximum(maximum[i], tile_maximum[i] * scale_log2, base[i]);
            total[i] *= factor[i];
        }
        #pragma unroll
        for (int n = 0; n < NT; ++n)
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                f32* const x = &score[n][2 * i];
                f32 pair[2];
                mma_unpack(mma_pack(approx_exp2(fmaf(x[0], scale_log2, -base[i])), approx_exp2(fmaf(x[1], scale_log2, -base[i]))), pair);
                #pragma unroll
                for (int e = 0; e < 2; ++e) {
                    x[e] = pair[e];
                    total[i] += pair[e];
                }
            }
    }
};

// Stores a lane's two rows of an accumulator, each times its factor; a null row is left out. All lanes of the warp call it.
template <int NT>
GK_DEVICE void store_lane_rows(const f32 (&sum)[NT][4], const f32 (&factor)[2], bf16* const (&rows)[2]) {
    const auto pair = [&](int n, int i) { return mma_pack(sum[n][2 * i] * factor[i] + 0.0f, sum[n][2 * i + 1] * factor[i] + 0.0f); };   // + 0: a zero has one sign
    if constexpr (NT % 4 == 0) {
        #pragma unroll
        for (int first = 0; first < NT; first += 4) {
            u32 words[2][4];                // four fragments of a row become one piece of eight columns a lane: whole sectors
            #pragma unroll
            for (int n = 0; n < 4; ++n)
                #pragma unroll
                for (int i = 0; i < 2; ++i) words[i][n] = pair(first + n, i);
            quad_transpose(words);
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                if (rows[i] != nullptr)
                    store_vec<4>(reinterpret_cast<u32*>(rows[i] + 8 * (first + lane_id() % 4)), Vec<u32, 4>{{words[i][0], words[i][1], words[i][2], words[i][3]}});
            }
        }
    } else {
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (rows[i] == nullptr) continue;
            #pragma unroll
            for (int n = 0; n < NT; ++n) store_vec<1>(reinterpret_cast<u32*>(rows[i] + MmaAccumulator<1, 1>::column(n, 0)), Vec<u32, 1>{{pair(n, i)}});
        }
    }
}
