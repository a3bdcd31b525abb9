// Appends a call's keys and values to the rings, after attention has read them.
//
//   of each row, the tokens of its last document (the one that holds the row's last token which is not padding), at most the last
//   ring_slots of them: ring slot pos mod ring_slots of the row's state slot <- (key, value). Keys are already rotated.
//   Slots of other positions keep what they held: of a document that continues they are its earlier keys, and of one that starts
//   in this call they lie outside what the tokens seen let anybody read.
//
// Shapes   qkv [tokens, (heads + 2) * head_dim], row stride qkv_stride; `key_offset` elements before k, and v right behind it;
//          ring of a state slot: keys T[ring_slots][head_dim], then values T[ring_slots][head_dim]
// Launch   one thread per (token, VEC channels of k|v); 256 threads a block; no barriers
// Variants VEC = 16 bytes: head_dim, key_offset and qkv_stride multiples of VEC, qkv and ring 16-byte aligned; VEC = 1: any
// Aliasing the rows' slots are distinct; a ring slot is written by one token
// Error    none: values are moved
// Bytes    2 * head_dim elements read and written per appended token
#include "include/rows.cuh"
#include "include/vec.cuh"

struct RingAppendParams {
    const void* qkv;
    PackedRows rows;
    SlotMemory ring;
    i64 qkv_stride;
    i32 key_offset;
    i32 head_dim;
    i32 ring_slots;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) ring_append(RingAppendParams p) {
    const i64 item = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    const i32 pieces = 2 * p.head_dim / VEC;
    const i64 token = item / pieces;
    if (token >= p.rows.tokens) return;
    const i32 t = static_cast<i32>(token);
    const i32 position = p.rows.pos[t];
    if (position < 0) return;
    const i32 row = row_of(p.rows, t);
    const i32 last = last_token(p.rows, row);
    if (last - t >= p.ring_slots || t < document_start(p.rows, row, last)) return;

    const i32 c = static_cast<i32>(item - token * pieces) * VEC;
    const T* source = static_cast<const T*>(p.qkv) + token * p.qkv_stride + p.key_offset + c;
    T* ring = reinterpret_cast<T*>(slot_address(p.ring, p.rows.slot[row]));
    const i64 half = c < p.head_dim ? 0 : static_cast<i64>(p.ring_slots - 1) * p.head_dim;   // values lie ring_slots rows on, and c counts one of them
    store_vec<VEC>(ring + half + static_cast<i64>(position % p.ring_slots) * p.head_dim + c, load_vec<VEC>(source));
}
