// The backward pass of conv1d over the tokens of one call, from the gradient dy of its result, with z = round(x + input_bias)
//   dx_t = round(Σ_k weight[:, taps-1-k] · dy_{t+k})                over the k < taps whose token t+k sees token t
//   d_weight[:, taps-1-k] = Σ_t dy_t · z_{t-k}                      over the t that see token t-k
//   d_bias = Σ_t dy_t
// Token t+k sees token t where both lie in one row and pos[t+k] >= k. Nothing flows into the state that the call began with. Padding
// gets zeros in dx. The two sums are over the tokens of a part; partial_sums adds the parts.
//
// Shapes       x, dy, dx T [tokens, width]; input_bias T [width], may be null; weight T [width, taps]; inner strides 1;
//              weight_parts f32 [parts, width, taps], bias_parts f32 [parts, width], parts = ceil(tokens / tokens_per_part).
// Launch       grid (parts · ceil(width / (blockDim·VEC))), columns fastest, block (any size up to 64). A thread owns VEC channels of a part.
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
//              conv1d_backward_general: any number of taps, at run time, one channel a thread.
// Aliasing     none. What padding holds may be read, and counts for nothing.
// Determinism  a fixed order that depends on the number of tokens alone: equal bits always.
// Error        dx half an ulp of T plus taps·2^-23 of Σ |weight·dy|; parts tokens_per_part·2^-23 of Σ |dy·z| and Σ |dy|.
// Traffic      3·tokens·width·sizeof(T), tokens_per_part + taps - 1 rows of dy read per part; weight, and the parts of both sums, once per part.
//              x and dy of 4 tokens are under way for each thread, asked for as earlier ones are used.
//              conv1d_backward_general requests dy at most 2·taps + 1 times and x taps times, from the caches.
#include "include/conv_window.cuh"

// Tokens whose inputs are under way at a time.
constexpr i32 AHEAD = 4;

struct Conv1DBackwardParams {
    const void* x;
    const void* input_bias;
    const void* weight;
    const void* dy;
    void* dx;
    f32* weight_parts;
    f32* bias_parts;
    PackedRows rows;
    i64 x_stride;
    i64 dy_stride;
    i64 dx_stride;
    i32 tokens_per_part;
    i32 width;
    i32 taps;
};

template <typename T, int VEC, int TAPS>
__global__ void __launch_bounds__(64, 6) conv1d_backward(Conv1DBackwardParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x * VEC);
    const i32 c = (blockIdx.x % column_blocks * blockDim.x + threadIdx.x) * VEC;
    if (c >= p.width) return;
    const i64 part = blockIdx.x / column_blocks;
    const i32 first = static_cast<i32>(part) * p.tokens_per_part;
    const i32 count = min_of(p.tokens_per_part, p.rows.tokens - first);

    const T* x = static_cast<const T*>(p.x) + c;
    const T* dy = static_cast<const T*>(p.dy) + c;
    const T* input_bias = p.input_bias == nullptr ? nullptr : static_cast<const T*>(p.input_bias) + c;
    Vec<T, VEC> next_x[AHEAD], next_dy[AHEAD];
    i32 next_position[AHEAD];   // of the token whose dy it is; -1 past the end
    const auto ask = [&](i32 n, i32 step) {
        const i64 t = static_cast<i64>(first) + step;
        next_position[n] = -1;
        if (step >= count) return;
        next_x[n] = load_vec<VEC>(x + t * p.x_stride);
        if (t + TAPS - 1 >= p.rows.tokens) return;
        next_dy[n] = load_vec<VEC>(dy + (t + TAPS - 1) * p.dy_stride);
        next_position[n] = p.rows.pos[t + TAPS - 1];
    };
    #pragma unroll
    for (i32 n = 0; n < AHEAD; ++n) ask(n, n);
    f32 w[TAPS][VEC];   // [k]: the tap that looks k tokens back
    load_taps<T, VEC, TAPS>(static_cast<const T*>(p.weight) + static_cast<i64>(c) * TAPS, w);
    f32 x_bias[VEC] = {};
    if (input_bias != nullptr) load_floats<VEC>(input_bias, x_bias);

    f32 d_weight[TAPS][VEC] = {}, d_bias[VEC] = {};
    f32 d[TAPS][VEC] = {};   // [k]: dy of the token k after the current one
    i32 position[TAPS];      // and its position; -1 past the end
    #pragma unroll
    for (int k = 0; k < TAPS - 1; ++k) {
        position[k] = k < p.rows.tokens - first ? p.rows.pos[first + k] : -1;
        if (k < p.rows.tokens - first) load_floats<VEC>(dy + static_cast<i64>(first + k) * p.dy_stride, d[k]);
    }
    i32 row = row_of(p.rows, first);
    i32 row_end = p.rows.row_start[row + 1];
    for (i32 group = 0; group < count; group += AHEAD) {
        #pragma unroll
        for (i32 n = 0; n < AHEAD; ++n) {
            if (group + n >= count) break;
            const i32 t = first + group + n;
            while (t >= row_end) row_end = p.rows.row_start[++row + 1];
            f32 z[VEC];
            conv_input<T>(next_x[n], input_bias != nullptr, x_bias, z);
            widen(next_dy[n], 0, d[TAPS - 1]);
            position[TAPS - 1] = next_position[n];
            ask(n, group + n + AHEAD);

            f32 sum[VEC] = {};
            if (position[0] >= 0) {
                #pragma unroll
                for (int k = 0; k < TAPS; ++k) {
                    if (position[k] < k || t + k >= row_end) continue;
                    #pragma unroll
                    for (int i = 0; i < VEC; ++i) {
                        sum[i] = fmaf(w[k][i], d[k][i], sum[i]);
                        d_weight[k][i] = fmaf(d[k][i], z[i], d_weight[k][i]);
                    }
                }
                #pragma unroll
                for (int i = 0; i < VEC; ++i) d_bias[i] += d[0][i];
            }
            store_floats<VEC>(static_cast<T*>(p.dx) + t * p.dx_stride + c, sum);
            #pragma unroll
            for (int k = 0; k < TAPS - 1; ++k) {
                position[k] = position[k + 1];
                #pragma unroll
                for (int i = 0; i < VEC; ++i) d[k][i] = d[k + 1][i];
            }
        }
    }

    f32* weight_part = p.weight_parts + (part * p.width + c) * TAPS;
    #pragma unroll
    for (int piece = 0; piece < TAPS; ++piece) {
        f32 flat[VEC];
        #pragma unroll
        for (int i = 0; i < VEC; ++i) flat[i] = d_weight[TAPS - 1 - (piece * VEC + i) % TAPS][(piece * VEC + i) / TAPS];
        store_floats<VEC>(weight_part + piece * VEC, flat);
    }
    store_floats<VEC>(p.bias_parts + part * p.width + c, d_bias);
}

template <typename T>
__global__ void __launch_bounds__(64) conv1d_backward_general(Conv1DBackwardParams p) {
    const u32 column_blocks = ceil_div(static_cast<u32>(p.width), blockDim.x);
    const i32 c = blockIdx.x % column_blocks * blockDim.x + threadIdx.x;
    if (c >= p.width) return;
    const i64 part = blockIdx.x / column_blocks;
    const i32 first = static_cast<i32>(part) * p.tokens_per_part;
    const i32 last = min_of(first + p.tokens_per_part, p.rows.tokens);
    const i32 first_row = row_of(p.rows, first);

    const T* x = static_cast<const T*>(p.x) + c;
    const T* dy = static_cast<const T*>(p.dy) + c;
    const T* input_bias = p.input_bias == nullptr ? nullptr : static_cast<const T*>(p.input_bias) + c;
    const T* weight = static_cast<const T*>(p.weight) + static_cast<i64>(c) * p.taps;
    f32 d_bias = 0.0f;
    i32 row = first_row, row_end = p.rows.row_start[row + 1];
    for (i64 t = first; t < last; ++t) {
        while (t >= row_end) row_end = p.rows.row_start[++row + 1];
        f32 sum = 0.0f;
        if (p.rows.pos[t] >= 0) {
            d_bias += to_float(dy[t * p.dy_stride]);
            for (i32 k = 0; k < p.taps && t + k < row_end; ++k)
                if (p.rows.pos[t + k] >= k) sum = fmaf(to_float(weight[p.taps - 1 - k]), to_float(dy[(t + k) * p.dy_stride]), sum);
        }
        static_cast<T*>(p.dx)[t * p.dx_stride + c] = from_float<T>(sum);
    }
    p.bias_parts[part * p.width + c] = d_bias;
    for (i32 k = 0; k < p.taps; ++k) {
        f32 d_weight = 0.0f;
        row = first_row;
        row_end = p.rows.row_start[row + 1];
        for (i64 t = first; t < last; ++t) {
            while (t >= row_end) row_end = p.rows.row_start[++row + 1];
            if (p.rows.pos[t] < 0 || t + k >= row_end || p.rows.pos[t + k] < k) continue;
            f32 z[1];
            conv_input<T, 1>(x + t * p.x_stride, input_bias, z);
            d_weight = fmaf(to_float(dy[(t + k) * p.dy_stride]), z[0], d_weight);
        }
        p.weight_parts[(part * p.width + c) * p.taps + p.taps - 1 - k] = d_weight;
    }
}
