// What the attention kernels share: which tokens of a tile can be treated together, where the key of a position lies, and small sums.
#pragma once
#include "include/math.cuh"
#include "include/rows.cuh"
#include "include/vec.cuh"

// Neighbouring tokens [first, end) of one document of one row.
struct Segment {
    i32 first;
    i32 end;
    i32 row;
    i32 position;         // of `first`
    i32 call_token;       // the first token of the call in this document …
    i32 call_position;    // … and its position: earlier keys lie in the ring
    i32 oldest;           // position of the oldest key that exists
};

// The segment that begins with token t, which is not padding, and ends before `limit`.
GK_DEVICE Segment segment_at(const PackedRows& rows, i32 t, i32 limit) {
    Segment s;
    s.first = t;
    s.row = row_of(rows, t);
    s.position = rows.pos[t];
    s.call_token = document_start(rows, s.row, t);
    s.call_position = s.position - (t - s.call_token);
    s.oldest = s.call_position - available(rows, s.row, s.call_token);
    // Token i is of the same document exactly if its position runs on, and no later token is once one is not: halve the interval.
    i32 inside = t, outside = min_of(limit, rows.row_start[s.row + 1]);
    while (outside - inside > 1) {
        const i32 probe = rows.pos[outside - 1] == s.position + (outside - 1 - t) ? outside - 1 : inside + (outside - inside) / 2;
        if (rows.pos[probe] == s.position + (probe - t)) inside = probe; else outside = probe;
    }
    s.end = inside + 1;
    return s;
}

// Which token and head a tile's row stands for, head fastest: a division without dividing. Rows and heads are below 256.
struct TileRows {
    i32 heads;
    u32 reciprocal;       // of heads, in 1 / 65536, rounded up

    GK_DEVICE explicit TileRows(i32 of_heads) : heads(of_heads), reciprocal(65536u / static_cast<u32>(of_heads) + 1) {}
    GK_DEVICE i32 token(i32 row) const { return static_cast<i32>(static_cast<u32>(row) * reciprocal >> 16); }
    GK_DEVICE i32 head(i32 row) const { return row - token(row) * heads; }
};

// Keys (or values, by the two bases) of one document by position.
template <typename T>
struct KeySource {
    const T* call;        // k (or v) of token call_token
    const T* ring;        // keys (or values) of the state slot
    i64 call_stride;
    i32 call_position;
    i32 ring_slots;
    i32 head_dim;

    GK_DEVICE const T* at(i32 position) const {
        return position >= call_position ? call + (position - call_position) * call_stride
                                         : ring + static_cast<i64>(position % ring_slots) * head_dim;
    }

    // Whether so many positions from `origin` on lie in the ring one after the other.
    GK_DEVICE bool ring_holds(i32 origin, i32 positions) const {
        return origin + positions <= call_position && origin % ring_slots + positions <= ring_slots;
    }
};

// The oldest position that a token may see.
GK_DEVICE i32 first_visible(i32 position, i32 keys_visible, i32 oldest) { return max_of(position - keys_visible + 1, oldest); }

// The running maximum's new value, and what the older sums are to be multiplied by. A tile that shows nothing changes no bit.
GK_DEVICE f32 raise_maximum(f32& maximum, f32 tile_maximum, f32& base) {
    const f32 raised = fmaxf(maximum, tile_maximum);
    base = raised == minus_infinity() ? 0.0f : raised;
    const f32 factor = exp2f(maximum - base);
    maximum = raised;
    return factor;
}

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
