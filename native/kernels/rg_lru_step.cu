// One token per row of the RG-LRU, gates and the GELU branch fused, the state updated in place
//   h ← a·h + sqrt(1 - a²)·i·z, or i·z where pos = 0; out = round(h · gelu(y + y_bias)); the formulas of rg_lru.cu
// A fresh slot counts as h = 0, whatever it holds. Padding gets zeros and leaves the state alone.
//
// Shapes       as rg_lru, with one token in each row: token r belongs to slot[r].
// Launch       grid (rows · ceil(width / (blockDim·VEC))), block (any size up to 256), columns fastest. A thread owns VEC channels.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     out may be exactly z or y. A slot appears once in a call.
// Determinism  the bits that rg_lru's walk gives.
// Error        one step of rg_lru's bound.
// Traffic      5·rows·width·sizeof(T) and the state once in and once out; lambda and y_bias once per row.
#include "include/lru.cuh"
#include "include/rows.cuh"
#include "include/vec.cuh"

struct RgLruStepParams {
    const void* z;
    const void* gates;
    const void* y;
    const void* y_bias;
    const void* lambda;
    void* out;
    PackedRows rows;
    SlotMemory state;
    i64 z_stride;
    i64 gates_stride;
    i64 y_stride;
    i64 out_stride;
    i32 width;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rg_lru_step(RgLruStepParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i64 row = blockIdx.x / column_blocks;
    const i32 position = p.rows.pos[row];
    T* out = static_cast<T*>(p.out) + row * p.out_stride + c;
    if (position < 0) {
        store_fill<VEC>(out, 0.0f);
        return;
    }

    const T* gates = static_cast<const T*>(p.gates) + row * p.gates_stride + c;
    f32 z[VEC], input_gate[VEC], recurrence_gate[VEC], branch[VEC], lambda[VEC], bias[VEC] = {}, h[VEC] = {}, result[VEC];
    load_floats<VEC>(static_cast<const T*>(p.z) + row * p.z_stride + c, z);
    load_floats<VEC>(gates, input_gate);
    load_floats<VEC>(gates + p.width, recurrence_gate);
    load_floats<VEC>(static_cast<const T*>(p.y) + row * p.y_stride + c, branch);
    load_floats<VEC>(static_cast<const T*>(p.lambda) + c, lambda);
    if (p.y_bias != nullptr) load_floats<VEC>(static_cast<const T*>(p.y_bias) + c, bias);
    f32* state = reinterpret_cast<f32*>(slot_address(p.state, p.rows.slot[row])) + c;
    if (available(p.rows, static_cast<i32>(row), static_cast<i32>(row)) > 0) load_floats<VEC>(state, h);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) {
        const LruTerms step = lru_terms(z[i], input_gate[i], recurrence_gate[i], lru_decay(lambda[i]), position == 0);
        h[i] = lru_advance(h[i], step, position == 0);
        result[i] = h[i] * gelu_tanh(branch[i] + bias[i]);
    }
    store_floats<VEC>(state, h);
    store_floats<VEC>(out, result);
}
