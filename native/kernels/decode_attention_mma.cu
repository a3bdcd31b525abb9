// Decode attention in bfloat16 on matrix instructions: up to 16 heads, which share their keys, are the 16 rows of the first operand. The contract is
// decode_attention.cu's.
//
// A block of four warps goes over its split in tiles of KEYS slots:
//   scores    warp w multiplies the queries with KEYS/2 keys (w % 2), over half of the channels (w / 2); the halves meet in shared memory
//   softmax   every warp takes all scores, in the layout of the operand that they become: no exchange but the scores'
//   values    warp w multiplies the weights with its quarter of the channels. A weight is the sum of two bfloat16 numbers, its own rounding and what that
//             left off, as 16 more rows: at most 2^-17 of it is lost, and the values are fetched from shared memory once.
#include "include/attention_mma.cuh"
#include "include/decode_attention.cuh"

// Starts the copy of a tile of ring rows; what the row does not see becomes zeros.
template <int HEAD_DIM, int KEYS>
GK_DEVICE void stage_slots(bf16* tile, const bf16* ring, i32 first_slot, const SplitSlots<KEYS>& slots) {
    if (slots.shows_all(first_slot)) {
        stage_neighbours_async<HEAD_DIM, KEYS, 128>(tile, ring + static_cast<i64>(first_slot) * HEAD_DIM, HEAD_DIM);
        return;
    }
    stage_rows_async<HEAD_DIM, KEYS, 128>(tile, ring, [&](int row) -> const bf16* {
        return slots.shows(first_slot + row) ? ring + static_cast<i64>(first_slot + row) * HEAD_DIM : nullptr;
    });
}

template <int HEAD_DIM, int HEADS, int KEYS>
__global__ void __launch_bounds__(128, KEYS == 32 ? 3 : 2) decode_attention_mma(DecodeAttentionParams p) {
    constexpr int WARPS = 4, ROWS = 16, STRIDE = mma_stride(HEAD_DIM), HALF = HEAD_DIM / 2, CHANNELS = HEAD_DIM / WARPS, NT = CHANNELS / 8;
    constexpr int SCORE_STRIDE = KEYS + 8;                          // pairs of four rows' quads meet every bank once
    static_assert(HEAD_DIM % 32 == 0 && HEADS <= ROWS && KEYS % 32 == 0, "a quarter of the channels a warp, half of the keys in whole pairs of fragments");
    extern __shared__ Vec<bf16, 8> shared_tiles[];
    bf16* queries = shared_tiles[0].v;                              // [ROWS][STRIDE]
    bf16* keys = queries + ROWS * STRIDE;                           // [KEYS][STRIDE]
    bf16* values = keys + KEYS * STRIDE;                            // [KEYS][STRIDE]
    f32* scores = reinterpret_cast<f32*>(values + KEYS * STRIDE);   // [2][ROWS][SCORE_STRIDE]

    begin_dependent();
    const i32 split = blockIdx.x, row = blockIdx.y;
    const i32 first_head = blockIdx.z * HEADS, heads = min_of(HEADS, p.heads - first_head);
    const SplitSlots<KEYS> slots(p, split, row);
    const bf16* const ring_keys = reinterpret_cast<const bf16*>(slot_address(p.ring, p.rows.slot[row]));
    const bf16* const ring_values = ring_keys + static_cast<i64>(p.ring_slots) * HEAD_DIM;
    const int warp = warp_id(), key_half = warp % 2 * (KEYS / 2), channel_half = warp / 2;
    const int pair_row = MmaAccumulator<1, 1>::row(0, 0), pair_column = MmaAccumulator<1, 1>::column(0, 0);   // of the lane's first pair in a fragment

    i32 tile = slots.next_tile(slots.from);
    if (tile < slots.to) {
        stage_rows_async<HEAD_DIM, ROWS, 128>(queries, p.qkv, [&](int head) -> const bf16* {
            return head < heads ? static_cast<const bf16*>(p.qkv) + row * p.qkv_stride + static_cast<i64>(first_head + head) * HEAD_DIM : nullptr;
        });
        stage_slots<HEAD_DIM, KEYS>(keys, ring_keys, tile, slots);
        stage_slots<HEAD_DIM, KEYS>(values, ring_values, tile, slots);
    }
    MmaAccumulator<2, NT> out;                                      // of the weights' roundings, and of the rest
    out.fill(0.0f);
    f32 maximum[2] = {minus_infinity(), minus_infinity()}, total[2] = {0.0f, 0.0f};   // of heads pair_row and pair_row + 8
    while (tile < slots.to) {
        const i32 next = slots.next_tile(tile + KEYS);
        async_wait<1>();
        __syncthreads();                                            // queries and keys have landed
        MmaAccumulator<1, KEYS / 16> dot;
        dot.fill(0.0f);
        mma_tile<HALF / 16>(dot, MmaRowsA{queries + channel_half * HALF, STRIDE}, MmaRowsB{keys + key_half * STRIDE + channel_half * HALF, STRIDE});
        #pragma unroll
        for (int n = 0; n < KEYS / 16; ++n)
            #pragma unroll
            for (int i = 0; i < 2; ++i)
                store_vec<2>(scores + (channel_half * ROWS + pair_row + 8 * i) * SCORE_STRIDE + key_half + 8 * n + pair_column,
                             Vec<f32, 2>{{dot.v[0][n][2 * i], dot.v[0][n][2 * i + 1]}});
        async_wait<0>();
        __syncthreads();                                            // values have landed, scores are there, nobody reads the keys any more
        if (next < slots.to) stage_slots<HEAD_DIM, KEYS>(keys, ring_keys, next, slots);

        f32 weight[KEYS / 8][2][2], tile_maximum[2] = {minus_infinity(), minus_infinity()}, base[2], factor[2];
        #pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                const f32* const score = scores + (pair_row + 8 * i) * SCORE_STRIDE + 8 * n + pair_column;
                f32 other[2];
                load_floats<2>(score, weight[n][i]);
                load_floats<2>(score + ROWS * SCORE_STRIDE, other);
                #pragma unroll
                for (int e = 0; e < 2; ++e) weight[n][i][e] = (weight[n][i][e] + other[e]) * p.scale_log2;
            }
        if (!slots.shows_all(tile)) {                               // at the arc's ends only
            #pragma unroll
            for (int n = 0; n < KEYS / 8; ++n)
                #pragma unroll
                for (int e = 0; e < 2; ++e)
                    if (!slots.shows(tile + 8 * n + pair_column + e)) weight[n][0][e] = weight[n][1][e] = minus_infinity();
        }
        #pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            #pragma unroll
            for (int i = 0; i < 2; ++i) tile_maximum[i] = fmaxf(tile_maximum[i], fmaxf(weight[n][i][0], weight[n][i][1]));
        warp_max<4>(tile_maximum);
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            factor[i] = raise_maximum(maximum[i], tile_maximum[i], base[i]);
            total[i] *= factor[i];
        }
        MmaFragmentA<2, KEYS / 16> a;
        #pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                f32(&w)[2] = weight[n][i], rounded[2];
                #pragma unroll
                for (int e = 0; e < 2; ++e) {
                    w[e] = approx_exp2(w[e] - base[i]);
                    total[i] += w[e];
                }
                const u32 pair = mma_pack(w[0], w[1]);
                mma_unpack(pair, rounded);
                a.v[0][n / 2][2 * (n % 2) + i] = pair;
                a.v[1][n / 2][2 * (n % 2) + i] = mma_pack(w[0] - rounded[0], w[1] - rounded[1]);
            }
        if (!warp_all(factor[0] == 1.0f && factor[1] == 1.0f)) {    // seldom, once a maximum has been found
            #pragma unroll
            for (int m = 0; m < 2; ++m)
                #pragma unroll
                for (int n = 0; n < NT; ++n)
                    #pragma unroll
                    for (int e = 0; e < 4; ++e) out.v[m][n][e] *= factor[e / 2];
        }
        mma_tile<KEYS / 16>(out, a, MmaColumnsB{values + warp * CHANNELS, STRIDE});
        __syncthreads();                                            // nobody reads values or scores any more
        if (next < slots.to) stage_slots<HEAD_DIM, KEYS>(values, ring_values, next, slots);
        tile = next;
    }

    warp_sum<4>(total);
    const SplitResults<bf16, HEAD_DIM, 32 * WARPS, 4> results(p, row, first_head, heads);
    #pragma unroll
    for (int n = 0; n < NT; ++n)
        #pragma unroll
        for (int e = 0; e < 4; ++e) out.v[0][n][e] += out.v[1][n][e];
    if (p.splits == 1) {
        f32 share[2];
        bf16* y[2];
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            share[i] = results.share(total[i]);
            y[i] = pair_row + 8 * i < heads ? results.result(pair_row + 8 * i) + warp * CHANNELS : nullptr;
        }
        store_lane_rows(out.v[0], share, y);
        return;
    }
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
        const i32 head = pair_row + 8 * i;
        if (head >= heads) continue;
        if (warp == 0 && pair_column == 0) results.leave_statistics(head, split, maximum[i], total[i]);
        f32* const to = results.values(head, split) + warp * CHANNELS + pair_column;
        #pragma unroll
        for (int n = 0; n < NT; ++n) store_vec<2>(to + 8 * n, Vec<f32, 2>{{out.v[0][n][2 * i], out.v[0][n][2 * i + 1]}});
    }
    results.merge(split);
}
