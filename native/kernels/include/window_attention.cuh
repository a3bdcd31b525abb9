// What the variants of window attention share: parameters, the tokens that a tile treats together, and where their keys and values come from.
#pragma once
#include "include/attention.cuh"

struct WindowAttentionParams {
    const void* qkv;
    void* y;
    f32* log_sum_exp;
    PackedRows rows;
    SlotMemory ring;
    i64 qkv_stride;
    i64 y_stride;
    i64 log_sum_exp_stride;
    i32 heads;
    i32 tile_tokens;
    i32 tile_heads;
    i32 ring_slots;
    i32 keys_visible;
    f32 scale_log2;          // head_dim^-1/2 * log2(e): scores are taken to base 2
};

// The document's tokens of this tile from t on. Without a ring the oldest key is the call's.
GK_DEVICE Segment segment_of(const WindowAttentionParams& p, i32 t, i32 limit) {
    Segment s = segment_at(p.rows, t, limit);
    if (p.ring.base == nullptr) s.oldest = s.call_position;
    return s;
}

// The exponentials of a query, which are to base 2, sum to so much.
GK_DEVICE void store_log_sum_exp(const WindowAttentionParams& p, i32 token, i32 head, f32 maximum, f32 total) {
    if (p.log_sum_exp != nullptr) p.log_sum_exp[token * p.log_sum_exp_stride + head] = (maximum + log2f(total)) * 0.69314718f;
}

// Keys of the segment's document, and values with `part` 1.
template <typename T, int HEAD_DIM>
GK_DEVICE KeySource<T> key_source(const WindowAttentionParams& p, const Segment& s, int part) {
    const T* call = static_cast<const T*>(p.qkv) + s.call_token * p.qkv_stride + (static_cast<i64>(p.heads) + part) * HEAD_DIM;
    const T* ring = nullptr;
    if (p.ring.base != nullptr)
        ring = reinterpret_cast<const T*>(slot_address(p.ring, p.rows.slot[s.row])) + static_cast<i64>(part) * p.ring_slots * HEAD_DIM;
    return {call, ring, p.qkv_stride, s.call_position, p.ring_slots, HEAD_DIM};
}
