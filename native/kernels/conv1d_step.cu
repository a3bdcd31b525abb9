// One token per row of the causal depthwise convolution, the state shifted in the same kernel
//   z = round(x_r + input_bias);  y_r = round(bias + weight[:, taps-1]·z + Σ_{k=1} weight[:, taps-1-k] · state[taps-1-k]),
//   k up to min(taps-1, available(r)); then the state drops its oldest input and takes z. Inputs out of reach count as zero and
//   are stored as zero. Padding gets zeros and leaves the state alone.
//
// Shapes       as conv1d, with one token in each row: token r belongs to slot[r].
// Launch       grid (rows · ceil(width / (blockDim·VEC))), block (any size up to 256), columns fastest. A thread owns VEC channels.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     y may be exactly x. A slot appears once in a call.
// Determinism  the order of conv1d: a step gives the bits that conv1d gives.
// Error        half an ulp of T plus taps · 2^-23 of |bias| + Σ |weight·z|.
// Traffic      2·rows·width·sizeof(T), the state once in and once out; weight and biases once per row.
#include "include/conv_window.cuh"

struct Conv1DStepParams {
    const void* x;
    const void* input_bias;
    const void* weight;
    const void* bias;
    void* y;
    PackedRows rows;
    SlotMemory state;
    i64 x_stride;
    i64 y_stride;
    i32 width;
    i32 taps;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) conv1d_step(Conv1DStepParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i32 row = static_cast<i32>(blockIdx.x / column_blocks);
    T* y = static_cast<T*>(p.y) + row * p.y_stride + c;
    const i32 reach = min_of(available(p.rows, row, row), p.taps - 1);
    if (reach < 0) {
        store_fill<VEC>(y, 0.0f);
        return;
    }

    const T* weight = static_cast<const T*>(p.weight) + static_cast<i64>(c) * p.taps;
    const T* input_bias = p.input_bias == nullptr ? nullptr : static_cast<const T*>(p.input_bias) + c;
    u8* state = slot_address(p.state, p.rows.slot[row]);
    f32 z[VEC], sum[VEC];
    conv_input<T, VEC>(static_cast<const T*>(p.x) + row * p.x_stride + c, input_bias, z);
    load_floats<VEC>(static_cast<const T*>(p.bias) + c, sum);
    conv_advance<T, VEC>(weight, state, p.taps, reach, p.width, c, z, sum);
    store_floats<VEC>(y, sum);
}
