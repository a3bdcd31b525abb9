// Scans over packed rows: which channels and tokens a thread walks. A row's time can be cut into chunks of `chunk` tokens, counted from
// its start. Chunk k of row r has place row_start[r]/chunk + r + k: places never collide, and of tokens/chunk + rows some stay unused.
#pragma once
#include "include/rows.cuh"

// Part of a row: tokens first … last-1.
struct Span { i32 row; i32 first; i32 last; };

// This thread's first channel, or past the width; `unit` is the row or place of its block.
template <int VEC>
GK_DEVICE i32 column_of(i32 width, i32& unit) {
    const u32 column_blocks = ceil_div(static_cast<u32>(width), blockDim.x * VEC);
    unit = static_cast<i32>(blockIdx.x / column_blocks);
    return (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
}

GK_DEVICE i32 first_place(const PackedRows& rows, i32 chunk, i32 row) { return rows.row_start[row] / chunk + row; }

// The chunk at a place; empty where the place is unused.
GK_DEVICE Span chunk_at(const PackedRows& rows, i32 chunk, i32 place) {
    i32 low = 0, high = rows.rows;   // first_place(low) <= place < first_place(high)
    while (high - low > 1) {
        const i32 middle = low + (high - low) / 2;
        if (first_place(rows, chunk, middle) <= place) low = middle; else high = middle;
    }
    const i64 first = rows.row_start[low] + static_cast<i64>(place - first_place(rows, chunk, low)) * chunk;
    const i32 end = rows.row_start[low + 1];
    if (first >= end) return {low, end, end};
    return {low, static_cast<i32>(first), static_cast<i32>(min_of<i64>(first + chunk, end))};
}
