// The Euclidean norm of a flat vector: result = sqrt(Σ g²). A NaN or an infinity comes through, and so does a sum past f32.
//
// Shapes       gradients f32 [count]; parts f32 [part_count], one per thread of the first launch; result f32 [1].
// Launch       gradient_norm_parts: grid (ceil(count / elements_per_block)), block (128), part_count threads in all; a block takes one stretch,
//              a thread every 128th VEC elements of it. elements_per_block is a multiple of 128·VEC.
//              gradient_norm: grid (1), block (1024). VEC > 1 needs addresses in multiples of VEC elements; count may be any.
// Aliasing     none.
// Determinism  the order of addition depends on count alone: equal bits always.
// Error        (elements_per_block / 128 + part_count / 1024 + 40)·2^-25 of the norm.
// Traffic      4·count bytes; the parts, at most a sixteenth of that at 8192 elements a block, written once and read once.
#include "include/block.cuh"
#include "include/vec.cuh"

struct GradientNormParams {
    const f32* gradients;
    f32* parts;
    f32* result;
    i64 count;
    i64 elements_per_block;
    i32 part_count;
};

template <int VEC>
__global__ void __launch_bounds__(128) gradient_norm_parts(GradientNormParams p) {
    const i64 first = blockIdx.x * p.elements_per_block;
    const i64 last = min_of(first + p.elements_per_block, p.count);
    f32 sum[VEC] = {};
    #pragma unroll 4
    for (i64 i = first + threadIdx.x * VEC; i < last; i += 128 * VEC) {
        f32 g[VEC] = {};
        if (i + VEC <= last) {
            load_floats<VEC>(p.gradients + i, g);
        } else {
            for (i32 n = 0; n < last - i; ++n) g[n] = p.gradients[i + n];
        }
        #pragma unroll
        for (int n = 0; n < VEC; ++n) sum[n] = fmaf(g[n], g[n], sum[n]);
    }
    f32 total = 0.0f;
    #pragma unroll
    for (int n = 0; n < VEC; ++n) total += sum[n];
    p.parts[blockIdx.x * 128 + threadIdx.x] = total;
}

__global__ void __launch_bounds__(1024) gradient_norm(GradientNormParams p) {
    f32 sum = 0.0f;
    #pragma unroll 4
    for (i32 i = threadIdx.x; i < p.part_count; i += 1024) sum += p.parts[i];
    sum = block_sum<1024>(sum);
    if (threadIdx.x == 0) *p.result = sqrtf(sum);
}
