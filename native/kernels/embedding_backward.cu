// The backward pass of embedding: d_table[id, :] += scale · Σ dx[n, :] over the rows n whose token is id
// The host gives the rows in order of their tokens, so that one thread adds up all of an id's rows and no atomics are needed.
//
// Shapes       tokens i32 [rows]; order i32 [rows], the row indices sorted by token; dx T [rows, width]; d_table f32 [vocabulary, width];
//              inner strides 1. Tokens outside the vocabulary count for nothing.
// Launch       grid (rows · ceil(width / (blockDim·VEC))), columns fastest, block (any size up to 128). The blocks of the first row of each
//              run of equal tokens take the whole run; the others end at once.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  rows are added in the order given: equal bits always.
// Error        (rows of the id + 2)·2^-24 of scale · Σ |dx| + |d_table|.
// Traffic      rows·width·sizeof(T) read, the rows of d_table that are met read and written once. Indices, mostly from the caches: every thread reads order and
//              token of its block's row and of the one before; those that take a run also one of each row in it, and a bisection's to find its end.
#include "include/vec.cuh"

struct EmbeddingBackwardParams {
    const i32* tokens;
    const i32* order;
    const void* dx;
    f32* d_table;
    i64 dx_stride;
    i64 d_table_stride;
    i32 rows;
    i32 width;
    i32 vocabulary;
    f32 scale;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(128) embedding_backward(EmbeddingBackwardParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 first = static_cast<i32>(blockIdx.x / column_blocks);
    const i32 token = p.tokens[p.order[first]];
    if (token < 0 || token >= p.vocabulary || (first > 0 && p.tokens[p.order[first - 1]] == token)) return;
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;

    i32 end = first + 1, beyond = p.rows;   // the run ends between the two
    while (end < beyond) {
        const i32 middle = end + (beyond - end) / 2;
        if (p.tokens[p.order[middle]] == token) end = middle + 1; else beyond = middle;
    }
    f32 sum[VEC] = {};
    #pragma unroll 4
    for (i32 n = first; n < end; ++n) {
        f32 dx[VEC];
        load_floats<VEC>(static_cast<const T*>(p.dx) + p.order[n] * p.dx_stride + c, dx);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) sum[i] += dx[i];
    }
    f32* d_table = p.d_table + token * p.d_table_stride + c;
    f32 total[VEC];
    load_floats<VEC>(d_table, total);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) total[i] = fmaf(p.scale, sum[i], total[i]);
    store_floats<VEC>(d_table, total);
}
