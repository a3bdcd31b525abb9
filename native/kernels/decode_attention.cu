// Attention of one token per row over the state's ring, split over the ring's slots.
//
//   row r at position p sees the n = min(available + 1, keys_visible) newest positions up to its own, all in the ring (rotary_step wrote p):
//       s_j = (q . k_j) * scale ;  y = round_T(sum exp(s_j) v_j / sum exp(s_j))
//   Each block takes a split of the ring: the maximum m of its visible scores, the sum l of exp(s - m), and the unnormalised sum of values o. The
//   last block of a group of splits to get so far merges the group in ascending order, and the last of those blocks the groups: one launch, in
//   which no block waits for another. Slots that are not visible are never read. A padding row (pos -1) gets zeros.
//
// Source   as window_attention.cu; the merge of splits is that of Dao et al., Flash-Decoding (2023)
// Shapes   qkv [rows, (heads + 2) * head_dim], row stride qkv_stride (only the rotated q is read); y [rows, heads * head_dim], row stride y_stride;
//          ring of a state slot: keys T[ring_slots][head_dim], then values; position p in ring slot p mod ring_slots; 1 <= keys_visible <= ring_slots;
//          parts of a query: splits, and where they are merged by groups the groups after them;
//          workspace f32: o [rows][heads][parts][head_dim], then (m, l) [rows][heads][parts][2]; none of it is touched with one split;
//          arrivals u32 [rows][ceil(heads / HEADS)][groups + 1]: zeros before and after
// Launch   grid (splits, rows, ceil(heads / HEADS)), 128 threads, dynamic shared memory as DecodeAttention.cs computes it;
//          decode_attention_serial: the same grid, one thread, which meets nobody: for a machine that runs threads one after another;
//          split i covers ring slots i * split_slots up to (i + 1) * split_slots, split_slots a multiple of KEYS;
//          groups are group_splits splits each, at most MERGED_PARTS, and at most as many groups
// Variants VEC = 16-byte copies (head_dim, qkv_stride, y_stride multiples of VEC; qkv, y and ring 16-byte aligned); VEC = 1: any; head_dim up to 1024
//          decode_attention_mma.cu: bfloat16 on matrix instructions, head_dim a multiple of 32 up to 256, all 16-byte aligned; KEYS 32 or 64
// Aliasing none; the ring is only read
// Determinism the splits depend on the ring's size, the batch size and the device, never on the position; the order of every sum is fixed,
//          whichever blocks come last
// Error    half an ulp of y + 2 (u + ((head_dim + 4) * A + keys_visible + 16) * 2^-23) * sum p_j |v_j|, with p the exact probabilities, A the largest
//          scale * sum |q_c k_jc| over the visible keys, and u = 2^-18 on matrix instructions, 0 elsewhere: probabilities stay float32, or lose up to 2u.
//          Besides, weights below 2^-126 of the largest may count as 0. Where a score is not a number, or all are minus infinity, y is not a number;
//          by matrix instructions it may be none where a value is infinite, too.
// Bytes    the visible keys and values once per HEADS heads; q once per split, y once; the workspace written and read
#include "include/async_copy.cuh"
#include "include/decode_attention.cuh"
#include "include/warp.cuh"

// Copies ring rows into shared memory as they are, zeros for invisible ones and for the channels past HEAD_DIM.
template <typename T, int HEAD_DIM, int STRIDE, int KEYS, int VEC>
GK_DEVICE void stage_slots(T* tile, const T* ring, i32 first_slot, const SplitSlots<KEYS>& slots) {
    constexpr int PIECES = VEC > 1 ? HEAD_DIM / VEC : STRIDE;
    #pragma unroll 4
    for (int step = 0; step < ceil_div(KEYS * PIECES, 128); ++step) {
        const int i = step * 128 + threadIdx.x;
        if (i >= KEYS * PIECES) break;
        const int j = i / PIECES;
        const int c = (i - j * PIECES) * VEC;
        const bool seen = slots.shows(first_slot + j);
        const T* from = ring + static_cast<i64>(first_slot + j) * HEAD_DIM + c;
        if constexpr (VEC > 1) {
            async_copy_16(tile + j * STRIDE + c, seen ? from : ring, seen ? 16 : 0);
        } else {
            tile[j * STRIDE + c] = seen && c < HEAD_DIM ? *from : from_float<T>(0.0f);
        }
    }
    if constexpr (VEC > 1) async_commit();
}

template <typename T, int HEAD_DIM, int HEADS, int KEYS, int VEC>
__global__ void __launch_bounds__(128, 4) decode_attention(DecodeAttentionParams p) {
    constexpr int PIECE = VEC16<T>;                                 // elements of a 16-byte access to shared memory
    constexpr int DIM = ceil_div(HEAD_DIM, PIECE) * PIECE;
    constexpr int STRIDE = (DIM / PIECE | 1) * PIECE;               // an odd number of 16-byte words has no bank conflicts
    constexpr int WARPS = 4;
    constexpr int WARP_HEADS = ceil_div(HEADS, WARPS);              // heads warp, warp + 4, … of the group
    constexpr int WIDTH = HEAD_DIM >= 32 * PIECE ? PIECE : HEAD_DIM >= 128 && HEAD_DIM % 4 == 0 ? 4 : HEAD_DIM >= 64 && HEAD_DIM % 2 == 0 ? 2 : 1;
    constexpr int LANE_PIECES = ceil_div(DIM, 32 * WIDTH);          // pieces of WIDTH channels of the output per lane
    extern __shared__ f32 shared[];
    f32* queries = shared;                                          // [HEADS][DIM]
    f32* weights = queries + HEADS * DIM;                           // [HEADS][KEYS]
    T* keys = reinterpret_cast<T*>(weights + HEADS * KEYS);         // [KEYS][STRIDE]
    T* values = keys + KEYS * STRIDE;                               // [KEYS][STRIDE]

    begin_dependent();
    const i32 split = blockIdx.x, row = blockIdx.y;
    const i32 first_head = blockIdx.z * HEADS;
    const i32 heads = min_of(HEADS, p.heads - first_head);
    const SplitSlots<KEYS> slots(p, split, row);
    const T* ring_keys = reinterpret_cast<const T*>(slot_address(p.ring, p.rows.slot[row]));
    const T* ring_values = ring_keys + static_cast<i64>(p.ring_slots) * HEAD_DIM;

    #pragma unroll 4
    for (int step = 0; step < ceil_div(HEADS * DIM, 128); ++step) {
        const int i = step * 128 + threadIdx.x;
        if (i >= HEADS * DIM) break;
        const int h = i / DIM, c = i - h * DIM;
        const T* q = static_cast<const T*>(p.qkv) + row * p.qkv_stride + static_cast<i64>(first_head + h) * HEAD_DIM + c;
        queries[i] = h < heads && c < HEAD_DIM ? to_float(*q) : 0.0f;
    }
    const int lane = lane_id(), warp = warp_id();
    // Clamped only where the group's last heads may be absent: the others are one address and constants.
    const auto own_head = [&](int h) { return WARPS * (h + 1) <= HEADS ? warp + WARPS * h : min_of(warp + WARPS * h, HEADS - 1); };
    f32 maximum[WARP_HEADS], total[WARP_HEADS], out[WARP_HEADS][LANE_PIECES][WIDTH];
    #pragma unroll
    for (int h = 0; h < WARP_HEADS; ++h) {
        maximum[h] = minus_infinity();
        total[h] = 0.0f;
        #pragma unroll
        for (int i = 0; i < LANE_PIECES; ++i)
            #pragma unroll
            for (int e = 0; e < WIDTH; ++e) out[h][i][e] = 0.0f;
    }

    i32 tile = slots.next_tile(slots.from);
    if (tile < slots.to) {
        stage_slots<T, HEAD_DIM, STRIDE, KEYS, VEC>(keys, ring_keys, tile, slots);
        stage_slots<T, HEAD_DIM, STRIDE, KEYS, VEC>(values, ring_values, tile, slots);
    }
    while (tile < slots.to) {
        const i32 next = slots.next_tile(tile + KEYS);
        async_wait<1>();
        __syncthreads();                                            // queries and keys have landed

        f32 score[WARP_HEADS];                                      // of the key whose number is the lane's
        const bool shown = lane < KEYS && slots.shows(tile + lane);
        {
            f32 dot[WARP_HEADS][4] = {};
            const T* key = keys + min_of(lane, KEYS - 1) * STRIDE;
            #pragma unroll 4
            for (int c = 0; c < DIM; c += PIECE) {
                f32 k[PIECE];
                load_floats<PIECE>(key + c, k);
                #pragma unroll
                for (int h = 0; h < WARP_HEADS; ++h)
                    #pragma unroll
                    for (int part = 0; part < PIECE; part += 4) {
                        f32 q[4];
                        load_floats<4>(queries + own_head(h) * DIM + c + part, q);
                        #pragma unroll
                        for (int e = 0; e < 4; ++e) dot[h][e] = fmaf(q[e], k[part + e], dot[h][e]);
                    }
            }
            #pragma unroll
            for (int h = 0; h < WARP_HEADS; ++h)
                score[h] = shown ? ((dot[h][0] + dot[h][1]) + (dot[h][2] + dot[h][3])) * p.scale_log2 : minus_infinity();
        }
        f32 tile_maximum[WARP_HEADS], factor[WARP_HEADS];
        #pragma unroll
        for (int h = 0; h < WARP_HEADS; ++h) tile_maximum[h] = score[h];
        warp_max(tile_maximum);
        #pragma unroll
        for (int h = 0; h < WARP_HEADS; ++h) {
            f32 base;
            factor[h] = raise_maximum(maximum[h], tile_maximum[h], base);
            const f32 weight = exp2f(score[h] - base);
            total[h] = total[h] * factor[h] + weight;
            if (warp + WARPS * h < HEADS && lane < KEYS) weights[(warp + WARPS * h) * KEYS + lane] = weight;
        }
        async_wait<0>();
        __syncthreads();                                            // values have landed, weights are there, nobody reads the keys any more
        if (next < slots.to) stage_slots<T, HEAD_DIM, STRIDE, KEYS, VEC>(keys, ring_keys, next, slots);

        #pragma unroll
        for (int h = 0; h < WARP_HEADS; ++h)
            #pragma unroll
            for (int i = 0; i < LANE_PIECES; ++i)
                #pragma unroll
                for (int e = 0; e < WIDTH; ++e) out[h][i][e] *= factor[h];
        if (lane * WIDTH < DIM) {
            #pragma unroll 4
            for (int j = 0; j < KEYS; ++j)
                #pragma unroll
                for (int i = 0; i < LANE_PIECES; ++i) {
                    f32 v[WIDTH];
                    load_floats<WIDTH>(values + j * STRIDE + min_of((lane + 32 * i) * WIDTH, DIM - WIDTH), v);
                    #pragma unroll
                    for (int h = 0; h < WARP_HEADS; ++h) {
                        const f32 weight = weights[own_head(h) * KEYS + j];
                        #pragma unroll
                        for (int e = 0; e < WIDTH; ++e) out[h][i][e] = fmaf(weight, v[e], out[h][i][e]);
                    }
                }
        }
        __syncthreads();                                            // nobody reads values or weights any more
        if (next < slots.to) stage_slots<T, HEAD_DIM, STRIDE, KEYS, VEC>(values, ring_values, next, slots);
        tile = next;
    }

    warp_sum(total);
    const SplitResults<T, HEAD_DIM, 32 * WARPS, VEC == 1 ? 1 : 4> results(p, row, first_head, heads);
    constexpr int STORED = VEC == 1 ? 1 : WIDTH;                    // channels of one store
    #pragma unroll
    for (int h = 0; h < WARP_HEADS; ++h) {
        const i32 head = warp + WARPS * h;
        if (head >= heads) continue;
        if (p.splits > 1 && lane == 0) results.leave_statistics(head, split, maximum[h], total[h]);
        #pragma unroll
        for (int i = 0; i < LANE_PIECES; ++i)
            #pragma unroll
            for (int e = 0; e < WIDTH; e += STORED) {
                const int c = (lane + 32 * i) * WIDTH + e;
                if (c >= HEAD_DIM) continue;
                f32 piece[STORED];
                #pragma unroll
                for (int s = 0; s < STORED; ++s) piece[s] = out[h][i][e + s];
                if (p.splits > 1) store_floats<STORED>(results.values(head, split) + c, piece);
                else results.finish(head, c, total[h], piece);
            }
    }
    if (p.splits > 1) results.merge(split);
}

template <typename T, int HEAD_DIM, int HEADS, int KEYS, int VEC>
__global__ void __launch_bounds__(1) decode_attention_serial(DecodeAttentionParams p) {
    constexpr int PARTS = 16;                                       // sums at a time: a machine with wide vectors likes many
    constexpr int DIM = ceil_div(HEAD_DIM, PARTS) * PARTS;
    begin_dependent();
    const i32 split = blockIdx.x, row = blockIdx.y;
    const i32 first_head = blockIdx.z * HEADS, heads = min_of(HEADS, p.heads - first_head);
    const SplitSlots<KEYS> part(p, split, row);
    const T* ring_keys = reinterpret_cast<const T*>(slot_address(p.ring, p.rows.slot[row]));
    const T* ring_values = ring_keys + static_cast<i64>(p.ring_slots) * HEAD_DIM;
    const auto widen = [](const T* from, f32 (&to)[DIM]) {
        #pragma unroll
        for (int c = 0; c < HEAD_DIM; c += VEC) {
            f32 piece[VEC];
            load_floats<VEC>(from + c, piece);
            #pragma unroll
            for (int e = 0; e < VEC; ++e) to[c + e] = piece[e];
        }
        for (int c = HEAD_DIM; c < DIM; ++c) to[c] = 0.0f;
    };

    f32 queries[HEADS][DIM], out[HEADS][DIM], maximum[HEADS], total[HEADS];
    for (int h = 0; h < heads; ++h) {
        widen(static_cast<const T*>(p.qkv) + row * p.qkv_stride + static_cast<i64>(first_head + h) * HEAD_DIM, queries[h]);
        for (int c = 0; c < DIM; ++c) out[h][c] = 0.0f;
        maximum[h] = minus_infinity();
        total[h] = 0.0f;
    }
    for (i32 tile = part.from; tile < part.to; tile += KEYS) {
        i32 slots[KEYS];
        int count = 0;
        for (i32 slot = tile; slot < min_of(tile + KEYS, part.to); ++slot)
            if (part.shows(slot)) slots[count++] = slot;
        f32 weights[HEADS][KEYS], data[DIM];
        for (int j = 0; j < count; ++j) {
            widen(ring_keys + static_cast<i64>(slots[j]) * HEAD_DIM, data);
            for (int h = 0; h < heads; ++h) {
                f32 dot[PARTS] = {};
                #pragma unroll
                for (int c = 0; c < DIM; c += PARTS)
                    #pragma unroll
                    for (int e = 0; e < PARTS; ++e) dot[e] = fmaf(queries[h][c + e], data[c + e], dot[e]);
                weights[h][j] = tree_sum<PARTS>(dot) * p.scale_log2;
            }
        }
        for (int h = 0; h < heads; ++h) {
            f32 tile_maximum = minus_infinity(), base;
            for (int j = 0; j < count; ++j) tile_maximum = fmaxf(tile_maximum, weights[h][j]);
            const f32 factor = raise_maximum(maximum[h], tile_maximum, base);
            total[h] *= factor;
            for (int j = 0; j < count; ++j) {
                weights[h][j] = exp2f(weights[h][j] - base);
                total[h] += weights[h][j];
            }
            for (int c = 0; c < DIM; ++c) out[h][c] *= factor;
        }
        for (int j = 0; j < count; ++j) {
            widen(ring_values + static_cast<i64>(slots[j]) * HEAD_DIM, data);
            for (int h = 0; h < heads; ++h)
                for (int c = 0; c < DIM; ++c) out[h][c] = fmaf(weights[h][j], data[c], out[h][c]);
        }
    }
    const SplitResults<T, HEAD_DIM, 1, VEC> results(p, row, first_head, heads);
    for (int h = 0; h < heads; ++h) {
        if (p.splits > 1) {
            results.leave_statistics(h, split, maximum[h], total[h]);
            for (int c = 0; c < HEAD_DIM; ++c) results.values(h, split)[c] = out[h][c];
        } else {
            const f32 share = results.share(total[h]);
            for (int c = 0; c < HEAD_DIM; ++c) results.result(h)[c] = from_float<T>(out[h][c] * share);
        }
    }
    if (p.splits > 1) results.merge(split);
}
