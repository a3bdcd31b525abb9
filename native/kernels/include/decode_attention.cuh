// What the variants of decode attention share: parameters, the slots that a token sees, and how the splits of its results come together.
#pragma once
#include "include/approx.cuh"
#include "include/attention.cuh"
#include "include/dependent_launch.cuh"
#include "include/look_back.cuh"

struct DecodeAttentionParams {
    const void* qkv;
    void* y;
    f32* partial;           // o of every part
    f32* statistics;        // m, l of every part
    u32* arrivals;          // zeros before and after
    PackedRows rows;
    SlotMemory ring;
    i64 qkv_stride;
    i64 y_stride;
    i32 heads;
    i32 splits;
    i32 split_slots;
    i32 group_splits;       // splits that one block merges
    i32 ring_slots;
    i32 keys_visible;
    f32 scale_log2;         // head_dim^-1/2 * log2(e): scores are taken to base 2
};

// The slots that a token sees: an arc of the ring that ends at the token's own.
struct RingArc {
    i32 own;
    i32 count;
    i32 ring_slots;

    GK_DEVICE RingArc(const DecodeAttentionParams& p, i32 row) : ring_slots(p.ring_slots) {
        const i32 position = p.rows.pos[row];
        own = position < 0 ? 0 : position % ring_slots;
        count = position < 0 ? 0 : min_of(available(p.rows, row, row) + 1, p.keys_visible);
    }

    // How many slots `slot` lies past another one, round the ring.
    GK_DEVICE i32 past(i32 slot, i32 other) const { return slot - other < 0 ? slot - other + ring_slots : slot - other; }
    // How many slots a slot lies past the oldest that is seen.
    GK_DEVICE i32 into(i32 slot) const { return past(slot, past(own, count - 1)); }
    GK_DEVICE bool shows(i32 slot) const { return past(own, slot) < count; }
    // Whether any of the `slots` from `first` on may be seen: surely none is if not, and of a tile that the ring's end cuts perhaps none is if so.
    GK_DEVICE bool shows_any(i32 first, i32 slots) const { return count > 0 && (into(first) < count || ring_slots - into(first) < slots); }
    // Only if all of them are, which exist. Not where the oldest slot that is seen lies behind the newest within them.
    GK_DEVICE bool shows_all(i32 first, i32 slots) const { return into(first) + slots <= count; }
};

// A split's part of the ring, seen by a row, in tiles of KEYS slots.
template <int KEYS>
struct SplitSlots {
    i32 from, to;
    RingArc arc;

    GK_DEVICE SplitSlots(const DecodeAttentionParams& p, i32 split, i32 row)
        : from(split * p.split_slots), to(min_of(split * p.split_slots + p.split_slots, p.ring_slots)), arc(p, row) {}

    GK_DEVICE bool shows(i32 slot) const { return slot < to && arc.shows(slot); }
    GK_DEVICE bool shows_all(i32 tile) const { return tile + KEYS <= to && arc.shows_all(tile, KEYS); }
    // The first tile from `tile` on that shows a key; `to` or more where there is none.
    GK_DEVICE i32 next_tile(i32 tile) const {
        while (tile < to && !arc.shows_any(tile, KEYS)) tile += KEYS;
        return tile;
    }
};

// Parts that are merged at once: as many loads as a thread has under way.
constexpr i32 MERGED_PARTS = 8;

// The results of a block's queries, which are one row's heads from first_head on: parts (m, l, o) until they are y.
// Part i of a query is that of split i; where splits are merged by groups, those of the groups follow. WIDTH channels are moved at a time.
template <typename T, int HEAD_DIM, int THREADS, int WIDTH>
struct SplitResults {
    const DecodeAttentionParams& p;
    i32 row, first_head, heads, groups;
    bool padding;

    GK_DEVICE SplitResults(const DecodeAttentionParams& params, i32 of_row, i32 from_head, i32 of_heads)
        : p(params), row(of_row), first_head(from_head), heads(of_heads), groups(ceil_div(params.splits, params.group_splits)),
          padding(params.rows.pos[of_row] < 0) {}

    GK_DEVICE i64 part(i32 head, i32 index) const {
        return (static_cast<i64>(row) * p.heads + first_head + head) * (p.splits + (groups > 1 ? groups : 0)) + index;
    }
    GK_DEVICE f32* values(i32 head, i32 index) const { return p.partial + part(head, index) * HEAD_DIM; }
    // In 32 bits within the row: the compilers take a piece of a 64-bit sum apart into single stores.
    GK_DEVICE T* result(i32 head) const {
        T* const y = static_cast<T*>(p.y) + row * p.y_stride;
        return y + (first_head + head) * HEAD_DIM;
    }

    GK_DEVICE void leave_statistics(i32 head, i32 index, f32 maximum, f32 total) const {
        f32* const to = p.statistics + 2 * part(head, index);
        to[0] = maximum;
        to[1] = total;
    }

    // What the sums of values are to be multiplied by. Padding, which sees nothing, gets zeros; any other row sees its own key, and what is not a number shows.
    GK_DEVICE f32 share(f32 total) const {
        const f32 reciprocal = approx_reciprocal(total);
        return padding ? 0.0f : reciprocal;
    }

    // A piece of y from a sum of values.
    template <int N>
    GK_DEVICE void finish(i32 head, i32 c, f32 total, const f32 (&sum)[N]) const {
        const f32 factor = share(total);
        f32 y[N];
        #pragma unroll
        for (int e = 0; e < N; ++e) y[e] = sum[e] * factor;
        store_floats<N>(result(head) + c, y);
    }

    // Merges `count` parts from `first` on, in ascending order, to one more part, or to y if `into` is negative.
    GK_DEVICE void merge_parts(i32 first, i32 count, i32 into) const {
        constexpr int PIECES = HEAD_DIM / WIDTH;
        for (i32 item = threadIdx.x; item < heads * PIECES; item += THREADS) {
            const i32 head = item / PIECES, c = (item - head * PIECES) * WIDTH;
            const f32* const statistics = p.statistics + 2 * part(head, first);
            const f32* const o = values(head, first) + c;
            f32 m[MERGED_PARTS], l[MERGED_PARTS], v[MERGED_PARTS][WIDTH], maximum = minus_infinity();
            #pragma unroll
            for (i32 i = 0; i < MERGED_PARTS; ++i) {                // all loads first: they are under way together
                m[i] = minus_infinity();
                l[i] = 0.0f;
                #pragma unroll
                for (int e = 0; e < WIDTH; ++e) v[i][e] = 0.0f;
                if (i >= count) continue;
                load_floats<WIDTH>(o + i * HEAD_DIM, v[i]);
                m[i] = statistics[2 * i];
                l[i] = statistics[2 * i + 1];
            }
            #pragma unroll
            for (i32 i = 0; i < MERGED_PARTS; ++i) maximum = fmaxf(maximum, m[i]);
            const f32 base = maximum == minus_infinity() ? 0.0f : maximum;
            f32 total = 0.0f, sum[WIDTH] = {};
            #pragma unroll
            for (i32 i = 0; i < MERGED_PARTS; ++i) {
                const f32 factor = approx_exp2(m[i] - base);
                total = fmaf(factor, l[i], total);
                #pragma unroll
                for (int e = 0; e < WIDTH; ++e) sum[e] = fmaf(factor, v[i][e], sum[e]);
            }
            if (into < 0) {
                finish(head, c, total, sum);
            } else {
                if (c == 0) leave_statistics(head, into, maximum, total);
                store_floats<WIDTH>(values(head, into) + c, sum);
            }
        }
    }

    static GK_DEVICE bool last_of(u32* arrivals, i32 count) {
        if constexpr (THREADS == 1) return arrives_last(arrivals, count);
        else return block_arrives_last(arrivals, count);
    }

    // The last block of a group of splits merges the group, and the last of these blocks what the groups became. Nobody waits.
    GK_DEVICE void merge(i32 split) const {
        u32* const arrivals = p.arrivals + (static_cast<i64>(row) * gridDim.z + blockIdx.z) * (groups + 1);
        const i32 group = split / p.group_splits;
        i32 first = group * p.group_splits, count = min_of(p.group_splits, p.splits - first);
        if (!last_of(arrivals + group, count)) return;
        if (groups > 1) {
            merge_parts(first, count, p.splits + group);
            if (!last_of(arrivals + groups, groups)) return;
            first = p.splits;
            count = groups;
        }
        merge_parts(first, count, -1);
    }
};
