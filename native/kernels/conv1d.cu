// Causal depthwise convolution over packed rows
//   z_t = round(x_t + input_bias)
//   y_t = round(bias + Σ_k weight[:, taps-1-k] · z_{t-k}),  k = 0 … min(taps-1, available(t))
// Tap taps-1 multiplies the current token. z_{t-k} comes from the row where the call holds it, from the slot's state where it does
// not; taps that reach past the document's start, or into a fresh slot, are not read at all. Padding gets zeros.
// conv1d_update afterwards stores the row's last taps-1 inputs (zeros where the document has fewer); it is a kernel of its own
// because other blocks of conv1d still need the old ones.
//
// Source       De et al., Griffin, arXiv:2402.19427; taps and state as the code released with RecurrentGemma has them.
// Shapes       x, y T [tokens, width]; input_bias, bias T [width] (input_bias may be null); weight T [width, taps];
//              state T [taps-1, width] per slot, oldest first; inner strides 1.
// Launch       conv1d: grid (ceil(tokens / STEPS) · ceil(width / (blockDim·VEC))); conv1d_update: grid (rows · the same column
//              blocks); columns fastest, block (any size up to 64; conv1d_update 256). A thread owns VEC channels of STEPS tokens.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements. TAPS 0: any number of taps, at run time.
//              A call on fresh slots alone needs no state: its base may be null.
// Aliasing     none. Inputs of padding may be read, and count for nothing.
// Determinism  taps are added newest first whatever the chunking: equal bits under any split of a sequence.
// Error        half an ulp of T plus taps · 2^-23 of |bias| + Σ |weight·z|.
// Traffic      2·tokens·width·sizeof(T), STEPS + taps - 1 rows of x read per STEPS (without TAPS each tap reads its own, from the caches);
//              weight and biases once per STEPS tokens, pos once per thread and token. The inputs of 8 tokens are under way for each thread, asked for as
//              earlier ones are used.
#include "include/conv_window.cuh"

// Tokens whose inputs are under way at a time.
constexpr i32 AHEAD = 8;

struct Conv1DParams {
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

// What a row's state holds, as far as the window looks back.
GK_DEVICE i32 tokens_held(const PackedRows& rows, i32 row, i32 taps) { return min_of(rows.seen[rows.slot[row]], taps); }

template <typename T, int VEC, int TAPS, int STEPS>
__global__ void __launch_bounds__(64, 6) conv1d(Conv1DParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i32 first = static_cast<i32>(blockIdx.x / column_blocks) * STEPS;
    const i32 steps = min_of(STEPS, p.rows.tokens - first);

    const i32 taps = TAPS > 0 ? TAPS : p.taps;
    const T* x = static_cast<const T*>(p.x) + c;
    const T* input_bias = p.input_bias == nullptr ? nullptr : static_cast<const T*>(p.input_bias) + c;
    const T* weight = static_cast<const T*>(p.weight) + static_cast<i64>(c) * taps;
    f32 bias[VEC];
    load_floats<VEC>(static_cast<const T*>(p.bias) + c, bias);

    constexpr int KEPT = TAPS > 0 ? TAPS : 1;   // inputs kept in registers, newest first; without TAPS only the current one
    f32 w[KEPT][VEC];                           // [k]: the tap that looks k tokens back
    if constexpr (TAPS > 0) load_taps<T, VEC, TAPS>(weight, w);

    f32 x_bias[VEC] = {};
    if (input_bias != nullptr) load_floats<VEC>(input_bias, x_bias);

    f32 z[KEPT][VEC] = {};
    Vec<T, VEC> ahead[AHEAD];
    i32 position[AHEAD];
    const auto ask = [&](i32 n, i32 step) {
        if (step >= steps) return;
        ahead[n] = load_vec<VEC>(x + static_cast<i64>(first + step) * p.x_stride);
        position[n] = p.rows.pos[first + step];
    };
    #pragma unroll
    for (i32 n = 0; n < AHEAD; ++n) ask(n, n);
    i32 row = row_of(p.rows, first);
    i32 row_end = p.rows.row_start[row + 1];
    i32 row_first = p.rows.row_start[row];
    i32 held = tokens_held(p.rows, row, taps);
    if constexpr (TAPS > 0) {
        Vec<T, VEC> before[TAPS - 1] = {};   // what the tile's first tokens see of the row before it
        #pragma unroll
        for (int k = 1; k < TAPS; ++k)
            if (first - k >= row_first) before[k - 1] = load_vec<VEC>(x + static_cast<i64>(first - k) * p.x_stride);
        #pragma unroll
        for (int k = 1; k < TAPS; ++k) conv_input<T>(before[k - 1], input_bias != nullptr, x_bias, z[k - 1]);
    }
    for (i32 group = 0; group < steps; group += AHEAD) {
        #pragma unroll
        for (i32 n = 0; n < AHEAD; ++n) {
            const i32 step = group + n, t = first + step;
            if (step >= steps) break;
            while (t >= row_end) {
                ++row;
                row_first = row_end;
                row_end = p.rows.row_start[row + 1];
                held = tokens_held(p.rows, row, taps);
            }
            const i32 reach = min_of(min_of(position[n], held + (t - row_first)), taps - 1);
            T* y = static_cast<T*>(p.y) + t * p.y_stride + c;
            #pragma unroll
            for (int k = KEPT - 1; k > 0; --k) {
                #pragma unroll
                for (int i = 0; i < VEC; ++i) z[k][i] = z[k - 1][i];
            }
            conv_input<T>(ahead[n], input_bias != nullptr, x_bias, z[0]);
            ask(n, step + AHEAD);
            if (reach < 0) {
                store_fill<VEC>(y, 0.0f);
                continue;
            }
            f32 sum[VEC];
            #pragma unroll
            for (int i = 0; i < VEC; ++i) sum[i] = bias[i];
            if (TAPS > 0 && reach == TAPS - 1 && t - row_first >= TAPS - 1) {   // all of the window in registers: most tokens'
                #pragma unroll
                for (int k = 0; k < KEPT; ++k) {
                    #pragma unroll
                    for (int i = 0; i < VEC; ++i) sum[i] = fmaf(w[k][i], z[k][i], sum[i]);
                }
                store_floats<VEC>(y, sum);
                continue;
            }
            #pragma unroll
            for (int k = 0; k < (TAPS > 0 ? TAPS : taps); ++k) {
                if (k > reach) break;
                f32 earlier[VEC];
                if (k == 0 || (TAPS > 0 && t - k >= row_first)) {
                    #pragma unroll
                    for (int i = 0; i < VEC; ++i) earlier[i] = z[TAPS > 0 ? k : 0][i];
                } else if (t - k >= row_first) {
                    conv_input<T, VEC>(x + (t - k) * p.x_stride, input_bias, earlier);
                } else {
                    conv_history<T, VEC>(slot_address(p.state, p.rows.slot[row]), taps, row_first - (t - k), p.width, c, earlier);
                }
                #pragma unroll
                for (int i = 0; i < VEC; ++i) {
                    const f32 tap = TAPS > 0 ? w[TAPS > 0 ? k : 0][i] : to_float(weight[i * taps + taps - 1 - k]);
                    sum[i] = fmaf(tap, earlier[i], sum[i]);
                }
            }
            store_floats<VEC>(y, sum);
        }
    }
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256) conv1d_update(Conv1DParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i32 row = static_cast<i32>(blockIdx.x / column_blocks);
    const i32 last = last_token(p.rows, row);
    if (last < 0) return;

    const i32 row_first = p.rows.row_start[row];
    const i32 reach = available(p.rows, row, last);
    u8* state = slot_address(p.state, p.rows.slot[row]);
    const T* x = static_cast<const T*>(p.x) + c;
    const T* input_bias = p.input_bias == nullptr ? nullptr : static_cast<const T*>(p.input_bias) + c;
    // Oldest first: what is read from the state lies further on than what has been written.
    for (i32 k = p.taps - 2; k >= 0; --k) {
        f32 z[VEC] = {};
        if (k <= reach) {
            if (last - k >= row_first) conv_input<T, VEC>(x + (last - k) * p.x_stride, input_bias, z);
            else conv_history<T, VEC>(state, p.taps, row_first - (last - k), p.width, c, z);
        }
        store_floats<VEC>(reinterpret_cast<T*>(state) + static_cast<i64>(p.taps - 2 - k) * p.width + c, z);
    }
}
