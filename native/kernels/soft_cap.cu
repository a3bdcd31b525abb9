// Soft-cap of logits: x ← cap · tanh(x / cap), in place
//
// Source       the head of the code released with RecurrentGemma. A cap of 0 leaves x alone.
// Shapes       x f32 [rows, width], inner stride 1.
// Launch       grid (rows · ceil(width / (blockDim·VEC))), block (any size up to 256), columns fastest; a thread owns VEC elements.
//              VEC > 1 needs width, stride and address in multiples of VEC elements.
// Determinism  each element has one writer and no reduction: equal bits always.
// Error        8·2^-24 of |y|.
// Traffic      8·rows·width bytes.
#include "include/math.cuh"
#include "include/vec.cuh"

struct SoftCapParams {
    f32* x;
    i64 x_stride;
    i32 width;
    f32 cap;
};

template <int VEC>
__global__ void __launch_bounds__(256) soft_cap(SoftCapParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    f32* x = p.x + static_cast<i64>(blockIdx.x / column_blocks) * p.x_stride + c;
    f32 v[VEC];
    load_floats<VEC>(x, v);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) v[i] = soft_capped(v[i], p.cap);
    store_floats<VEC>(x, v);
}
