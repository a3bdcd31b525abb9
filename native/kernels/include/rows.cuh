// Packed rows and state slots, the same for every op over sequences.
//
// A call holds `rows` rows of tokens, one after another: row r is tokens row_start[r] … row_start[r+1]-1 and belongs to slot[r].
// pos[t] is the token's position in its document: 0 starts a document, -1 is padding (it leads a row only before position 0, or
// trails it). seen[s] counts the tokens that slot s holds in its state; 0 means that nothing of its memory may be used.
#pragma once
#include "include/base.cuh"

struct PackedRows {
    const i32* pos;         // [tokens]
    const i32* row_start;   // [rows + 1]
    const i32* slot;        // [rows]
    const i32* seen;        // [slots]
    i32 tokens;
    i32 rows;
};

// One layer's part of a state pool; base already includes the layer's offset.
struct SlotMemory {
    u8* base;
    i64 stride;             // bytes from slot to slot
};

GK_DEVICE u8* slot_address(const SlotMemory& memory, i32 slot) { return memory.base + static_cast<i64>(slot) * memory.stride; }

// The row that holds token t. Empty rows hold none.
GK_DEVICE i32 row_of(const PackedRows& rows, i32 t) {
    i32 low = 0, high = rows.rows;   // row_start[low] <= t < row_start[high]
    while (high - low > 1) {
        const i32 middle = low + (high - low) / 2;
        if (rows.row_start[middle] <= t) low = middle; else high = middle;
    }
    return low;
}

// How many tokens before t its document shows it, the slot's state included; -1 for padding.
GK_DEVICE i32 available(const PackedRows& rows, i32 row, i32 t) {
    const i64 earlier = static_cast<i64>(rows.seen[rows.slot[row]]) + (t - rows.row_start[row]);
    const i32 position = rows.pos[t];
    return position < earlier ? position : static_cast<i32>(earlier);
}

// The last token of the row that is not padding, or -1.
GK_DEVICE i32 last_token(const PackedRows& rows, i32 row) {
    const i32 first = rows.row_start[row];
    for (i32 t = rows.row_start[row + 1] - 1; t >= first; --t)
        if (rows.pos[t] >= 0) return t;
    return -1;
}

// The first token of this call that belongs to the document of token t (which is not padding).
GK_DEVICE i32 document_start(const PackedRows& rows, i32 row, i32 t) {
    return max_of(rows.row_start[row], t - rows.pos[t]);
}
