// The backward pass of the RG-LRU over fresh packed rows: from dout the gradients of z, both gate logits, the GELU branch and lambda
// With the names of rg_lru.cu, u = y + y_bias, and m = sqrt(1 - e^2L) (both recomputed; where pos = 0: a = 0, m = 1):
//   dh_t = dout_t·gelu(u_t)              dy_t = dout_t·h_t·gelu'(u_t)
//   G_t = dh_t + a_{t+1}·G_{t+1}         the scan, backwards; nothing comes back past the end of a row
//   dz_t = G_t·m_t·i_t                   the direct path only: the gates' own path to z is block_diagonal_gates_backward's
//   dL_t = a_t·G_t·(h_{t-1} - a_t·i_t·z_t·min(1/m_t, 2000))     the reference's clipped derivative of the root; 0 where pos = 0
//   d(input gate) = G_t·m_t·z_t·i_t·(1 - i_t)      d(recurrence gate) = dL_t·(-8·softplus(lambda))·r_t·(1 - r_t)
//   dlambda += sigmoid(lambda)·sum_t -8·r_t·dL_t
// h is `hidden`, as rg_lru left it; h before a row's first token is 0. Padding passes G on and gets zeros; nothing of it is read.
//
// rg_lru_backward walks each row backwards, one thread per VEC channels. For few channels time is cut into chunks (scan_chunks.cuh) in
// three kernels: rg_lru_backward_summarize (a chunk as carry → A·carry + V, where carry is a_{t+1}·G_{t+1}), rg_lru_backward_carry (the
// carry into each chunk, last chunk first, into the place of A) and rg_lru_backward_chunks. Each row, or place, leaves its part of dlambda
// in dlambda_parts; partial_sums adds them in order.
//
// Source       the derivatives of rg_lru.cu's formulas; the limit of 1/m is that of the code released with RecurrentGemma.
// Shapes       z, y, hidden, dout, dz, dy T [tokens, width]; gates, dgates T [tokens, 2·width], input gate first; lambda, y_bias T [width]
//              (y_bias may be null); dlambda_parts f32 [rows, width] or, chunked, [tokens/chunk + rows, width]; carries f32
//              [tokens/chunk + rows, 2, width], chunked only; inner strides 1.
// Launch       rg_lru_backward, ..._carry: grid (rows · ceil(width / (blockDim·VEC))); the others: grid ((tokens/chunk + rows) · the same
//              column blocks); columns fastest, block (any size up to 256).
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     none between what is read and what is written.
// Determinism  the same bits for the same call; rg_lru_backward: a document's bits do not depend on what is packed behind it.
// Error        with G°_t = a_{t+1}·G°_{t+1} + |dh_t|:
//              E_t ≤ a_{t+1}·E_{t+1} + 2^-24·((8·|L_{t+1}| + 4)·a_{t+1}·G°_{t+1} + (24 + 8·|w|)·|dh_t| + G°_t) for G, w = 1.6·(u + 0.045·u³);
//              chunked: 4·G°_t in place of G°_t. Each result is linear in G (dy: in dout·h): its error is E_t/|G_t| of its terms' magnitude,
//              (64 + 24·|L|)·2^-24 of that magnitude, 2^-63 in m (where L is below the normal numbers), and half an ulp of T.
//              dlambda: the sum of its terms' errors, and tokens·2^-24 of its terms.
// Traffic      least: 10·tokens·width·sizeof(T) (z, y, hidden, dout, dz, dy once, both gates in and out), with 11 requested since a token's h is
//              its own and its follower's; chunked: 3·tokens·width·sizeof(T) more, and the carries three times.
#include "include/lru.cuh"
#include "include/rg_lru_params.cuh"
#include "include/scan_chunks.cuh"
#include "include/vec.cuh"

// The channels of one thread.
template <typename T, int VEC>
struct BackwardChannels {
    // Tokens whose inputs are asked for before the first of them is used; long vectors fill the registers by themselves.
    static constexpr int AHEAD = VEC > 2 ? 2 : 4;

    const RgLruBackwardParams& p;
    i32 c;
    f32 decay[VEC];
    f32 bias[VEC];

    GK_DEVICE BackwardChannels(const RgLruBackwardParams& params, i32 column) : p(params), c(column) {
        load_floats<VEC>(static_cast<const T*>(p.lambda) + c, decay);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            decay[i] = lru_decay(decay[i]);
            bias[i] = 0.0f;
        }
        if (p.y_bias != nullptr) load_floats<VEC>(static_cast<const T*>(p.y_bias) + c, bias);
    }

    // The inputs of one token, as stored.
    struct Inputs {
        Vec<T, VEC> recurrence_gate, branch, dout, z, input_gate, h, before;   // before: h of the token before
    };

    GK_DEVICE Vec<T, VEC> at(const void* data, i64 token, i64 stride, i32 column) const {
        return load_vec<VEC>(static_cast<const T*>(data) + token * stride + column);
    }

    // Asks for the inputs of AHEAD tokens of the span, from t on backwards; padding (and what lies before the span) has position -1.
    template <bool ALL>
    GK_DEVICE void fetch(const Span& span, i32 t, i32 (&position)[AHEAD], Inputs (&in)[AHEAD]) const {
        #pragma unroll
        for (int n = 0; n < AHEAD; ++n) position[n] = t - n >= span.first ? p.rows.pos[t - n] : -1;
        const i32 row_first = p.rows.row_start[span.row];
        #pragma unroll
        for (int n = 0; n < AHEAD; ++n) {
            if (position[n] < 0) continue;
            const i64 token = t - n;
            in[n].recurrence_gate = at(p.gates, token, p.gates_stride, c + p.width);
            in[n].branch = at(p.y, token, p.y_stride, c);
            in[n].dout = at(p.dout, token, p.dout_stride, c);
            if constexpr (ALL) {
                in[n].z = at(p.z, token, p.z_stride, c);
                in[n].input_gate = at(p.gates, token, p.gates_stride, c);
                in[n].h = at(p.hidden, token, p.hidden_stride, c);
                if (position[n] > 0 && token > row_first) in[n].before = at(p.hidden, token - 1, p.hidden_stride, c);
            }
        }
    }

    // Writes the gradients of the span's tokens; `carry` comes in from behind the span and leaves in front of it.
    GK_DEVICE void walk(const Span& span, f32 (&carry)[VEC], f32 (&dlambda)[VEC]) const {
        const i32 row_first = p.rows.row_start[span.row];
        #pragma unroll
        for (int i = 0; i < VEC; ++i) dlambda[i] = 0.0f;
        for (i32 t = span.last - 1; t >= span.first; t -= AHEAD) {
            i32 position[AHEAD];
            Inputs in[AHEAD];
            fetch<true>(span, t, position, in);
            #pragma unroll
            for (int n = 0; n < AHEAD; ++n) {
                if (t - n < span.first) break;
                step(t - n, position[n], t - n > row_first, in[n], carry, dlambda);
            }
        }
    }

    GK_DEVICE void step(i64 token, i32 position, bool has_before, const Inputs& in, f32 (&carry)[VEC], f32 (&dlambda)[VEC]) const {
        T* const dz = static_cast<T*>(p.dz) + token * p.dz_stride + c;
        T* const dy = static_cast<T*>(p.dy) + token * p.dy_stride + c;
        T* const dinput = static_cast<T*>(p.dgates) + token * p.dgates_stride + c;
        T* const drecurrence = dinput + p.width;
        if (position < 0) {
            store_fill<VEC>(dz, 0.0f);
            store_fill<VEC>(dy, 0.0f);
            store_fill<VEC>(dinput, 0.0f);
            store_fill<VEC>(drecurrence, 0.0f);
            return;
        }
        f32 to_z[VEC], to_branch[VEC], to_input[VEC], to_recurrence[VEC];
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            const ValueAndSlope gelu = gelu_tanh_with_slope(to_float(in.branch[i]) + bias[i]);
            const ValueAndSlope gate = sigmoid_with_slope(to_float(in.input_gate[i]));
            const f32 dout = to_float(in.dout[i]), z = to_float(in.z[i]);
            const f32 g = fmaf(dout, gelu.value, carry[i]);
            to_branch[i] = dout * to_float(in.h[i]) * gelu.slope;
            if (position == 0) {
                to_z[i] = g * gate.value;
                to_input[i] = g * z * gate.slope;
                to_recurrence[i] = 0.0f;
                carry[i] = 0.0f;
            } else {
                const ValueAndSlope r = sigmoid_with_slope(to_float(in.recurrence_gate[i]));
                const f32 log_a = decay[i] * r.value;
                const f32 a = expf(log_a), m = sqrtf(-expm1f(2.0f * log_a));
                const f32 before = has_before ? to_float(in.before[i]) : 0.0f;
                carry[i] = a * g;
                const f32 dlog_a = carry[i] * (before - a * gate.value * z * fminf(1.0f / m, MOST_INVERSE_M));
                to_z[i] = g * m * gate.value;
                to_input[i] = g * m * z * gate.slope;
                to_recurrence[i] = dlog_a * decay[i] * r.slope;
                dlambda[i] = fmaf(-8.0f * r.value, dlog_a, dlambda[i]);
            }
        }
        store_floats<VEC>(dz, to_z);
        store_floats<VEC>(dy, to_branch);
        store_floats<VEC>(dinput, to_input);
        store_floats<VEC>(drecurrence, to_recurrence);
    }

    // The span as carry → a·carry + v.
    GK_DEVICE void summarize(const Span& span, f32 (&a)[VEC], f32 (&v)[VEC]) const {
        #pragma unroll
        for (int i = 0; i < VEC; ++i) { a[i] = 1.0f; v[i] = 0.0f; }
        for (i32 t = span.last - 1; t >= span.first; t -= AHEAD) {
            i32 position[AHEAD];
            Inputs in[AHEAD];
            fetch<false>(span, t, position, in);
            #pragma unroll
            for (int n = 0; n < AHEAD; ++n) {
                if (position[n] < 0) continue;
                #pragma unroll
                for (int i = 0; i < VEC; ++i) {
                    const f32 dh = to_float(in[n].dout[i]) * gelu_tanh(to_float(in[n].branch[i]) + bias[i]);
                    const f32 step = position[n] == 0 ? 0.0f : expf(decay[i] * sigmoid(to_float(in[n].recurrence_gate[i])));
                    a[i] = position[n] == 0 ? 0.0f : a[i] * step;
                    v[i] = position[n] == 0 ? 0.0f : step * (v[i] + dh);
                }
            }
        }
    }

    // Leaves this row's, or place's, part of dlambda.
    GK_DEVICE void leave(i32 unit, const f32 (&dlambda)[VEC]) const {
        f32 lambda[VEC];
        load_floats<VEC>(static_cast<const T*>(p.lambda) + c, lambda);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) lambda[i] = sigmoid(lambda[i]) * dlambda[i];
        store_floats<VEC>(p.dlambda_parts + static_cast<i64>(unit) * p.width + c, lambda);
    }

    // Where the pair (A, V), or (carry, V), of one place is kept.
    GK_DEVICE f32* pair(i64 place) const { return p.carries + place * 2 * p.width + c; }
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 1) rg_lru_backward(RgLruBackwardParams p) {
    i32 row;
    const i32 c = column_of<VEC>(p.width, row);
    if (c >= p.width) return;
    const BackwardChannels<T, VEC> channels(p, c);
    f32 carry[VEC] = {}, dlambda[VEC];
    channels.walk({row, p.rows.row_start[row], p.rows.row_start[row + 1]}, carry, dlambda);
    channels.leave(row, dlambda);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 1) rg_lru_backward_summarize(RgLruBackwardParams p) {
    i32 place;
    const i32 c = column_of<VEC>(p.width, place);
    if (c >= p.width) return;
    const Span span = chunk_at(p.rows, p.chunk, place);
    if (span.first == span.last) return;
    const BackwardChannels<T, VEC> channels(p, c);
    f32 a[VEC], v[VEC];
    channels.summarize(span, a, v);
    store_floats<VEC>(channels.pair(place), a);
    store_floats<VEC>(channels.pair(place) + p.width, v);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rg_lru_backward_carry(RgLruBackwardParams p) {
    i32 row;
    const i32 c = column_of<VEC>(p.width, row);
    if (c >= p.width) return;
    const i32 chunks = ceil_div(p.rows.row_start[row + 1] - p.rows.row_start[row], p.chunk);
    const i32 first = first_place(p.rows, p.chunk, row);
    f32 carry[VEC] = {};
    for (i32 place = first + chunks - 1; place >= first; --place) {
        f32* const pair = p.carries + static_cast<i64>(place) * 2 * p.width + c;
        f32 a[VEC], v[VEC];
        load_floats<VEC>(pair, a);
        load_floats<VEC>(pair + p.width, v);
        store_floats<VEC>(pair, carry);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) carry[i] = fmaf(a[i], carry[i], v[i]);
    }
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 1) rg_lru_backward_chunks(RgLruBackwardParams p) {
    i32 place;
    const i32 c = column_of<VEC>(p.width, place);
    if (c >= p.width) return;
    const Span span = chunk_at(p.rows, p.chunk, place);
    const BackwardChannels<T, VEC> channels(p, c);
    f32 carry[VEC] = {}, dlambda[VEC];
    if (span.first < span.last) load_floats<VEC>(channels.pair(place), carry);
    channels.walk(span, carry, dlambda);   // an unused place leaves zeros
    channels.leave(place, dlambda);
}
