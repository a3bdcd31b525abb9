// Embedding: y[n, :] = round(scale · table[tokens[n], :])
//
// Shapes       tokens i32 [rows]; table T [vocabulary, width]; y T [rows, width]; inner strides 1. Scale 1 makes it a row gather.
//              A negative token gives a row of zeros; a token past the vocabulary a row of NaN, so that it cannot pass unseen.
// Launch       grid (rows), block (any size up to 256): thread c walks columns c·VEC, + blockDim·VEC.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  each element has one writer and no reduction: equal bits always.
// Error        one rounding of an exact f32 product rounded once: half an ulp of T and half an ulp of f32.
// Traffic      2·rows·width·sizeof(T) + 4·rows bytes.
#include "include/embedding.cuh"

struct EmbeddingParams {
    const i32* tokens;
    const void* table;
    void* y;
    i64 table_stride;
    i64 y_stride;
    i32 width;
    i32 vocabulary;
    f32 scale;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) embedding(EmbeddingParams p) {
    const i64 row = blockIdx.x;
    const i32 token = p.tokens[row];
    T* y = static_cast<T*>(p.y) + row * p.y_stride;   // [width]
    for (i32 c = threadIdx.x * VEC; c < p.width; c += blockDim.x * VEC) {
        f32 v[VEC];
        embedded<T, VEC>(static_cast<const T*>(p.table), p.table_stride, p.vocabulary, token, c, p.scale, v);
        store_floats<VEC>(y + c, v);
    }
}
