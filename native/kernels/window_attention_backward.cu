// Backward pass of window_attention over rows that start afresh: gradients of the rotated q, k and v from that of y.
//
//   with s_ij = scale · (q_i . k_j), p_ij = exp(s_ij - log_sum_exp_i), D_i = Σ_c dy_ic y_ic and ds_ij = p_ij ((dy_i . v_j) - D_i), i over the
//   (token, head) pairs of the queries and j over the keys that each sees:
//       dq_i = round(scale Σ_j round_T(ds_ij) k_j) ;  dk_j = round(scale Σ_i round_T(ds_ij) q_i) ;  dv_j = round(Σ_i round_T(p_ij) dy_i)
//   round_T makes the second products ones of storage-type operands (for float32 it does nothing). The one key head serves all query heads, so
//   dk and dv sum over them. A token sees the keys_visible newest tokens of its own document in its own row, itself included; nothing precedes
//   the call. Padding rows (pos -1) get zeros and nothing of theirs is read.
//
// Shapes   qkv, dqkv [tokens, (heads + 2) * head_dim]: q heads, k, v; y, dy [tokens, heads * head_dim]; log_sum_exp f32 [tokens, heads], natural;
//          delta f32 [tokens, heads], adjacent: workspace for D; inner strides 1; keys_visible >= 1.
// Launch   window_attention_delta first, then the two others in any order, 128 threads.
//          window_attention_delta:            grid (ceil(tokens * heads / 128)), a thread for each (token, head)
//          window_attention_backward_queries: grid (ceil(tokens * heads / (128 / LANES))), LANES threads for each (token, head)
//          window_attention_backward_keys:    grid (ceil(tokens / (128 / LANES))), LANES threads for each token
//          window_attention_backward_queries_mma: grid (ceil(tokens / tile_tokens), ceil(heads / tile_heads)), tile_tokens * tile_heads of at most ROWS
//          window_attention_backward_keys_mma:    grid (ceil(tokens / 64), head_dim / OUT_DIM), a tile of at most ROWS queries at a time
//          with dynamic shared memory as WindowAttentionBackward.cs computes it.
// Variants LANES neighbouring threads share the channels of a head; VEC = 16-byte accesses, VEC = 1 any alignment; LANES = 1 meets nobody.
//          _mma: bfloat16, head_dim a multiple of 16 up to 256, everything 16-byte aligned. Tiles of keys and of queries lie at absolute positions.
// Aliasing dqkv overlaps nothing
// Determinism sums run over ascending keys, and over ascending tokens with the heads of each in order (in the mma variants by tiles of them): the bits of
//          a token's gradients depend on its own document alone, not on its place in the call or on its neighbours; equal bits on every run.
// Error    with u = 2^-9 for bfloat16 and 0 for float32, e = 2^-23, A the largest scale * sum |q_c k_jc| of a query, n the terms of the sum,
//          P_ij = (u + (head_dim * A + |log_sum_exp| + 16) e) p_ij and
//          S_ij = P_ij (|dy_i . v_j| + |D_i|) + p_ij (u sum |dy_c y_c| + head_dim e (sum |dy_c v_jc| + sum |dy_c y_c|)):
//          one rounding plus 2 scale sum_j (S_ij + n e |ds_ij|) |k_j| for dq, 2 scale sum_i (S_ij + n e |ds_ij|) |q_i| for dk and
//          2 sum_i (P_ij + n e p_ij) |dy_i| for dv
// Bytes    keys and values once for every query that sees them, queries and dy once for every key that they see; what caches do not hold is read again
#include "include/attention_mma.cuh"

struct WindowAttentionBackwardParams {
    const void* qkv;
    const void* y;
    const void* dy;
    const f32* log_sum_exp;
    void* dqkv;
    f32* delta;
    PackedRows rows;
    i64 qkv_stride;
    i64 y_stride;
    i64 dy_stride;
    i64 log_sum_exp_stride;
    i64 dqkv_stride;
    i32 heads;
    i32 keys_visible;
    i32 tile_tokens;         // queries of a tile in the mma variants: (token, head) pairs, head fastest …
    i32 tile_heads;          // … of so many heads
    f32 scale;               // head_dim^-1/2
    f32 scale_log2;          // scale * log2(e): scores are taken to base 2
};

constexpr int BACKWARD_THREADS = 128;

// One thread's share of the channels of a head, widened: LANES threads take VEC channels each in turn.
template <int HEAD_DIM, int LANES, int VEC>
struct HeadShare {
    static constexpr int PARTS = LANES == 1 ? 16 : 4;      // sums at a time: a machine with wide vectors likes many
    static constexpr int PIECES = ceil_div(HEAD_DIM, LANES * VEC);
    static constexpr int SIZE = ceil_div(PIECES * VEC, PARTS) * PARTS;
    f32 v[SIZE];

    GK_DEVICE void clear() {
        #pragma unroll
        for (int i = 0; i < SIZE; ++i) v[i] = 0.0f;
    }

    static GK_DEVICE int channel(int piece) { return (piece * LANES + static_cast<int>(threadIdx.x) % LANES) * VEC; }
    static GK_DEVICE bool exists(int piece) { return HEAD_DIM % (LANES * VEC) == 0 || channel(piece) < HEAD_DIM; }

    template <typename T>
    GK_DEVICE void load(const T* head) {
        #pragma unroll
        for (int piece = 0; piece < PIECES; ++piece) {
            f32 x[VEC];
            if (exists(piece)) {
                load_floats<VEC>(head + channel(piece), x);
            } else {
                #pragma unroll
                for (int e = 0; e < VEC; ++e) x[e] = 0.0f;
            }
            #pragma unroll
            for (int e = 0; e < VEC; ++e) v[piece * VEC + e] = x[e];
        }
        #pragma unroll
        for (int i = PIECES * VEC; i < SIZE; ++i) v[i] = 0.0f;
    }

    template <typename T>
    GK_DEVICE void store(T* head, f32 factor) const {
        #pragma unroll
        for (int piece = 0; piece < PIECES; ++piece) {
            if (!exists(piece)) continue;
            f32 x[VEC];
            #pragma unroll
            for (int e = 0; e < VEC; ++e) x[e] = v[piece * VEC + e] * factor;
            store_floats<VEC>(head + channel(piece), x);
        }
    }

    GK_DEVICE f32 dot(const HeadShare& other) const {
        f32 sum[PARTS] = {};
        #pragma unroll
        for (int i = 0; i < SIZE; i += PARTS)
            #pragma unroll
            for (int e = 0; e < PARTS; ++e) sum[e] = fmaf(v[i + e], other.v[i + e], sum[e]);
        return tree_sum<PARTS>(sum);
    }

    GK_DEVICE void add(f32 factor, const HeadShare& other) {
        #pragma unroll
        for (int i = 0; i < SIZE; ++i) v[i] = fmaf(factor, other.v[i], v[i]);
    }
};

// Both products of a query and a key, for all threads that share them.
template <int LANES>
GK_DEVICE void add_lanes(f32 (&products)[2]) {
    if constexpr (LANES > 1) warp_sum<LANES>(products);
}

// How often the threads of a warp go round together, when this one has `count` to do.
template <int LANES>
GK_DEVICE i32 rounds_of_warp(i32 count) {
    if constexpr (LANES > 1) return warp_max(count);
    return count;
}

GK_DEVICE f32 probability(const WindowAttentionBackwardParams& p, f32 product, f32 log_sum_exp) {
    return exp2f(product * p.scale_log2 - log_sum_exp * 1.4426950f);
}

template <typename T, int HEAD_DIM, int VEC>
__global__ void __launch_bounds__(BACKWARD_THREADS, 1) window_attention_delta(WindowAttentionBackwardParams p) {
    const i64 unit = static_cast<i64>(blockIdx.x) * BACKWARD_THREADS + threadIdx.x;
    const i64 token = unit / p.heads;
    const i64 column = unit % p.heads * HEAD_DIM;
    if (token >= p.rows.tokens || p.rows.pos[token] < 0) return;
    f32 sum[VEC] = {};
    #pragma unroll 4
    for (int c = 0; c < HEAD_DIM; c += VEC) {
        f32 y[VEC], dy[VEC];
        load_floats<VEC>(static_cast<const T*>(p.y) + token * p.y_stride + column + c, y);
        load_floats<VEC>(static_cast<const T*>(p.dy) + token * p.dy_stride + column + c, dy);
        #pragma unroll
        for (int e = 0; e < VEC; ++e) sum[e] = fmaf(y[e], dy[e], sum[e]);
    }
    p.delta[unit] = tree_sum<VEC>(sum);
}

template <typename T, int HEAD_DIM, int LANES, int VEC>
__global__ void __launch_bounds__(BACKWARD_THREADS, 1) window_attention_backward_queries(WindowAttentionBackwardParams p) {
    using Share = HeadShare<HEAD_DIM, LANES, VEC>;
    const i64 unit = static_cast<i64>(blockIdx.x) * (BACKWARD_THREADS / LANES) + threadIdx.x / LANES;
    const bool exists = unit < static_cast<i64>(p.rows.tokens) * p.heads;
    const i32 token = exists ? static_cast<i32>(unit / p.heads) : 0;
    const i64 column = unit % p.heads * HEAD_DIM;
    const T* qkv = static_cast<const T*>(p.qkv);
    const bool real = exists && p.rows.pos[token] >= 0;

    i32 count = 0;                                                  // keys that it sees, the last of them its own
    Share q, dy, dq;
    f32 log_sum_exp = 0.0f, delta = 0.0f;
    dq.clear();
    if (real) {
        count = min_of(token - document_start(p.rows, row_of(p.rows, token), token) + 1, p.keys_visible);
        q.load(qkv + token * p.qkv_stride + column);
        dy.load(static_cast<const T*>(p.dy) + token * p.dy_stride + column);
        log_sum_exp = p.log_sum_exp[token * p.log_sum_exp_stride + unit % p.heads];
        delta = p.delta[unit];
    } else {
        q.clear();
        dy.clear();
    }
    const T* keys = qkv + static_cast<i64>(p.heads) * HEAD_DIM;
    const i32 rounds = rounds_of_warp<LANES>(count);
    for (i32 i = 0; i < rounds; ++i) {
        Share k, v;
        f32 products[2] = {};
        if (i < count) {
            const T* key = keys + (token - count + 1 + i) * p.qkv_stride;
            k.load(key);
            v.load(key + HEAD_DIM);
            products[0] = q.dot(k);
            products[1] = dy.dot(v);
        }
        add_lanes<LANES>(products);
        if (i < count) dq.add(round_to<T>(probability(p, products[0], log_sum_exp) * (products[1] - delta)), k);
    }
    if (exists) dq.store(static_cast<T*>(p.dqkv) + token * p.dqkv_stride + column, p.scale);
}

template <typename T, int HEAD_DIM, int LANES, int VEC>
__global__ void __launch_bounds__(BACKWARD_THREADS, 1) window_attention_backward_keys(WindowAttentionBackwardParams p) {
    using Share = HeadShare<HEAD_DIM, LANES, VEC>;
    const i64 unit = static_cast<i64>(blockIdx.x) * (BACKWARD_THREADS / LANES) + threadIdx.x / LANES;
    const bool exists = unit < p.rows.tokens;
    const i32 token = exists ? static_cast<i32>(unit) : 0;
    const i64 column = static_cast<i64>(p.heads) * HEAD_DIM;
    const T* qkv = static_cast<const T*>(p.qkv);

    i32 count = 0;                                                  // tokens that see it, itself first
    Share k, v, dk, dv;
    dk.clear();
    dv.clear();
    if (exists && p.rows.pos[token] >= 0) {
        count = min_of(segment_at(p.rows, token, p.rows.tokens).end - token, p.keys_visible);
        k.load(qkv + token * p.qkv_stride + column);
        v.load(qkv + token * p.qkv_stride + column + HEAD_DIM);
    } else {
        k.clear();
        v.clear();
    }
    const i32 rounds = rounds_of_warp<LANES>(count);
    for (i32 i = 0; i < rounds; ++i) {
        const i64 query = static_cast<i64>(token) + i;
        for (i32 head = 0; head < p.heads; ++head) {
            Share q, dy;
            f32 products[2] = {};
            if (i < count) {
                q.load(qkv + query * p.qkv_stride + static_cast<i64>(head) * HEAD_DIM);
                dy.load(static_cast<const T*>(p.dy) + query * p.dy_stride + static_cast<i64>(head) * HEAD_DIM);
                products[0] = q.dot(k);
                products[1] = dy.dot(v);
            }
            add_lanes<LANES>(products);
            if (i < count) {
                const f32 weight = probability(p, products[0], p.log_sum_exp[query * p.log_sum_exp_stride + head]);
                dv.add(round_to<T>(weight), dy);
                dk.add(round_to<T>(weight * (products[1] - p.delta[query * p.heads + head])), q);
            }
        }
    }
    if (!exists) return;
    T* gradient = static_cast<T*>(p.dqkv) + token * p.dqkv_stride + column;
    dk.store(gradient, p.scale);
    dv.store(gradient + HEAD_DIM, 1.0f);
}

// ---- bfloat16 variants on matrix instructions ----------------------------------------------------------------------------------------

GK_DEVICE const bf16* query_row(const WindowAttentionBackwardParams& p, i64 token, i32 head, i32 head_dim) {
    return static_cast<const bf16*>(p.qkv) + token * p.qkv_stride + static_cast<i64>(head) * head_dim;
}

GK_DEVICE const bf16* slope_row(const WindowAttentionBackwardParams& p, i64 token, i32 head, i32 head_dim) {
    return static_cast<const bf16*>(p.dy) + token * p.dy_stride + static_cast<i64>(head) * head_dim;
}

// A warp's 16 rows of a gradient, from `first` on of those below `rows`; `row_at` gives their addresses.
template <int NT, typename RowAt>
GK_DEVICE void store_gradient(const MmaAccumulator<1, NT>& sum, i32 first, i32 rows, f32 factor, const RowAt& row_at) {
    const f32 factors[2] = {factor, factor};
    bf16* gradient[2];
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
        const i32 row = first + MmaAccumulator<1, 1>::row(0, 2 * i);
        gradient[i] = row < rows ? row_at(row) : nullptr;
    }
    store_lane_rows(sum.v[0], factors, gradient);
}

template <int HEAD_DIM, int ROWS, int KEYS>
__global__ void __launch_bounds__(ROWS * 2, 1) window_attention_backward_queries_mma(WindowAttentionBackwardParams p) {
    constexpr int THREADS = ROWS * 2, STRIDE = mma_stride(HEAD_DIM), KT = HEAD_DIM / 16;
    extern __shared__ bf16 query_tiles[];
    bf16* queries = query_tiles;                                    // [ROWS][STRIDE]
    bf16* slopes = queries + ROWS * STRIDE;                         // [ROWS][STRIDE]
    bf16* keys = slopes + ROWS * STRIDE;                            // [KEYS][STRIDE]
    bf16* values = keys + KEYS * STRIDE;                            // [KEYS][STRIDE]

    const int first_row = warp_id() * 16;                           // the warp's 16 queries
    const i32 first_head = blockIdx.y * p.tile_heads;
    const i32 heads = min_of(p.tile_heads, p.heads - first_head);
    const i32 tile_end = static_cast<i32>(min_of<i64>((static_cast<i64>(blockIdx.x) + 1) * p.tile_tokens, p.rows.tokens));
    const i64 column = static_cast<i64>(first_head) * HEAD_DIM;

    for (i32 t = blockIdx.x * p.tile_tokens; t < tile_end;) {
        if (p.rows.pos[t] < 0) {
            bf16* gradient = static_cast<bf16*>(p.dqkv) + t++ * p.dqkv_stride + column;
            for (i32 c = threadIdx.x * 8; c < heads * HEAD_DIM; c += THREADS * 8) store_fill<8>(gradient + c, 0.0f);
            continue;
        }
        const Segment s = segment_at(p.rows, t, tile_end);
        const i32 rows = (s.end - s.first) * heads;
        const bool active = first_row < rows;                       // the same in all lanes of a warp
        const i32 last_position = s.position + (s.end - s.first) - 1;
        const i32 first_key = first_visible(s.position, p.keys_visible, s.call_position);
        const auto stage = [&](bf16* tile, i32 index, i32 part) {
            const KeySource<bf16> source{query_row(p, s.call_token, p.heads + part, HEAD_DIM), nullptr, p.qkv_stride, s.call_position, 1, HEAD_DIM};
            stage_keys_async<HEAD_DIM, KEYS, THREADS>(tile, source, index * KEYS, first_key, last_position, p.qkv);
        };

        __syncthreads();                                            // the segment before is done with shared memory
        stage_rows_async<HEAD_DIM, ROWS, THREADS>(queries, p.qkv, [&](int row) -> const bf16* {
            return row < rows ? query_row(p, s.first + row / heads, first_head + row % heads, HEAD_DIM) : nullptr;
        });
        stage_rows_async<HEAD_DIM, ROWS, THREADS>(slopes, p.qkv, [&](int row) -> const bf16* {
            return row < rows ? slope_row(p, s.first + row / heads, first_head + row % heads, HEAD_DIM) : nullptr;
        });

        i32 position[2], from[2];                                   // of this lane's two queries
        f32 log_sum_exp[2] = {}, delta[2] = {};
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            const i32 row = first_row + MmaAccumulator<1, 1>::row(0, 2 * i);
            position[i] = s.position + row / heads;
            from[i] = first_visible(position[i], p.keys_visible, s.call_position);
            if (row >= rows) continue;
            const i64 token = s.first + row / heads;
            log_sum_exp[i] = p.log_sum_exp[token * p.log_sum_exp_stride + first_head + row % heads];
            delta[i] = p.delta[token * p.heads + first_head + row % heads];
        }
        MmaAccumulator<1, HEAD_DIM / 8> gradient;
        gradient.fill(0.0f);

        for (i32 tile = first_key / KEYS; tile <= last_position / KEYS; ++tile) {
            stage(keys, tile, 0);
            stage(values, tile, 1);
            async_wait<0>();
            __syncthreads();
            if (active) {
                MmaAccumulator<1, KEYS / 8> score, product;
                score.fill(0.0f);
                product.fill(0.0f);
                mma_tile<KT>(score, MmaRowsA{queries + first_row * STRIDE, STRIDE}, MmaRowsB{keys, STRIDE});
                mma_tile<KT>(product, MmaRowsA{slopes + first_row * STRIDE, STRIDE}, MmaRowsB{values, STRIDE});
                #pragma unroll
                for (int n = 0; n < KEYS / 8; ++n)
                    #pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const i32 key = tile * KEYS + MmaAccumulator<1, 1>::column(n, e);
                        f32& x = score.v[0][n][e];
                        const f32 slope = probability(p, x, log_sum_exp[e / 2]) * (product.v[0][n][e] - delta[e / 2]);
                        x = key >= from[e / 2] && key <= position[e / 2] ? slope : 0.0f;
                    }
                mma_tile<KEYS / 16>(gradient, mma_pack_a(score), MmaColumnsB{keys, STRIDE});
            }
            __syncthreads();                                        // nobody reads this tile any more
        }
        if (active) {
            store_gradient(gradient, first_row, rows, p.scale, [&](i32 row) {
                return static_cast<bf16*>(p.dqkv) + (s.first + row / heads) * p.dqkv_stride + column + row % heads * HEAD_DIM;
            });
        }
        t = s.end;
    }
}

// Scores and their slopes are computed transposed, keys by queries: a warp's registers then feed the products that sum over the queries.
template <int HEAD_DIM, int OUT_DIM, int ROWS>
__global__ void __launch_bounds__(BACKWARD_THREADS, 1) window_attention_backward_keys_mma(WindowAttentionBackwardParams p) {
    constexpr int KEYS = BACKWARD_THREADS / 2, STRIDE = mma_stride(HEAD_DIM), KT = HEAD_DIM / 16;
    extern __shared__ bf16 key_tiles[];
    bf16* keys = key_tiles;                                         // [KEYS][STRIDE]
    bf16* values = keys + KEYS * STRIDE;                            // [KEYS][STRIDE]
    bf16* queries = values + KEYS * STRIDE;                         // [ROWS][STRIDE]
    bf16* slopes = queries + ROWS * STRIDE;                         // [ROWS][STRIDE]
    __shared__ f32 log_sum_exp[ROWS];
    __shared__ f32 delta[ROWS];
    __shared__ i32 positions[ROWS];

    const int first_row = warp_id() * 16;                           // the warp's 16 keys
    const i32 first_column = blockIdx.y * OUT_DIM;                  // the block's share of the channels of dk and dv
    const i32 tile_end = static_cast<i32>(min_of<i64>((static_cast<i64>(blockIdx.x) + 1) * KEYS, p.rows.tokens));
    const i64 key_column = static_cast<i64>(p.heads) * HEAD_DIM;

    for (i32 t = blockIdx.x * KEYS; t < tile_end;) {
        bf16* gradient = static_cast<bf16*>(p.dqkv) + t * p.dqkv_stride + key_column + first_column;
        if (p.rows.pos[t] < 0) {
            for (i32 c = threadIdx.x * 8; c < OUT_DIM; c += BACKWARD_THREADS * 8) {
                store_fill<8>(gradient + c, 0.0f);
                store_fill<8>(gradient + HEAD_DIM + c, 0.0f);
            }
            ++t;
            continue;
        }
        const Segment s = segment_at(p.rows, t, p.rows.tokens);     // to the end of the document
        const i32 rows = min_of(s.end, tile_end) - t;
        const bool active = first_row < rows;                       // the same in all lanes of a warp
        const i32 last_query = s.position + static_cast<i32>(min_of<i64>(s.end - t, static_cast<i64>(rows) + p.keys_visible - 1)) - 1;

        __syncthreads();                                            // the segment before is done with shared memory
        for (int part = 0; part < 2; ++part) {
            stage_rows_async<HEAD_DIM, KEYS, BACKWARD_THREADS>(part == 0 ? keys : values, p.qkv, [&](int row) -> const bf16* {
                return row < rows ? query_row(p, static_cast<i64>(t) + row, p.heads + part, HEAD_DIM) : nullptr;
            });
        }
        MmaAccumulator<1, OUT_DIM / 8> dk, dv;
        dk.fill(0.0f);
        dv.fill(0.0f);

        for (i32 tile = s.position / p.tile_tokens; tile <= last_query / p.tile_tokens; ++tile) {
            for (i32 first_head = 0; first_head < p.heads; first_head += p.tile_heads) {
                const i32 heads = min_of(p.tile_heads, p.heads - first_head);
                const TileRows tile_rows(heads);
                const auto position_of = [&](int row) {             // of a query of the tile, or -1
                    const i32 position = tile * p.tile_tokens + tile_rows.token(row);
                    return row < p.tile_tokens * heads && position >= s.position && position <= last_query ? position : -1;
                };
                const auto token_of = [&](i32 position) { return static_cast<i64>(t) + (position - s.position); };
                stage_rows_async<HEAD_DIM, ROWS, BACKWARD_THREADS>(queries, p.qkv, [&](int row) -> const bf16* {
                    const i32 position = position_of(row);
                    return position >= 0 ? query_row(p, token_of(position), first_head + tile_rows.head(row), HEAD_DIM) : nullptr;
                });
                stage_rows_async<HEAD_DIM, ROWS, BACKWARD_THREADS>(slopes, p.qkv, [&](int row) -> const bf16* {
                    const i32 position = position_of(row);
                    return position >= 0 ? slope_row(p, token_of(position), first_head + tile_rows.head(row), HEAD_DIM) : nullptr;
                });
                if (threadIdx.x < ROWS) {
                    const i32 row = threadIdx.x, position = position_of(row);
                    const i64 token = token_of(position);
                    positions[row] = position;
                    log_sum_exp[row] = position >= 0 ? p.log_sum_exp[token * p.log_sum_exp_stride + first_head + tile_rows.head(row)] : 0.0f;
                    delta[row] = position >= 0 ? p.delta[token * p.heads + first_head + tile_rows.head(row)] : 0.0f;
                }
                async_wait<0>();
                __syncthreads();
                if (active) {
                    MmaAccumulator<1, ROWS / 8> score, product;
                    score.fill(0.0f);
                    product.fill(0.0f);
                    mma_tile<KT>(score, MmaRowsA{keys + first_row * STRIDE, STRIDE}, MmaRowsB{queries, STRIDE});
                    mma_tile<KT>(product, MmaRowsA{values + first_row * STRIDE, STRIDE}, MmaRowsB{slopes, STRIDE});
                    #pragma unroll
                    for (int n = 0; n < ROWS / 8; ++n)
                        #pragma unroll
                        for (int e = 0; e < 4; ++e) {
                            const i32 key = s.position + first_row + MmaAccumulator<1, 1>::row(0, e);
                            const i32 query = MmaAccumulator<1, 1>::column(n, e);
                            const bool visible = positions[query] >= key && positions[query] - key < p.keys_visible;
                            f32& x = score.v[0][n][e];
                            f32& slope = product.v[0][n][e];
                            x = visible ? probability(p, x, log_sum_exp[query]) : 0.0f;
                            slope = visible ? x * (slope - delta[query]) : 0.0f;
                        }
                    mma_tile<ROWS / 16>(dv, mma_pack_a(score), MmaColumnsB{slopes + first_column, STRIDE});
                    mma_tile<ROWS / 16>(dk, mma_pack_a(product), MmaColumnsB{queries + first_column, STRIDE});
                }
                __syncthreads();                                    // nobody reads this tile any more
            }
        }
        if (active) {
            store_gradient(dk, first_row, rows, p.scale, [&](i32 row) { return gradient + row * p.dqkv_stride; });
            store_gradient(dv, first_row, rows, 1.0f, [&](i32 row) { return gradient + HEAD_DIM + row * p.dqkv_stride; });
        }
        t += rows;
    }
}
