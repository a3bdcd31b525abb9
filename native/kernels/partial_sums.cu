// The second pass of a reduction over rows: sum[c] += Σ_p parts[p, c]
//
// Shapes       parts f32 [count, width], inner stride 1; sum f32 [width].
// Launch       grid (ceil(width / (blockDim·VEC))), block (any size up to 64). A thread owns VEC columns.
//              VEC > 1 needs width, stride and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  the parts are added in order, then the sum of them to what was there: equal bits always.
// Error        (count + 1)·2^-24 of |sum| + Σ |parts|.
// Traffic      4·count·width bytes; sum once read and once written.
#include "include/vec.cuh"

struct PartialSumsParams {
    const f32* parts;
    f32* sum;
    i64 parts_stride;
    i32 count;
    i32 width;
};

template <int VEC>
__global__ void __launch_bounds__(64) partial_sums(PartialSumsParams p) {
    const i32 c = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    f32 total[VEC] = {};
    #pragma unroll 8
    for (i32 n = 0; n < p.count; ++n) {
        f32 part[VEC];
        load_floats<VEC>(p.parts + n * p.parts_stride + c, part);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) total[i] += part[i];
    }
    f32 sum[VEC];
    load_floats<VEC>(p.sum + c, sum);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) sum[i] += total[i];
    store_floats<VEC>(p.sum + c, sum);
}
