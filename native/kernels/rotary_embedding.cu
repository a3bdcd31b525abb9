// Partial rotary position embedding of a prefill, in place on the q and k heads of q|k|v.
//
//   for j < half = rotated/2, with theta = 2pi * frac(pos * phase[j] / 2^64):
//       x[j]        <- round(x[j] cos theta - x[j + half] sin theta)
//       x[j + half] <- round(x[j + half] cos theta + x[j] sin theta)
//   direction -1 turns by -theta instead: what undoes the rotation, and carries gradients back through it.
//   channels from 2*half on, and the v head, are left as they are; so is a padding row (pos -1).
//
// Source   Su et al., RoFormer, arXiv:2104.09864; channels j and j + half make a pair, as in the code released with RecurrentGemma
// Shapes   qkv [tokens, (heads + 2) * head_dim], row stride qkv_stride: heads of q, then the one k head, then v; pos i32[tokens]; phase u64[half]
// Launch   one thread per (token, VEC neighbouring pairs), all heads; 256 threads a block; no barriers
// Variants VEC = 16 bytes: half and qkv_stride multiples of VEC, qkv 16-byte aligned; VEC = 1: any
// Aliasing in place; each element is read and written by one thread
// Error    angle 2^-33 turns plus f32 rounding of sine and cosine (4 units), two f32 roundings, one rounding to T
// Bytes    (heads + 1) * 2 * half elements read and written per token; phase and pos once per thread
// Bits depend on the token's own channels and position only.
#include "include/rotary.cuh"
#include "include/vec.cuh"

struct RotaryEmbeddingParams {
    void* qkv;
    const i32* pos;
    const u64* phase;
    i64 qkv_stride;
    i32 tokens;
    i32 heads;
    i32 head_dim;
    i32 half;
    f32 direction;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rotary_embedding(RotaryEmbeddingParams p) {
    const i64 item = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    const i32 vectors = p.half / VEC;
    const i64 t = item / vectors;
    if (t >= p.tokens) return;
    const i32 position = p.pos[t];
    if (position < 0) return;
    const i32 j = static_cast<i32>(item - t * vectors) * VEC;

    Rotation rotation[VEC];
    #pragma unroll
    for (int i = 0; i < VEC; ++i) {
        rotation[i] = rotation_at(p.phase[j + i], position);
        rotation[i].sine *= p.direction;
    }

    T* low = static_cast<T*>(p.qkv) + t * p.qkv_stride + j;
    for (i32 head = 0; head <= p.heads; ++head, low += p.head_dim) {
        f32 a[VEC], b[VEC];
        load_floats<VEC>(low, a);
        load_floats<VEC>(low + p.half, b);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) rotate_pair(rotation[i], a[i], b[i]);
        store_floats<VEC>(low, a);
        store_floats<VEC>(low + p.half, b);
    }
}
