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
// Variants LANES neighbouring threads share the channels of a head; VEC = 16-byte accesses, VEC = 1 any alignment; LANES = 1 meets nobody.
// Aliasing dqkv overlaps nothing
// Determinism sums run over ascending keys, and over ascending tokens with the heads of each in order: the bits of a token's gradients depend on its
//          own document alone, not on its place in the call or on its neighbours; equal bits on every run.
// Error    with u = 2^-9 for bfloat16 and 0 for float32, e = 2^-23, A the largest scale * sum |q_c k_jc| of a query, n the terms of the sum,
//          P_ij = (u + (head_dim * A + |log_sum_exp| + 16) e) p_ij and
//          S_ij = P_ij (|dy_i . v_j| + |D_i|) + p_ij (u sum |dy_c y_c| + head_dim e (sum |dy_c v_jc| + sum |dy_c y_c|)):
//          one rounding plus 2 scale sum_j (S_ij + n e |ds_ij|) |k_j| for dq, 2 scale sum_i (S_ij + n e |ds_ij|) |q_i| for dk and
//          2 sum_i (P_ij + n e p_ij) |dy_i| for dv
// Bytes    keys and values once for every query that sees them, queries and dy once for every key that they see; what caches do not hold is read again
#include "include/attention.cuh"
#include "include/warp.cuh"

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
    f32 scale;               // head_dim^-1/2
    f32 scale_log2;          // scale * log2(e): scores are taken to base 2
};

constexpr int BACKWARD_THREADS = 128;

// The sum of N (a power of two) values in a tree.
template <int N>
GK_DEVICE f32 tree_sum(f32 (&x)[N]) {
    if constexpr (N == 1) {
        return x[0];
    } else {
        f32 half[N / 2];
        #pragma unroll
        for (int e = 0; e < N / 2; ++e) half[e] = x[e] + x[e + N / 2];
        return tree_sum<N / 2>(half);
    }
}

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
