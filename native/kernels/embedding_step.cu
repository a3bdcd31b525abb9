// The first kernel of a decode step: y[n, :] = round(scale · table[tokens[n], :]) as embedding has it, and the squares that the first norm needs
//   squares[n] = Σ of the squares of the rounded y[n, :]
//
// Shapes       tokens i32 [rows]; table T [vocabulary, width]; y T [rows, width]; squares f32 [rows, 1]; inner strides 1.
// Launch       grid (rows), block (256). VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     none.
// Determinism  y has one writer an element; the squares have a fixed order that depends on width and VEC.
// Error        as embedding; squares (width / 256 + 16) · 2^-24, relatively.
// Traffic      2·rows·width·sizeof(T) + 8·rows bytes.
#include "include/block.cuh"
#include "include/dependent_launch.cuh"
#include "include/embedding.cuh"

struct EmbeddingStepParams {
    const i32* tokens;
    const void* table;
    void* y;
    f32* squares;
    i64 table_stride;
    i64 y_stride;
    i32 width;
    i32 vocabulary;
    f32 scale;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) embedding_step(EmbeddingStepParams p) {
    begin_dependent();
    const i64 row = blockIdx.x;
    f32 squares = 0.0f;
    for (i32 c = threadIdx.x * VEC; c < p.width; c += 256 * VEC) {
        f32 v[VEC];
        embedded<T, VEC>(static_cast<const T*>(p.table), p.table_stride, p.vocabulary, p.tokens[row], c, p.scale, v);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            v[i] = round_to<T>(v[i]);
            squares = fmaf(v[i], v[i], squares);
        }
        store_floats<VEC>(static_cast<T*>(p.y) + row * p.y_stride + c, v);
    }
    squares = block_sum<256>(squares);
    if (threadIdx.x == 0) p.squares[row] = squares;
}
