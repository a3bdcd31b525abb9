// A tile of the RG-LRU scan (scan_tile.cuh): what its warps do with their tokens, shared by the kernels that differ in how carries travel.
#pragma once
#include "include/rg_lru_params.cuh"
#include "include/scan_tile.cuh"

// A block's channels, and the tokens of one warp in registers.
template <typename T>
struct LruTile {
    static constexpr i32 STEPS = VEC16<T>;                       // tokens of a warp
    static constexpr i32 TOKENS = TILE_WARPS * STEPS;
    static constexpr i32 PLANE = TOKENS * TILE_CHANNELS;         // of z, input gates, recurrence gates and y
    static constexpr i32 STAGE = 4 * PLANE;

    const RgLruParams& p;
    i32 block_c;      // the block's first channel
    i32 c;            // the lane's
    bool active;
    bool plain;       // the warp's tokens all go on
    f32 log2_decay[PAIR];
    f32 bias[PAIR];
    f32 a[STEPS][PAIR];
    f32 v[STEPS][PAIR];

    GK_DEVICE LruTile(const RgLruParams& params, i32 column_block)
        : p(params), block_c(column_block * TILE_CHANNELS), c(block_c + lane_id() * PAIR), active(c < params.width) {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) bias[i] = 0.0f;
        if (active && p.y_bias != nullptr) load_floats<PAIR>(static_cast<const T*>(p.y_bias) + c, bias);
    }

    // Each block's decays go through shared memory: two of its eight warps make them, all take theirs behind a barrier.
    GK_DEVICE void make_decays(f32* decays) const { leave_decays(decays, static_cast<const T*>(p.lambda) + block_c, p.width - block_c); }
    GK_DEVICE void take_decays(const f32* decays) {
        load_floats<PAIR>(decays + lane_id() * PAIR, log2_decay);
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) log2_decay[i] *= LOG2_E;
    }

    // Starts copying the inputs of a span of at most TOKENS tokens.
    GK_DEVICE void stage(T* stage, const Span& span) const {
        const TileCopy<T> copy(stage, block_c);
        if (copy.c >= p.width) return;
        const i32 first = span.first, count = span.last - first;
        copy.template rows<TOKENS>(0, p.z, p.z_stride, first, count);
        copy.template rows<TOKENS>(PLANE, p.gates, p.gates_stride, first, count);
        copy.template rows<TOKENS>(2 * PLANE, static_cast<const T*>(p.gates) + p.width, p.gates_stride, first, count);
        copy.template rows<TOKENS>(3 * PLANE, p.y, p.y_stride, first, count);
    }

    // The warp's tokens as steps, and as one map. Padding, and what lies past the span, is a step that changes nothing.
    GK_DEVICE void scan(const T* stage, const Span& span, const i32* positions, const TileMaps& maps) {
        const i32 first = warp_id() * STEPS;
        const T* const tokens = stage + first * TILE_CHANNELS + lane_id() * PAIR;
        i32 position[STEPS];
        warp_positions(positions + first, position);
        f32 all_a[PAIR] = {1.0f, 1.0f}, all_v[PAIR] = {};
        plain = active && all_go_on(position);
        if (plain) make_steps<true>(tokens, STEPS, position, all_a, all_v);
        else make_steps<false>(tokens, active ? span.last - span.first - first : 0, position, all_a, all_v);
        maps.leave(warp_id(), all_a, all_v);
    }

    template <bool PLAIN>
    GK_DEVICE void make_steps(const T* tokens, i32 count, const i32 (&position)[STEPS], f32 (&all_a)[PAIR], f32 (&all_v)[PAIR]) {
        #pragma unroll
        for (i32 n = 0; n < STEPS; ++n) {
            const bool starts = !PLAIN && position[n] == 0, counts = PLAIN || position[n] >= 0;
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) { a[n][i] = 1.0f; v[n][i] = 0.0f; }
            if (!PLAIN && n >= count) continue;
            const T* const at = tokens + n * TILE_CHANNELS;
            f32 z[PAIR], input_gate[PAIR], recurrence_gate[PAIR];
            load_floats<PAIR>(at, z);
            load_floats<PAIR>(at + PLANE, input_gate);
            load_floats<PAIR>(at + 2 * PLANE, recurrence_gate);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) {
                const LruTerms step = approx_lru_terms(z[i], input_gate[i], recurrence_gate[i], log2_decay[i], starts);
                a[n][i] = counts ? step.a : 1.0f;
                v[n][i] = counts ? step.v : 0.0f;
                all_v[i] = lru_advance(all_v[i], {a[n][i], v[n][i]}, starts);
                all_a[i] = starts ? 0.0f : all_a[i] * a[n][i];
            }
        }
    }

    // Walks the warp's tokens, whose steps scan() has made, from h and writes.
    GK_DEVICE void walk(const T* stage, const Span& span, const i32* positions, f32 (&h)[PAIR]) const {
        const i32 first = warp_id() * STEPS;
        const T* const tokens = stage + 3 * PLANE + first * TILE_CHANNELS + lane_id() * PAIR;
        const u32 token = static_cast<u32>(span.first + first);
        i32 position[STEPS] = {};
        if (plain) {
            take_steps<true>(tokens, token, STEPS, position, h);
        } else {
            warp_positions(positions + first, position);
            take_steps<false>(tokens, token, active ? span.last - span.first - first : 0, position, h);
        }
    }

    template <bool PLAIN>
    GK_DEVICE void take_steps(const T* tokens, u32 token, i32 count, const i32 (&position)[STEPS], f32 (&h)[PAIR]) const {
        T* out = static_cast<T*>(p.out) + token * static_cast<u64>(p.out_stride) + c;
        T* hidden = static_cast<T*>(p.hidden) + token * static_cast<u64>(p.hidden_stride) + c;
        #pragma unroll
        for (i32 n = 0; n < STEPS; ++n) {
            if (!PLAIN && n >= count) break;
            const bool starts = !PLAIN && position[n] == 0, counts = PLAIN || position[n] >= 0;
            f32 result[PAIR], kept[PAIR];
            load_floats<PAIR>(tokens + n * TILE_CHANNELS, result);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) {
                h[i] = lru_advance(h[i], {a[n][i], v[n][i]}, starts);
                result[i] = counts ? h[i] * approx_gelu_tanh(result[i] + bias[i]) : 0.0f;
                kept[i] = counts ? h[i] : 0.0f;
            }
            store_floats<PAIR>(out, result);
            if (p.hidden != nullptr) store_floats<PAIR>(hidden, kept);
            out += p.out_stride;
            hidden += p.hidden_stride;
        }
    }

    // The h that the row's slot carries in; zero where it is fresh.
    GK_DEVICE void carried(i32 row, f32 (&h)[PAIR]) const {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) h[i] = 0.0f;
        if (p.state.base == nullptr || !active) return;
        const i32 slot = p.rows.slot[row];
        if (p.rows.seen[slot] > 0) load_floats<PAIR>(reinterpret_cast<const f32*>(slot_address(p.state, slot)) + c, h);
    }

    // The last warp's h is the row's; rows of padding leave their state alone.
    GK_DEVICE void keep(i32 row, const f32 (&h)[PAIR]) const {
        if (p.state.base == nullptr || !active || warp_id() != TILE_WARPS - 1 || last_token(p.rows, row) < 0) return;
        store_floats<PAIR>(reinterpret_cast<f32*>(slot_address(p.state, p.rows.slot[row])) + c, h);
    }
};
