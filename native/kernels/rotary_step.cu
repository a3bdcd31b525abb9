// One decode step's rotary position embedding, fused with the key/value ring write.
//
//   q heads are rotated in place as rotary_embedding does; the rotated k head and the v head go to ring slot pos mod ring_slots
//   of the row's state slot. The k and v heads of qkv stay as they are: the ring is where decode attention reads them.
//   A padding row (pos -1) writes nothing anywhere.
//
// Shapes   qkv [rows, (heads + 2) * head_dim], row stride qkv_stride; one token per row, so pos i32[rows]; slot i32[rows]; phase u64[half];
//          ring of a state slot: keys T[ring_slots][head_dim], then values T[ring_slots][head_dim]
// Launch   one thread per (row, piece of VEC channels); 256 threads a block; no barriers
// Variants VEC = 16 bytes: half, head_dim and qkv_stride multiples of VEC, qkv and ring 16-byte aligned; VEC = 1: any
// Aliasing qkv in place; the rows' slots are distinct
// Error    as rotary_embedding
// Bytes    the q heads' rotated channels read and written, k and v read, one key and one value written, per row
// Bits depend on the row's own channels and position only, and equal those of rotary_embedding with ring_append.
#include "include/rotary.cuh"
#include "include/rows.cuh"
#include "include/vec.cuh"

struct RotaryStepParams {
    void* qkv;
    const i32* pos;
    const i32* slot;
    const u64* phase;
    SlotMemory ring;
    i64 qkv_stride;
    i32 rows;
    i32 heads;
    i32 head_dim;
    i32 half;
    i32 ring_slots;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rotary_step(RotaryStepParams p) {
    const i64 item = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    const i32 turning = (p.heads + 1) * (p.half / VEC);                      // pieces of the q heads and the k head that turn
    const i32 passing = (p.head_dim - 2 * p.half) / VEC;                     // pieces of the key that pass through
    const i32 pieces = turning + passing + p.head_dim / VEC;
    const i64 row = item / pieces;
    if (row >= p.rows) return;
    const i32 position = p.pos[row];
    if (position < 0) return;
    i32 piece = static_cast<i32>(item - row * pieces);

    T* qkv = static_cast<T*>(p.qkv) + row * p.qkv_stride;
    T* key = reinterpret_cast<T*>(slot_address(p.ring, p.slot[row])) + static_cast<i64>(position % p.ring_slots) * p.head_dim;
    if (piece < turning) {
        const i32 vectors = p.half / VEC;
        const i32 head = piece / vectors;
        const i32 j = (piece - head * vectors) * VEC;
        const T* source = qkv + static_cast<i64>(head) * p.head_dim + j;
        f32 a[VEC], b[VEC];
        load_floats<VEC>(source, a);
        load_floats<VEC>(source + p.half, b);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) rotate_pair(rotation_at(p.phase[j + i], position), a[i], b[i]);
        T* target = head < p.heads ? qkv + static_cast<i64>(head) * p.head_dim + j : key + j;
        store_floats<VEC>(target, a);
        store_floats<VEC>(target + p.half, b);
        return;
    }
    piece -= turning;
    const T* k = qkv + static_cast<i64>(p.heads) * p.head_dim;
    if (piece < passing) {
        const i32 c = 2 * p.half + piece * VEC;
        store_vec<VEC>(key + c, load_vec<VEC>(k + c));
        return;
    }
    const i32 c = (piece - passing) * VEC;
    T* value = key + static_cast<i64>(p.ring_slots) * p.head_dim;
    store_vec<VEC>(value + c, load_vec<VEC>(k + p.head_dim + c));
}
