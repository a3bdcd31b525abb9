// The middle of the gated MLP: y = round(gelu(g + bg) · (u + bu)), gelu in its tanh form
//
// Source       Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202 (GEGLU), with the tanh form of Hendrycks and Gimpel, arXiv:1606.08415.
// Shapes       gate_up T [rows, 2·width], g in the first half of a row, u in the second; bias T [2·width]; y T [rows, width].
// Launch       grid (ceil(rows / ROWS) · ceil(width / (blockDim·VEC))), block (any size up to 256), columns fastest.
//              A thread owns VEC columns of ROWS rows and reads their biases once.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     y may be exactly the first or the second half of gate_up.
// Determinism  each element has one writer and no reduction: equal bits always.
// Error        half an ulp of T plus (18 + 8·|v|)·2^-24 of |y|, v = 1.6·(x + 0.045·x³) with x = g + bg, and |u + bu|·2^-126.
// Traffic      3·rows·width·sizeof(T); the biases once per ROWS rows.
#include "include/math.cuh"
#include "include/vec.cuh"

struct GeluMultiplyParams {
    const void* gate_up;
    const void* bias;
    void* y;
    i64 gate_up_stride;
    i64 y_stride;
    i32 rows;
    i32 width;
};

template <typename T, int VEC, int ROWS>
__global__ void __launch_bounds__(256) gelu_multiply(GeluMultiplyParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i64 first = static_cast<i64>(blockIdx.x / column_blocks) * ROWS;
    const i64 last = min_of<i64>(first + ROWS, p.rows);

    f32 gate_bias[VEC], up_bias[VEC];
    load_floats<VEC>(static_cast<const T*>(p.bias) + c, gate_bias);
    load_floats<VEC>(static_cast<const T*>(p.bias) + p.width + c, up_bias);
    for (i64 row = first; row < last; ++row) {
        const T* gate = static_cast<const T*>(p.gate_up) + row * p.gate_up_stride + c;
        f32 g[VEC], u[VEC];
        load_floats<VEC>(gate, g);
        load_floats<VEC>(gate + p.width, u);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) g[i] = gelu_tanh(g[i] + gate_bias[i]) * (u[i] + up_bias[i]);
        store_floats<VEC>(static_cast<T*>(p.y) + row * p.y_stride + c, g);
    }
}
