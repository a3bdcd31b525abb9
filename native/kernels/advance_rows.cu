// advance_rows: what a slot has seen, after a call; the last kernel of every call.
//
//   t* = the last real token of row r (pos >= 0); a row without one leaves its slot alone
//   seen[slot[r]] <- min(pos[t*], seen[slot[r]] + t* - row_start[r]) + 1
//   STEP: pos[t*] <- pos[t*] + 1, so that a captured step can be replayed without the host
//
// Shapes    pos [tokens], row_start [rows + 1], slot [rows], seen [slots]; with STEP one token a row.
// Launch    one thread a row, THREADS a block. No two rows of a call may name one slot.
// Aliasing  rows.seen and seen are the same array, rows.pos and pos likewise.
// Exact integer arithmetic; deterministic.
// Least bytes moved: 20 a row and 4 in all (row_start's two words, one of them shared with the next row; slot; pos; seen read and written);
// with STEP pos is written too: 24 a row and 4 in all.
#include "include/dependent_launch.cuh"
#include "include/rows.cuh"

struct AdvanceRowsParams {
    PackedRows rows;
    i32* seen;
    i32* pos;
};

template <bool STEP, int THREADS>
__global__ void __launch_bounds__(THREADS) advance_rows(const AdvanceRowsParams p) {
    begin_dependent();
    const i32 row = (i32)(blockIdx.x * THREADS + threadIdx.x);
    if (row >= p.rows.rows) return;
    const i32 last = last_token(p.rows, row);
    if (last < 0) return;
    p.seen[p.rows.slot[row]] = available(p.rows, row, last) + 1;
    if (STEP) p.pos[last] += 1;
}
