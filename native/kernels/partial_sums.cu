// The second pass of a reduction over rows: sum[c] += Σ_p parts[p, c]
//
// Shapes       parts f32 [count, width], inner stride 1; sum f32 [width].
// Launch       SLICES 1: grid (ceil(width / (blockDim·VEC))), block (any size up to 64). A thread owns VEC columns.
//              SLICES > 1: grid (ceil(width / (32·VEC))), block (32·SLICES). Each warp adds up every SLICES-th part: many parts are a long way for one thread.
//              VEC > 1 needs width, stride and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  the parts of a slice (n, n + SLICES, …) are added in order, then the slices, then the sum of them to what was there: equal bits always.
// Error        (count + 1)·2^-24 of |sum| + Σ |parts|.
// Traffic      4·count·width bytes; sum once read and once written.
#include "include/vec.cuh"
#include "include/warp.cuh"

struct PartialSumsParams {
    const f32* parts;
    f32* sum;
    i64 parts_stride;
    i32 count;
    i32 width;
};

// The sum of parts first, first + step, … at VEC columns.
template <int VEC>
GK_DEVICE void add_parts(const PartialSumsParams& p, i32 c, i32 first, i32 step, f32 (&total)[VEC]) {
    #pragma unroll 8
    for (i32 n = first; n < p.count; n += step) {
        f32 part[VEC];
        load_floats<VEC>(p.parts + n * p.parts_stride + c, part);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) total[i] += part[i];
    }
}

template <int VEC, int SLICES>
__global__ void __launch_bounds__(SLICES == 1 ? 64 : 32 * SLICES) partial_sums(PartialSumsParams p) {
    f32 total[VEC] = {};
    i32 c;
    if constexpr (SLICES == 1) {
        c = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
        if (c >= p.width) return;
        add_parts<VEC>(p, c, 0, 1, total);
    } else {
        __shared__ Vec<f32, VEC> slices[SLICES * 32];
        c = (static_cast<i32>(blockIdx.x) * 32 + lane_id()) * VEC;
        if (c < p.width) add_parts<VEC>(p, c, warp_id(), SLICES, total);
        store_floats<VEC>(slices[threadIdx.x].v, total);
        __syncthreads();
        if (warp_id() != 0 || c >= p.width) return;
        #pragma unroll
        for (int slice = 1; slice < SLICES; ++slice) {
            f32 part[VEC];
            load_floats<VEC>(slices[slice * 32 + lane_id()].v, part);
            #pragma unroll
            for (int i = 0; i < VEC; ++i) total[i] += part[i];
        }
    }
    f32 sum[VEC];
    load_floats<VEC>(p.sum + c, sum);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) sum[i] += total[i];
    store_floats<VEC>(p.sum + c, sum);
}
