// One step of AdamW over a flat arena: with g = gradient · min(1, max_norm / norm)
//   first  ← beta1·first  + (1 - beta1)·g
//   second ← beta2·second + (1 - beta2)·g²
//   master ← master·(1 - rate·decay) - rate · (first·c1) / (sqrt(second·c2) + eps)        (decay only where decayed)
//   weights = round(master)
// c1 = 1 / (1 - beta1^t) and c2 = 1 / (1 - beta2^t) at step t. Where norm is not finite nothing changes at all.
//
// Source       Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, the decay multiplied by the rate as PyTorch does.
// Shapes       weights T, master, gradient, first, second f32 [count], count a multiple of 64; decayed u8 [count / 64], 1 where the 64 elements
//              decay; norm f32 [1]; settings f32 [8]: rate, beta1, beta2, eps, decay, max_norm (0: no clipping), c1, c2.
// Launch       grid (ceil(count / (blockDim·VEC·ITEMS))), block (any size up to 256). A thread takes ITEMS times VEC elements, blockDim·VEC apart.
//              VEC divides 64; VEC > 1 needs addresses in multiples of min(VEC, 16 bytes of the type).
// Aliasing     weights may be exactly master (T f32): then it is written once.
// Determinism  each element has one writer and no reduction: equal bits always.
// Error        first and second 4·2^-24 of the magnitudes added; master 4·2^-24 of |master| and 16·2^-24 of the step; weights half an ulp of T.
// Traffic      28·count bytes of f32 and count·sizeof(T) written (none where weights are master); one flag, norm and settings per thread.
#include "include/vec.cuh"

struct AdamWParams {
    void* weights;
    f32* master;
    const f32* gradient;
    f32* first;
    f32* second;
    const u8* decayed;
    const f32* norm;
    const f32* settings;
    i64 count;
};

template <typename T, int VEC, int ITEMS>
__global__ void __launch_bounds__(256, 1) adam_w(AdamWParams p) {
    const f32 norm = *p.norm;
    if (!(norm < __int_as_float(0x7F800000))) return;
    const f32 rate = p.settings[0], beta1 = p.settings[1], beta2 = p.settings[2], eps = p.settings[3];
    const f32 kept = 1.0f - rate * p.settings[4], max_norm = p.settings[5], c1 = p.settings[6], c2 = p.settings[7];
    const f32 clip = max_norm > 0.0f && norm > max_norm ? max_norm / norm : 1.0f;
    const i64 block = static_cast<i64>(blockIdx.x) * blockDim.x * (VEC * ITEMS);
    #pragma unroll 1
    for (i32 item = 0; item < ITEMS; ++item) {
        const i64 i = block + (item * blockDim.x + threadIdx.x) * VEC;
        if (i >= p.count) return;
        f32 w[VEC], g[VEC], m[VEC], v[VEC];
        load_floats<VEC>(p.master + i, w);
        load_floats<VEC>(p.gradient + i, g);
        load_floats<VEC>(p.first + i, m);
        load_floats<VEC>(p.second + i, v);
        const f32 keep = p.decayed[i / 64] != 0 ? kept : 1.0f;
        #pragma unroll
        for (int n = 0; n < VEC; ++n) {
            g[n] *= clip;
            m[n] = fmaf(beta1, m[n], (1.0f - beta1) * g[n]);
            v[n] = fmaf(beta2, v[n], (1.0f - beta2) * g[n] * g[n]);
            w[n] = fmaf(-rate, m[n] * c1 / (sqrtf(v[n] * c2) + eps), w[n] * keep);
        }
        store_floats<VEC>(p.first + i, m);
        store_floats<VEC>(p.second + i, v);
        store_floats<VEC>(p.master + i, w);
        if (p.weights != p.master) store_floats<VEC>(static_cast<T*>(p.weights) + i, w);
    }
}
