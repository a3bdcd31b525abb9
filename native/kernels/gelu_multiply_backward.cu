// The backward pass of gelu_multiply: with a = g + bg, b = u + bu and the gradient dy of y = gelu(a)·b
//   dg = round(dy · b · gelu'(a)),   du = round(dy · gelu(a))
//
// Shapes       gate_up and d_gate_up T [rows, 2·width], g in the first half of a row, u in the second; bias T [2·width];
//              dy T [rows, width].
// Launch       grid (ceil(rows / ROWS) · ceil(width / (blockDim·VEC))), block (any size up to 256), columns fastest.
//              A thread owns VEC columns of ROWS rows and reads their biases once.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     d_gate_up may be exactly gate_up.
// Determinism  each element has one writer and no reduction: equal bits always.
// Error        half an ulp of T plus (24 + 12·|v|)·2^-24 of |dy|·(|gelu(a)| + |a| / 2^20) for du and of
//              |dy·b|·(s + |a|·s·(1 - s)·v') for dg; s = sigmoid(v), v = 1.6·(a + 0.045·a³).
// Traffic      5·rows·width·sizeof(T); the biases once per ROWS rows.
#include "include/math.cuh"
#include "include/vec.cuh"

struct GeluMultiplyBackwardParams {
    const void* gate_up;
    const void* bias;
    const void* dy;
    void* d_gate_up;
    i64 gate_up_stride;
    i64 dy_stride;
    i64 d_gate_up_stride;
    i32 rows;
    i32 width;
};

template <typename T, int VEC, int ROWS>
__global__ void __launch_bounds__(256) gelu_multiply_backward(GeluMultiplyBackwardParams p) {
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
        f32 g[VEC], u[VEC], dy[VEC];
        load_floats<VEC>(gate, g);
        load_floats<VEC>(gate + p.width, u);
        load_floats<VEC>(static_cast<const T*>(p.dy) + row * p.dy_stride + c, dy);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            const ValueAndSlope gelu = gelu_tanh_with_slope(g[i] + gate_bias[i]);
            g[i] = dy[i] * (u[i] + up_bias[i]) * gelu.slope;
            u[i] = dy[i] * gelu.value;
        }
        T* d_gate = static_cast<T*>(p.d_gate_up) + row * p.d_gate_up_stride + c;
        T* d_up = static_cast<T*>(p.d_gate_up) + row * p.d_gate_up_stride + (c + p.width);
        store_floats<VEC>(d_gate, g);
        store_floats<VEC>(d_up, u);
    }
}
