// Sliding-window attention of several query heads over one key/value head: a call's queries over the state's ring and the call itself.
//
//   token t of head h, position p, sees positions j = first_visible … p of its own document, at most keys_visible of them:
//       s_j = (q . k_j) * scale ;  m = max s ;  w_j = round_T(exp(s_j - m)) ;  y = round_T(sum w_j v_j / sum w_j)
//   round_T makes the second product one of storage-type operands (for float32 it does nothing). The maximum is a running one over key
//   tiles of KEYS positions, tile i holding positions i*KEYS … i*KEYS + KEYS-1: absolute positions, so that a query meets the same tiles
//   in the same places however the sequence was cut into calls. Its bits depend on its own q, the keys and values that it sees and its
//   position; not on chunking, on its place in the call, on its neighbours, or on whether a key lies in the ring or in the call.
//   Padding rows (pos -1) get zeros. With log_sum_exp, for the backward pass, also ln sum_j exp(s_j), of the rounded weights; zero in padding rows.
//   Without a ring (base null) nothing precedes the call: a row's first token sees itself alone, and keys_visible has no bound.
//
// Source   local multi-query attention of De et al., Griffin, arXiv:2402.19427; the running maximum is Milakov and Gimelshein's, arXiv:1805.02867
// Shapes   qkv [tokens, (heads + 2) * head_dim], row stride qkv_stride: q heads, k, v; q and k already rotated; y [tokens, heads * head_dim],
//          row stride y_stride; ring of a state slot: keys T[ring_slots][head_dim], then values; position p in ring slot p mod ring_slots;
//          1 <= keys_visible <= ring_slots; log_sum_exp null or f32 [tokens, heads], row stride log_sum_exp_stride.
//          The ring holds the tokens before this call; ring_append adds the call's own afterwards.
// Launch   grid (ceil(tokens / tile_tokens), ceil(heads / tile_heads)); tile rows are (token, head), head fastest, tile_tokens * tile_heads of
//          at most ROWS; dynamic shared memory as WindowAttention.cs computes it. A tile that holds parts of several documents treats them
//          one after another.
// Variants window_attention: any head_dim up to 1024, both types, 128 threads; VEC = 16-byte accesses, VEC = 1 any alignment.
//          window_attention_mma: bfloat16, head_dim a multiple of 16 up to 256, 256 threads, everything 16-byte aligned; approx_exp2 for the weights.
//          One op uses one tile size per head_dim and variant; the variants differ in the order of the sums only.
// Aliasing y and log_sum_exp do not overlap each other, qkv or the ring; the ring is read only
// Error    half an ulp of y + 2 (u + (head_dim * A + keys_visible + 16) * 2^-23) * sum p_j |v_j|, with u = 2^-8 for bfloat16 (both sums are of rounded
//          weights) and 0 for float32, p the exact probabilities and A the largest scale * sum |q_c k_jc| over the visible keys; of log_sum_exp
//          u + (head_dim * A + keys_visible + 16 + |log_sum_exp|) * 2^-22
// Bytes    q and y once; keys and values of the tiles seen: (tokens of a tile + keys_visible + 2 KEYS) * 2 * head_dim elements per tile
#include "include/attention_mma.cuh"
#include "include/window_attention.cuh"

// The tile's share of the output, when it is padding.
template <typename T, int HEAD_DIM, int VEC>
GK_DEVICE void zero_token(const WindowAttentionParams& p, i32 t, i32 head, i32 heads) {
    T* y = static_cast<T*>(p.y) + t * p.y_stride + static_cast<i64>(head) * HEAD_DIM;
    for (i32 c = threadIdx.x * VEC; c < heads * HEAD_DIM; c += blockDim.x * VEC) store_fill<VEC>(y + c, 0.0f);
    if (p.log_sum_exp == nullptr) return;
    for (i32 h = threadIdx.x; h < heads; h += blockDim.x) p.log_sum_exp[t * p.log_sum_exp_stride + head + h] = 0.0f;
}

// ---- general variant: f32 arithmetic, operands widened in shared memory --------------------------------------------------------------

// How 128 threads share a tile of ROWS queries by KEYS keys (scores) and ROWS queries by DIM channels (output).
template <int HEAD_DIM, int ROWS, int KEYS>
struct AttentionTile {
    static constexpr int THREADS = 128;
    static constexpr int DIM = ceil_div(HEAD_DIM, 4) * 4;
    static constexpr int STRIDE = (DIM / 4 | 1) * 4;                // f32 elements; an odd number of 16-byte words has no bank conflicts
    static constexpr int WEIGHT_STRIDE = KEYS + 4;
    static constexpr int KEY_LANES = KEYS < 16 ? KEYS : 16;         // neighbouring lanes that share a query
    static constexpr int LANE_KEYS = KEYS / KEY_LANES;
    static constexpr int ROW_GROUPS = THREADS / KEY_LANES;
    static constexpr int LANE_ROWS = ceil_div(ROWS, ROW_GROUPS);
    static constexpr int QUADS = DIM / 4;                           // channels in fours
    static constexpr int QUAD_LANES = min_of(QUADS, THREADS);
    static constexpr int OUT_QUADS = ceil_div(QUADS, THREADS);      // per thread
    static constexpr int OUT_GROUPS = THREADS / QUAD_LANES;
    static constexpr int OUT_ROWS = ceil_div(ROWS, OUT_GROUPS);     // per thread
};

// Widens rows of head_dim elements into shared memory; absent rows and the channels past head_dim become zeros.
template <int HEAD_DIM, int DIM, int STRIDE, int ROWS, int VEC, typename Source>
GK_DEVICE void stage_rows(f32* tile, const Source& source) {
    constexpr int PIECES = HEAD_DIM / VEC;
    for (int i = threadIdx.x; i < ROWS * PIECES; i += 128) {
        const int row = i / PIECES;
        const int c = (i - row * PIECES) * VEC;
        f32 x[VEC];
        if (const auto* from = source(row)) {
            load_floats<VEC>(from + c, x);
        } else {
            #pragma unroll
            for (int e = 0; e < VEC; ++e) x[e] = 0.0f;
        }
        #pragma unroll
        for (int e = 0; e < VEC; ++e) tile[row * STRIDE + c + e] = x[e];
    }
    if constexpr (DIM > HEAD_DIM) {
        for (int i = threadIdx.x; i < ROWS * (DIM - HEAD_DIM); i += 128) {
            const int row = i / (DIM - HEAD_DIM);
            tile[row * STRIDE + HEAD_DIM + (i - row * (DIM - HEAD_DIM))] = 0.0f;
        }
    }
}

template <typename T, int HEAD_DIM, int ROWS, int KEYS, int VEC>
__global__ void __launch_bounds__(128, 1) window_attention(WindowAttentionParams p) {
    using Tile = AttentionTile<HEAD_DIM, ROWS, KEYS>;
    extern __shared__ f32 shared[];
    f32* queries = shared;                                          // [ROWS][STRIDE]
    f32* keys = queries + ROWS * Tile::STRIDE;                      // [KEYS][STRIDE]
    f32* values = keys + KEYS * Tile::STRIDE;                       // [KEYS][STRIDE]
    f32* weights = values + KEYS * Tile::STRIDE;                    // [ROWS][WEIGHT_STRIDE]
    f32* factors = weights + ROWS * Tile::WEIGHT_STRIDE;            // [ROWS]

    const int tid = threadIdx.x;
    const int key_lane = tid % Tile::KEY_LANES, row_group = tid / Tile::KEY_LANES;
    const int quad = tid % Tile::QUAD_LANES, out_group = tid / Tile::QUAD_LANES;
    const i32 first_head = blockIdx.y * p.tile_heads;
    const i32 heads = min_of(p.tile_heads, p.heads - first_head);
    const i32 tile_end = static_cast<i32>(min_of<i64>((static_cast<i64>(blockIdx.x) + 1) * p.tile_tokens, p.rows.tokens));

    for (i32 t = blockIdx.x * p.tile_tokens; t < tile_end;) {
        if (p.rows.pos[t] < 0) {
            zero_token<T, HEAD_DIM, VEC>(p, t++, first_head, heads);
            continue;
        }
        const Segment s = segment_of(p, t, tile_end);
        const i32 rows = (s.end - s.first) * heads;
        const KeySource<T> key_rows = key_source<T, HEAD_DIM>(p, s, 0), value_rows = key_source<T, HEAD_DIM>(p, s, 1);
        __syncthreads();                                            // the segment before is done with shared memory
        stage_rows<HEAD_DIM, Tile::DIM, Tile::STRIDE, ROWS, VEC>(queries, [&](int row) -> const T* {
            if (row >= rows) return nullptr;
            return static_cast<const T*>(p.qkv) + (s.first + row / heads) * p.qkv_stride + static_cast<i64>(first_head + row % heads) * HEAD_DIM;
        });

        f32 maximum[Tile::LANE_ROWS], total[Tile::LANE_ROWS];
        f32 out[Tile::OUT_QUADS][Tile::OUT_ROWS][4];
        #pragma unroll
        for (int i = 0; i < Tile::LANE_ROWS; ++i) { maximum[i] = minus_infinity(); total[i] = 0.0f; }
        #pragma unroll
        for (int q = 0; q < Tile::OUT_QUADS; ++q)
            #pragma unroll
            for (int i = 0; i < Tile::OUT_ROWS; ++i)
                #pragma unroll
                for (int e = 0; e < 4; ++e) out[q][i][e] = 0.0f;

        const i32 last_position = s.position + (s.end - s.first) - 1;
        const i32 first_key = first_visible(s.position, p.keys_visible, s.oldest);
        for (i32 tile = first_key / KEYS; tile <= last_position / KEYS; ++tile) {
            const i32 origin = tile * KEYS;                         // position of the tile's first key
            const auto present = [&](int j) { return origin + j >= first_key && origin + j <= last_position; };
            stage_rows<HEAD_DIM, Tile::DIM, Tile::STRIDE, KEYS, VEC>(keys, [&](int j) -> const T* { return present(j) ? key_rows.at(origin + j) : nullptr; });
            stage_rows<HEAD_DIM, Tile::DIM, Tile::STRIDE, KEYS, VEC>(values, [&](int j) -> const T* { return present(j) ? value_rows.at(origin + j) : nullptr; });
            __syncthreads();

            f32 dot[Tile::LANE_ROWS][Tile::LANE_KEYS][4] = {};
            for (int c = 0; c < Tile::DIM; c += 4) {
                f32 q[Tile::LANE_ROWS][4], k[Tile::LANE_KEYS][4];
                #pragma unroll
                for (int i = 0; i < Tile::LANE_ROWS; ++i) load_floats<4>(queries + min_of(row_group + Tile::ROW_GROUPS * i, ROWS - 1) * Tile::STRIDE + c, q[i]);
                #pragma unroll
                for (int j = 0; j < Tile::LANE_KEYS; ++j) load_floats<4>(keys + (key_lane + Tile::KEY_LANES * j) * Tile::STRIDE + c, k[j]);
                #pragma unroll
                for (int i = 0; i < Tile::LANE_ROWS; ++i)
                    #pragma unroll
                    for (int j = 0; j < Tile::LANE_KEYS; ++j)
                        #pragma unroll
                        for (int e = 0; e < 4; ++e) dot[i][j][e] = fmaf(q[i][e], k[j][e], dot[i][j][e]);
            }

            f32 score[Tile::LANE_ROWS][Tile::LANE_KEYS], tile_maximum[Tile::LANE_ROWS];
            #pragma unroll
            for (int i = 0; i < Tile::LANE_ROWS; ++i) {
                const i32 row = row_group + Tile::ROW_GROUPS * i;
                const i32 position = s.position + row / heads;
                const i32 from = first_visible(position, p.keys_visible, s.oldest);
                tile_maximum[i] = minus_infinity();
                #pragma unroll
                for (int j = 0; j < Tile::LANE_KEYS; ++j) {
                    const i32 key = origin + key_lane + Tile::KEY_LANES * j;
                    const f32 sum = (dot[i][j][0] + dot[i][j][1]) + (dot[i][j][2] + dot[i][j][3]);
                    score[i][j] = row < rows && key >= from && key <= position ? sum * p.scale_log2 : minus_infinity();
                    tile_maximum[i] = fmaxf(tile_maximum[i], score[i][j]);
                }
            }
            warp_max<Tile::KEY_LANES>(tile_maximum);
            #pragma unroll
            for (int i = 0; i < Tile::LANE_ROWS; ++i) {
                const i32 row = row_group + Tile::ROW_GROUPS * i;
                f32 base;
                const f32 factor = raise_maximum(maximum[i], tile_maximum[i], base);
                total[i] *= factor;
                #pragma unroll
                for (int j = 0; j < Tile::LANE_KEYS; ++j) {
                    const f32 weight = round_to<T>(exp2f(score[i][j] - base));
                    total[i] += weight;
                    if (row < ROWS) weights[row * Tile::WEIGHT_STRIDE + key_lane + Tile::KEY_LANES * j] = weight;
                }
                if (row < ROWS && key_lane == 0) factors[row] = factor;
            }
            __syncthreads();

            if (out_group < Tile::OUT_GROUPS) {
                #pragma unroll
                for (int i = 0; i < Tile::OUT_ROWS; ++i) {
                    const f32 factor = factors[min_of(out_group + Tile::OUT_GROUPS * i, ROWS - 1)];
                    #pragma unroll
                    for (int q = 0; q < Tile::OUT_QUADS; ++q)
                        #pragma unroll
                        for (int e = 0; e < 4; ++e) out[q][i][e] *= factor;
                }
                for (int j = 0; j < KEYS; ++j) {
                    #pragma unroll
                    for (int q = 0; q < Tile::OUT_QUADS; ++q) {
                        f32 v[4];
                        load_floats<4>(values + j * Tile::STRIDE + min_of(quad + Tile::QUAD_LANES * q, Tile::QUADS - 1) * 4, v);
                        #pragma unroll
                        for (int i = 0; i < Tile::OUT_ROWS; ++i) {
                            const f32 weight = weights[min_of(out_group + Tile::OUT_GROUPS * i, ROWS - 1) * Tile::WEIGHT_STRIDE + j];
                            #pragma unroll
                            for (int e = 0; e < 4; ++e) out[q][i][e] = fmaf(weight, v[e], out[q][i][e]);
                        }
                    }
                }
            }
            __syncthreads();
        }

        warp_sum<Tile::KEY_LANES>(total);
        #pragma unroll
        for (int i = 0; i < Tile::LANE_ROWS; ++i) {
            const i32 row = row_group + Tile::ROW_GROUPS * i;
            if (row >= ROWS || key_lane != 0) continue;
            factors[row] = 1.0f / total[i];
            if (row < rows) store_log_sum_exp(p, s.first + row / heads, first_head + row % heads, maximum[i], total[i]);
        }
        __syncthreads();
        #pragma unroll
        for (int i = 0; i < Tile::OUT_ROWS; ++i) {
            const i32 row = out_group + Tile::OUT_GROUPS * i;
            if (out_group >= Tile::OUT_GROUPS || row >= rows) continue;
            T* y = static_cast<T*>(p.y) + (s.first + row / heads) * p.y_stride + static_cast<i64>(first_head + row % heads) * HEAD_DIM;
            #pragma unroll
            for (int q = 0; q < Tile::OUT_QUADS; ++q) {
                const int c = (quad + Tile::QUAD_LANES * q) * 4;
                f32 result[4];
                #pragma unroll
                for (int e = 0; e < 4; ++e) result[e] = out[q][i][e] * factors[row] + 0.0f;   // + 0: a zero has one sign
                if constexpr (VEC > 1) {
                    if (c < HEAD_DIM) store_floats<4>(y + c, result);
                } else {
                    #pragma unroll
                    for (int e = 0; e < 4; ++e)
                        if (c + e < HEAD_DIM) y[c + e] = from_float<T>(result[e]);
                }
            }
        }
        t = s.end;
    }
}

// ---- bfloat16 variant on matrix instructions -----------------------------------------------------------------------------------------

template <int HEAD_DIM, int KEYS>
__global__ void __launch_bounds__(256) window_attention_mma(WindowAttentionParams p) {
    constexpr int THREADS = 256, ROWS = THREADS / 2, STRIDE = mma_stride(HEAD_DIM), KT = HEAD_DIM / 16, NT = HEAD_DIM / 8;
    extern __shared__ Vec<bf16, 8> shared_tiles[];
    bf16* queries = shared_tiles[0].v;                              // [ROWS][STRIDE]
    bf16* keys = queries + ROWS * STRIDE;                           // [KEYS][STRIDE]
    bf16* values = keys + KEYS * STRIDE;                            // [KEYS][STRIDE]

    const int first_row = warp_id() * 16;                           // the warp's 16 queries
    const i32 first_head = blockIdx.y * p.tile_heads;
    const i32 heads = min_of(p.tile_heads, p.heads - first_head);
    const i32 tile_end = static_cast<i32>(min_of<i64>((static_cast<i64>(blockIdx.x) + 1) * p.tile_tokens, p.rows.tokens));

    for (i32 t = blockIdx.x * p.tile_tokens; t < tile_end;) {
        if (p.rows.pos[t] < 0) {
            zero_token<bf16, HEAD_DIM, 8>(p, t++, first_head, heads);
            continue;
        }
        const Segment s = segment_of(p, t, tile_end);
        const i32 rows = (s.end - s.first) * heads;
        const bool active = first_row < rows;                       // the same in all lanes of a warp
        const KeySource<bf16> key_rows = key_source<bf16, HEAD_DIM>(p, s, 0), value_rows = key_source<bf16, HEAD_DIM>(p, s, 1);
        const i32 last_position = s.position + (s.end - s.first) - 1;
        const i32 first_key = first_visible(s.position, p.keys_visible, s.oldest);
        const i32 last_tile = last_position / KEYS;
        const auto stage = [&](bf16* tile, const KeySource<bf16>& source, i32 index) {
            stage_keys_async<HEAD_DIM, KEYS, THREADS>(tile, source, index * KEYS, first_key, last_position, p.qkv);
        };

        __syncthreads();                                            // the segment before is done with shared memory
        stage_rows_async<HEAD_DIM, ROWS, THREADS>(queries, p.qkv, [&](int row) -> const bf16* {
            if (row >= rows) return nullptr;
            return static_cast<const bf16*>(p.qkv) + (s.first + row / heads) * p.qkv_stride + static_cast<i64>(first_head + row % heads) * HEAD_DIM;
        });
        stage(keys, key_rows, first_key / KEYS);
        stage(values, value_rows, first_key / KEYS);

        LaneSoftmax softmax;
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            softmax.position[i] = s.position + (first_row + MmaAccumulator<1, 1>::row(0, 2 * i)) / heads;
            softmax.from[i] = first_visible(softmax.position[i], p.keys_visible, s.oldest);
        }
        softmax.unmasked_first = first_visible(s.position + min_of(first_row + 15, rows - 1) / heads, p.keys_visible, s.oldest);
        softmax.unmasked_last = s.position + first_row / heads;
        MmaAccumulator<1, NT> out;
        out.fill(0.0f);

        for (i32 tile = first_key / KEYS; tile <= last_tile; ++tile) {
            async_wait<1>();
            __syncthreads();                                        // queries and keys have landed
            MmaAccumulator<1, KEYS / 8> score;
            if (active) {
                score.fill(0.0f);
                mma_tile<KT>(score, MmaRowsA{queries + first_row * STRIDE, STRIDE}, MmaRowsB{keys, STRIDE});

                f32 factor[2];
                softmax.soften(score.v[0], tile * KEYS, p.scale_log2, factor);
                if (!warp_all(factor[0] == 1.0f && factor[1] == 1.0f)) {    // seldom, once a maximum has been found
                    #pragma unroll
                    for (int n = 0; n < NT; ++n)
                        #pragma unroll
                        for (int e = 0; e < 4; ++e) out.v[0][n][e] *= factor[e / 2];
                }
            }
            async_wait<0>();
            __syncthreads();                                        // values have landed, and nobody reads the keys any more
            if (tile < last_tile) stage(keys, key_rows, tile + 1);
            if (active) mma_tile<KEYS / 16>(out, mma_pack_a(score), MmaColumnsB{values, STRIDE});
            __syncthreads();                                        // nobody reads the values any more
            if (tile < last_tile) stage(values, value_rows, tile + 1);
        }

        if (active) {
            warp_sum<4>(softmax.total);
            f32 factor[2];
            bf16* y[2];
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                const i32 row = first_row + MmaAccumulator<1, 1>::row(0, 2 * i);
                const i64 token = s.first + row / heads, head = first_head + row % heads;
                factor[i] = 1.0f / softmax.total[i];
                y[i] = row < rows ? static_cast<bf16*>(p.y) + token * p.y_stride + head * HEAD_DIM : nullptr;
                if (row < rows && lane_id() % 4 == 0) store_log_sum_exp(p, token, head, softmax.maximum[i], softmax.total[i]);
            }
            store_lane_rows(out.v[0], factor, y);
        }
        t = s.end;
    }
}
