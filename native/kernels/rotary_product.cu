// The start of an attention block in a decode step: q|k|v = round(norm(x) · wᵀ), rotated, the key and the value written to the ring
//
//   q heads are rotated as rotary_embedding does and stored; the rotated k and v go to ring slot pos mod ring_slots of the row's state slot:
//   what rotary_step does to the product. A padding row (pos -1) gets its q unrotated and writes nothing to the ring.
//
// Shapes       x T [rows, k], scale T [k], squares f32 [rows, parts]; w T [(heads + 2)·head_dim, k], q heads, then k, then v; head_dim even;
//              q T [rows, heads·head_dim]; one token per row, so pos i32[rows]; slot i32[rows]; phase u64[half];
//              ring of a state slot: keys T[ring_slots][head_dim], then values.
// Kernel       rotary_product<Core>; the cores, the norm and what they ask for are in skinny.cuh. A tile holds both channels of a pair that turns;
//              of those that do not turn, a pair is two neighbours.
// Launch       grid (ceil((heads + 2)·head_dim / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it.
// Aliasing     none; the rows' slots are distinct.
// Determinism  as skinny.cuh.
// Error        normed x and the products as in gated_product, rotated as in rotary_embedding.
// Traffic      w once per Core::BATCH rows; x and scale once per tile; q, one key and one value per row once.
#include "include/rotary.cuh"
#include "include/rows.cuh"
#include "include/skinny.cuh"

struct RotaryProductParams {
    SkinnyProductParams product;
    NormInputParams norm;
    void* q;
    const i32* pos;
    const i32* slot;
    const u64* phase;
    SlotMemory ring;
    i64 q_stride;
    i32 heads;
    i32 head_dim;
    i32 half;
    i32 ring_slots;
};

// Which channels of which head a pair holds.
struct HeadPair {
    i32 head;
    i32 index;              // of the pair in its head
    i32 first;              // channel
    i32 second;
    bool turns;

    GK_DEVICE HeadPair(i32 pair, i32 heads, i32 head_dim, i32 half) {
        head = pair / (head_dim / 2);
        index = pair - head * (head_dim / 2);
        turns = head <= heads && index < half;
        first = turns ? index : 2 * index;    // half pairs before it hold 2 · half channels
        second = turns ? index + half : first + 1;
    }
};

struct RotaryRows {
    i32 first;
    i32 heads;
    i32 head_dim;
    i32 half;
    GK_DEVICE i64 operator()(i32 v) const {
        const HeadPair pair(min_of(pair_of_row(first, v), (heads + 2) * (head_dim / 2) - 1), heads, head_dim, half);
        return pair.head * head_dim + (v % 16 < 8 ? pair.first : pair.second);
    }
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) rotary_product(RotaryProductParams p) {
    using T = typename Core::Element;
    constexpr i32 PAIRS = Core::ROWS / 2;
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * PAIRS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, NormInput{p.norm}, RotaryRows{first, p.heads, p.head_dim, p.half}, skinny_shared);

    #pragma unroll 1
    for (i32 i = threadIdx.x; i < PAIRS * Core::BATCH; i += SKINNY_THREADS) {
        const i32 v = row_of_pair(i % PAIRS), b = i / PAIRS, row = first_row + b, number = first + i % PAIRS;
        if (number >= (p.heads + 2) * (p.head_dim / 2) || row >= p.product.rows) continue;
        const HeadPair pair(number, p.heads, p.head_dim, p.half);
        const i32 position = p.pos[row];
        T* target = static_cast<T*>(p.q) + row * p.q_stride + pair.head * p.head_dim;
        if (pair.head >= p.heads) {
            if (position < 0) continue;
            const i32 place = position % p.ring_slots + (pair.head - p.heads) * p.ring_slots;   // the values lie behind the keys
            target = reinterpret_cast<T*>(slot_address(p.ring, p.slot[row])) + static_cast<i64>(place) * p.head_dim;
        }
        f32 a = round_to<T>(tile.sum(v, b)), c = round_to<T>(tile.sum(v + 8, b));
        if (pair.turns && position >= 0) rotate_pair(rotation_at(p.phase[pair.index], position), a, c);
        target[pair.first] = from_float<T>(a);
        target[pair.second] = from_float<T>(c);
    }
}
