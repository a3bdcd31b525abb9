// The first pass of a sum over rows: parts[n, c] = Σ x[r, c] over the rows r of part n; partial_sums adds the parts.
//
// Shapes       x T [rows, width], inner stride 1; parts f32 [ceil(rows / rows_per_part), width].
// Launch       grid (parts · ceil(width / (blockDim·VEC))), columns fastest, block (any size up to 128). A thread owns VEC columns.
//              VEC > 1 needs width, stride and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  rows are added in order, one writer per element: equal bits always.
// Error        rows_per_part · 2^-24 of Σ |x|.
// Traffic      rows·width·sizeof(T) read, 4·parts·width written.
#include "include/vec.cuh"

struct ColumnSumParams {
    const void* x;
    f32* parts;
    i64 x_stride;
    i32 rows;
    i32 rows_per_part;
    i32 width;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(128) column_sum(ColumnSumParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i64 part = blockIdx.x / column_blocks;
    const i64 first = part * p.rows_per_part;
    const i64 last = min_of<i64>(first + p.rows_per_part, p.rows);
    f32 sum[VEC] = {};
    #pragma unroll 4
    for (i64 row = first; row < last; ++row) {
        f32 x[VEC];
        load_floats<VEC>(static_cast<const T*>(p.x) + row * p.x_stride + c, x);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) sum[i] += x[i];
    }
    store_floats<VEC>(p.parts + part * p.width + c, sum);
}
