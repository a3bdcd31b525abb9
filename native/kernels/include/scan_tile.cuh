// Scans h → a·h + v over packed rows, one tile of a row at a time. A tile is 64 channels of TOKENS tokens whose inputs lie in shared
// memory; a block of 8 warps takes it. Each warp takes an eighth of the tokens, each lane two neighbouring channels:
//   1. a warp turns its tokens into steps (a, v), kept in registers, and leaves what they do to h, as one pair, in `maps`;
//   2. h as it comes into the tile (the carry) goes through the maps of the warps before, in order, which gives each warp its own h;
//   3. it walks its steps again from there.
// So everything but one multiply-add per token is off the dependent chain. A scan backwards in time gives its warps the order 7 … 0.
//
// The carry comes from the tile before, which the same block took (a ring), or by look-back: tiles are taken in order of tickets, and a
// tile gets its carry from those before it in its row. Tiles form groups of LOOK_BACK, counted from where the scan enters the row. All but
// the last of a group publish their map as soon as they have it; the last publishes h behind itself, and needs no map of others than its
// own group's for that. The order of every sum is fixed: the same bits always.
#pragma once
#include "include/async_copy.cuh"
#include "include/look_back.cuh"
#include "include/lru.cuh"
#include "include/scan_chunks.cuh"
#include "include/warp.cuh"

constexpr i32 TILE_CHANNELS = 64;
constexpr i32 TILE_WARPS = 8;
constexpr i32 TILE_THREADS = 32 * TILE_WARPS;
constexpr i32 PAIR = 2;             // channels of a lane
constexpr i32 LOOK_BACK = 8;        // tiles of a group

// The multiplier 0 of a start, or of a past that has faded out, drops h whatever it is.
GK_DEVICE f32 scan_advance(f32 h, f32 a, f32 v) { return lru_advance(h, {a, v}, a == 0.0f); }
GK_DEVICE f32 scan_decay(f32 a, f32 next) { return next == 0.0f ? 0.0f : a * next; }

// A thread's share of copying rows of matrices to shared memory, T [.., TILE_CHANNELS] each: of every STEPth row the same 16 bytes.
template <typename T>
struct TileCopy {
    static constexpr i32 PIECES = TILE_CHANNELS / VEC16<T>, STEP = TILE_THREADS / PIECES;

    SharedPlace to;   // of this thread, in the first row of the stage
    i32 row;
    i32 c;            // channel in the matrix

    GK_DEVICE TileCopy(T* stage, i32 block_c)
        : to(stage + static_cast<i32>(threadIdx.x) * VEC16<T>), row(static_cast<i32>(threadIdx.x) / PIECES), c(block_c + static_cast<i32>(threadIdx.x) % PIECES * VEC16<T>) {}

    // Starts copying `count` rows, at most ROWS, from row `first` of a matrix on, to `offset` elements into the stage. Threads with c past the width stay out.
    template <i32 ROWS>
    GK_DEVICE void rows(i32 offset, const void* matrix, i64 stride, i32 first, i32 count) const {
        const T* from = static_cast<const T*>(matrix) + static_cast<u64>(static_cast<u32>(first + row)) * static_cast<u64>(stride) + static_cast<u32>(c);
        SharedPlace place = to;
        place.skip(offset * static_cast<i32>(sizeof(T)));
        #pragma unroll
        for (i32 n = 0; n < ROWS; n += STEP) {
            if (row + n < count) async_copy_16(place, from);
            from += STEP * stride;
            place.skip(STEP * TILE_CHANNELS * static_cast<i32>(sizeof(T)));
        }
    }
};

// lru_decay of the block's channels, to shared f32 [TILE_CHANNELS]; 0 past the width.
template <typename T>
GK_DEVICE void leave_decays(f32* decays, const T* lambda, i32 channels) {
    const i32 i = static_cast<i32>(threadIdx.x);
    if (i < TILE_CHANNELS) decays[i] = i < channels ? lru_decay(to_float(lambda[i])) : 0.0f;
}

// The positions of a warp's tokens, from shared memory.
template <i32 STEPS>
GK_DEVICE void warp_positions(const i32* positions, i32 (&position)[STEPS]) {
    constexpr i32 M = STEPS < 4 ? STEPS : 4;
    #pragma unroll
    for (i32 n = 0; n < STEPS; n += M) {
        const Vec<i32, M> some = load_vec<M>(positions + n);
        #pragma unroll
        for (i32 i = 0; i < M; ++i) position[n + i] = some.v[i];
    }
}

// Whether a warp's tokens are all there, and none of them starts a document or is padding: most warps', whose steps want no selects.
template <i32 STEPS>
GK_DEVICE bool all_go_on(const i32 (&position)[STEPS]) {
    i32 least = position[0];
    #pragma unroll
    for (i32 n = 1; n < STEPS; ++n) least = min_of(least, position[n]);
    return least > 0;
}

// This thread's share of the positions of a span of at most TOKENS tokens; what lies past the span has position -1.
template <i32 TOKENS>
GK_DEVICE i32 tile_position(const PackedRows& rows, const Span& span) {
    const i32 t = span.first + static_cast<i32>(threadIdx.x);
    return threadIdx.x < TOKENS && t < span.last ? rows.pos[t] : -1;
}

// What the warps' tokens do to h, in the scan's order: shared f32 [2, TILE_WARPS, TILE_CHANNELS].
struct TileMaps {
    f32* data;

    GK_DEVICE f32* at(i32 order) const { return data + order * TILE_CHANNELS + lane_id() * PAIR; }

    GK_DEVICE void leave(i32 order, const f32 (&a)[PAIR], const f32 (&v)[PAIR]) const {
        store_floats<PAIR>(at(order), a);
        store_floats<PAIR>(at(TILE_WARPS + order), v);
    }

    // h behind the first `count` warps.
    GK_DEVICE void apply(i32 count, f32 (&h)[PAIR]) const {
        for (i32 order = 0; order < count; ++order) {
            f32 a[PAIR], v[PAIR];
            load_floats<PAIR>(at(order), a);
            load_floats<PAIR>(at(TILE_WARPS + order), v);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) h[i] = scan_advance(h[i], a[i], v[i]);
        }
    }

    // All of them as one.
    GK_DEVICE void compose(f32 (&a)[PAIR], f32 (&v)[PAIR]) const {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) { a[i] = 1.0f; v[i] = 0.0f; }
        #pragma unroll
        for (i32 order = 0; order < TILE_WARPS; ++order) {
            f32 next[PAIR];
            load_floats<PAIR>(at(order), next);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) a[i] = scan_decay(a[i], next[i]);
        }
        apply(TILE_WARPS, v);
    }
};

// Where a tile lies in its row's scan.
struct TilePlace {
    i64 place;        // scan_chunks.cuh
    i32 before;       // tiles of the row that the scan meets before it
    bool followed;    // another tile comes after it
};

// The part of the workspace that tiles meet in. STEP: places from a tile to the next in the scan's order, 1 or -1; VEC channels of a lane.
template <i32 STEP, i32 VEC = PAIR>
struct PublishedMaps {
    u32* flags;           // [places, column blocks], zero before the launch
    f32* data;            // [places, 2, width]: a and v, or h behind the tile
    i64 width;
    i32 column_blocks;
    i32 column_block;     // the warp's
    i32 c;                // the lane's first channel

    GK_DEVICE u32* flag(i64 place) const { return flags + place * column_blocks + column_block; }
    GK_DEVICE f32* at(i64 place) const { return data + place * 2 * width + c; }

    // One warp's call: from the tile's own map, and h as it comes into the row, to h as it comes into the tile. Lanes that are not `active` have
    // channels past the width.
    GK_DEVICE void look_back(const TilePlace& tile, bool active, const f32 (&own_a)[VEC], const f32 (&own_v)[VEC], f32 (&h)[VEC]) const {
        const i32 inside = tile.before % LOOK_BACK;
        const bool closes = inside == LOOK_BACK - 1, opened = tile.before >= LOOK_BACK;
        if (tile.followed && !closes) {
            if (active) {
                store_floats<VEC>(at(tile.place), own_a);
                store_floats<VEC>(at(tile.place) + width, own_v);
            }
            __syncwarp();
            if (lane_id() == 0) raise_flag(flag(tile.place));
        }
        if (lane_id() < inside) await_flag(flag(tile.place - STEP * (lane_id() + 1)));
        __syncwarp();
        f32 a[VEC], v[VEC] = {};
        #pragma unroll
        for (i32 i = 0; i < VEC; ++i) a[i] = 1.0f;
        for (i32 back = active ? inside : 0; back > 0; --back) {
            f32 next_a[VEC], next_v[VEC];
            load_floats<VEC>(at(tile.place - STEP * back), next_a);
            load_floats<VEC>(at(tile.place - STEP * back) + width, next_v);
            #pragma unroll
            for (i32 i = 0; i < VEC; ++i) {
                v[i] = scan_advance(v[i], next_a[i], next_v[i]);
                a[i] = scan_decay(a[i], next_a[i]);
            }
        }
        if (opened) {
            const i64 closed = tile.place - STEP * (inside + 1);
            if (lane_id() == 0) await_flag(flag(closed));
            __syncwarp();
            if (active) load_floats<VEC>(at(closed), h);
        }
        #pragma unroll
        for (i32 i = 0; i < VEC; ++i) h[i] = scan_advance(h[i], a[i], v[i]);
        if (tile.followed && closes) {
            if (active) {
                f32 behind[VEC];
                #pragma unroll
                for (i32 i = 0; i < VEC; ++i) behind[i] = scan_advance(h[i], own_a[i], own_v[i]);
                store_floats<VEC>(at(tile.place), behind);
            }
            __syncwarp();
            if (lane_id() == 0) raise_flag(flag(tile.place));
        }
    }
};
