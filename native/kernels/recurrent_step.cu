// The middle of a recurrent block in a decode step: both gates, the RG-LRU step, the GELU branch, h updated in place
//   logits_g[r, h·b + j] = round(Σ_i z[r, h·b + i] · w_g[h, i, j] + bias_g[h·b + j]) as block_diagonal_gates has them, then as rg_lru_step:
//   h ← a·h + sqrt(1 - a²)·i·z, or i·z where pos = 0; out = round(h · gelu(y + y_bias)). A fresh slot counts as h = 0, whatever it holds.
//   Padding gets zeros and leaves the state alone.
//
// Shapes       z, y, out T [rows, width], width = blocks · b; w_0 (input) and w_1 (recurrence) T [blocks, b, b] (in, out); biases, lambda T [width];
//              state h f32 [width]; inner strides 1; token r of the call belongs to slot[r].
// Kernels      recurrent_step_mma<NT>        bf16; b and the stride of z multiples of 8, weights and z aligned to 16 bytes. The weights are the
//                                            16-row operand, 16 columns of each gate a block; the batch, 8·NT rows, its columns.
//              recurrent_step_general<T>     anything; a thread takes one channel of four rows.
// Launch       mma: grid (ceil(rows / (8·NT)), blocks · ceil(b / 16)), block (256), dynamic shared as RecurrentStep.cs computes it.
//              general: grid (ceil(rows / 4), ceil(width / 64)), block (64).
// Aliasing     out may be exactly y; not z, of which other blocks read the same columns. A slot appears once in a call.
// Determinism  every sum has an order that depends on b and the kernel alone.
// Error        the logits one ulp of T plus b · 2^-23 · Σ |z · w|; then one step of rg_lru's bound.
// Traffic      the weights once per 8·NT (or 4) rows; z ceil(b / 16) times (or b times, mostly from the caches); y, out, state in and out once.
#include "include/async_copy.cuh"
#include "include/lru.cuh"
#include "include/rows.cuh"
#include "include/skinny.cuh"

struct RecurrentStepParams {
    const void* z;
    const void* input_weight;
    const void* input_bias;
    const void* recurrence_weight;
    const void* recurrence_bias;
    const void* y;
    const void* y_bias;
    const void* lambda;
    void* out;
    PackedRows rows;
    SlotMemory state;
    i64 z_stride;
    i64 y_stride;
    i64 out_stride;
    i32 blocks;
    i32 block_width;
};

// One channel of one row, from the two gates' sums.
template <typename T>
GK_DEVICE void finish_channel(const RecurrentStepParams& p, i32 row, i32 c, f32 input_sum, f32 recurrence_sum) {
    T* const out = static_cast<T*>(p.out) + row * p.out_stride + c;
    const i32 position = p.rows.pos[row];
    if (position < 0) {
        *out = from_float<T>(0.0f);
        return;
    }
    const f32 input_gate = round_to<T>(input_sum + to_float(static_cast<const T*>(p.input_bias)[c]));
    const f32 recurrence_gate = round_to<T>(recurrence_sum + to_float(static_cast<const T*>(p.recurrence_bias)[c]));
    const f32 bias = p.y_bias == nullptr ? 0.0f : to_float(static_cast<const T*>(p.y_bias)[c]);
    const f32 branch = to_float(static_cast<const T*>(p.y)[row * p.y_stride + c]) + bias;
    const f32 z = to_float(static_cast<const T*>(p.z)[row * p.z_stride + c]);
    f32* const state = reinterpret_cast<f32*>(slot_address(p.state, p.rows.slot[row])) + c;
    const f32 past = available(p.rows, row, row) > 0 ? *state : 0.0f;
    const LruTerms step = lru_terms(z, input_gate, recurrence_gate, lru_decay(to_float(static_cast<const T*>(p.lambda)[c])), position == 0);
    const f32 h = lru_advance(past, step, position == 0);
    *state = h;
    *out = from_float<T>(h * gelu_tanh(branch));
}

constexpr i32 RECURRENT_K = 256;               // terms of the sums that a stage holds: 32 for each warp
constexpr i32 RECURRENT_COLUMNS = 16;          // of each gate
constexpr i32 RECURRENT_W_STRIDE = mma_stride(2 * RECURRENT_COLUMNS);
constexpr i32 RECURRENT_Z_STRIDE = mma_stride(RECURRENT_K);

// Both gates' columns side by side, and the rows of z; what lies outside becomes zero. Eight neighbouring lanes copy one column of eight rows of
// weights, or 128 bytes of a row of z: both meet every bank once.
GK_DEVICE void load_recurrent_weights(const RecurrentStepParams& p, bf16* w_tile, i32 h, i32 first_column, i32 first_k) {
    const i32 b = p.block_width;
    for (i32 i = threadIdx.x; i < RECURRENT_K * 2 * RECURRENT_COLUMNS / 8; i += SKINNY_THREADS) {
        const i32 k = i / 32 * 8 + i % 8, piece = i / 8 % 4, column = first_column + piece % 2 * 8;
        const bf16* const w = static_cast<const bf16*>(piece < 2 ? p.input_weight : p.recurrence_weight);
        const bool inside = first_k + k < b && column < b;
        async_copy_16(w_tile + k * RECURRENT_W_STRIDE + piece * 8, inside ? w + (static_cast<i64>(h) * b + first_k + k) * b + column : w, inside ? 16 : 0);
    }
}

template <i32 BATCH>
GK_DEVICE void load_recurrent_input(const RecurrentStepParams& p, bf16* z_tile, i32 first_row, i32 h, i32 first_k) {
    const i32 b = p.block_width;
    const bf16* const z = static_cast<const bf16*>(p.z);
    for (i32 i = threadIdx.x; i < BATCH * RECURRENT_K / 8; i += SKINNY_THREADS) {
        const i32 n = i / (RECURRENT_K / 8), k = i % (RECURRENT_K / 8) * 8;
        const bool inside = first_row + n < p.rows.rows && first_k + k < b;
        async_copy_16(z_tile + n * RECURRENT_Z_STRIDE + k, inside ? z + (first_row + n) * p.z_stride + h * b + first_k + k : z, inside ? 16 : 0);
    }
}

template <i32 NT>
__global__ void __launch_bounds__(SKINNY_THREADS) recurrent_step_mma(RecurrentStepParams p) {
    constexpr i32 BATCH = 8 * NT;
    extern __shared__ Vec<bf16, 8> recurrent_tiles[];
    bf16* const w_tile = recurrent_tiles[0].v;                          // [RECURRENT_K][RECURRENT_W_STRIDE]
    bf16* const z_tile = w_tile + RECURRENT_K * RECURRENT_W_STRIDE;     // [BATCH][RECURRENT_Z_STRIDE]
    const i32 b = p.block_width, tiles = ceil_div(b, RECURRENT_COLUMNS);
    const i32 h = blockIdx.y / tiles, first_column = blockIdx.y % tiles * RECURRENT_COLUMNS, first_row = static_cast<i32>(blockIdx.x) * BATCH;

    MmaAccumulator<2, NT> sum;
    sum.fill(0.0f);
    launch_dependents();
    for (i32 k = 0; k < b; k += RECURRENT_K) {
        load_recurrent_weights(p, w_tile, h, first_column, k);
        if (k == 0) dependency_wait();   // the first weights are under way when z is there
        load_recurrent_input<BATCH>(p, z_tile, first_row, h, k);
        async_commit();
        async_wait<0>();
        __syncthreads();
        const i32 own = warp_id() * (RECURRENT_K / SKINNY_WARPS);
        mma_tile<RECURRENT_K / SKINNY_WARPS / 16>(sum, MmaColumnsA{w_tile + own * RECURRENT_W_STRIDE, RECURRENT_W_STRIDE}, MmaRowsB{z_tile + own, RECURRENT_Z_STRIDE});
        __syncthreads();   // the tiles are free: for the next stage, or for the sums
    }
    const SkinnyTile<2 * RECURRENT_COLUMNS, BATCH, SKINNY_WARPS> tile{reinterpret_cast<f32*>(recurrent_tiles)};
    store_part(tile, warp_id(), sum);
    __syncthreads();

    #pragma unroll 1
    for (i32 i = threadIdx.x; i < RECURRENT_COLUMNS * BATCH; i += SKINNY_THREADS) {
        const i32 v = i % RECURRENT_COLUMNS, n = i / RECURRENT_COLUMNS, column = first_column + v, row = first_row + n;
        if (column < b && row < p.rows.rows) finish_channel<bf16>(p, row, h * b + column, tile.sum(v, n), tile.sum(RECURRENT_COLUMNS + v, n));
    }
}

template <typename T>
__global__ void __launch_bounds__(64) recurrent_step_general(RecurrentStepParams p) {
    constexpr i32 BATCH = 4;
    begin_dependent();
    const i32 b = p.block_width, c = static_cast<i32>(blockIdx.y * 64 + threadIdx.x), first_row = static_cast<i32>(blockIdx.x) * BATCH;
    if (c >= p.blocks * b) return;
    const i32 h = c / b;
    const i64 corner = static_cast<i64>(h) * b * b + (c - h * b);
    f32 sum[2][BATCH] = {};
    #pragma unroll 4
    for (i32 i = 0; i < b; ++i) {
        const f32 input = to_float(static_cast<const T*>(p.input_weight)[corner + static_cast<i64>(i) * b]);
        const f32 recurrence = to_float(static_cast<const T*>(p.recurrence_weight)[corner + static_cast<i64>(i) * b]);
        #pragma unroll
        for (i32 r = 0; r < BATCH; ++r) {
            const f32 z = to_float(static_cast<const T*>(p.z)[min_of(first_row + r, p.rows.rows - 1) * p.z_stride + h * b + i]);
            sum[0][r] = fmaf(z, input, sum[0][r]);
            sum[1][r] = fmaf(z, recurrence, sum[1][r]);
        }
    }
    #pragma unroll
    for (i32 r = 0; r < BATCH; ++r)
        if (first_row + r < p.rows.rows) finish_channel<T>(p, first_row + r, c, sum[0][r], sum[1][r]);
}
