// The RG-LRU scan over packed rows, gates and the GELU branch fused
//   r, i = sigmoid of the recurrence and input gate logits;  L_t = -8·softplus(lambda)·r_t;  a_t = e^L_t
//   h_t = a_t·h_{t-1} + sqrt(1 - e^2L_t)·i_t·z_t;  where pos = 0: h_t = i_t·z_t
//   out_t = round(h_t · gelu(y_t + y_bias))
// h is f32 throughout. A row starts from its slot's h, or from zero where the slot is fresh, and leaves there the h of its last
// token; with no state (base null) every row starts from zero and leaves nothing. Padding changes nothing and gets zeros. Where
// `hidden` is given, round(h_t) goes there, for the backward pass.
//
// rg_lru walks each row in time, one thread per VEC channels: for many channels. For few channels time is cut into chunks of
// `chunk` tokens, counted from the row's start, in three kernels: rg_lru_summarize (a chunk as h → A·h + V), rg_lru_carry (the
// h before each chunk, in order, into the place of A) and rg_lru_chunks (each chunk from its h, as rg_lru). Chunk k of row r has
// place row_start[r]/chunk + r + k in the workspace: places never collide, and some stay unused.
//
// Source       De et al., Griffin, arXiv:2402.19427, and the code released with RecurrentGemma, whose lambda is minus the paper's Λ and which
//              drops the root where a document starts.
// Shapes       z, y, out, hidden T [tokens, width] (hidden may be null); gates T [tokens, 2·width], input gate logits first; lambda,
//              y_bias T [width] (y_bias may be null); state f32 [width] per slot; workspace f32 [tokens/chunk + rows, 2, width]; inner strides 1.
// Launch       rg_lru, rg_lru_carry: grid (rows · ceil(width / (blockDim·VEC))); the others: grid ((tokens/chunk + rows) · the same
//              column blocks); columns fastest, block (any size up to 256).
//              VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     out may be exactly z or y in rg_lru and rg_lru_chunks. A slot appears once in a call. hidden shares nothing.
// Determinism  rg_lru: the same bits under any split of a sequence into calls. Chunked: the same bits for the same call.
// Error        with H_t = a_t·H_{t-1} + |v_t|, v_t the second term of h_t:
//              E_t ≤ a_t·E_{t-1} + 2^-24·((8·|L_t| + 4)·a_t·H_{t-1} + 24·|v_t| + H_t) for h; chunked: 4·H_t in place of H_t.
//              hidden: E_t and half an ulp of T. out: E_t·|gelu|, half an ulp of T, and (16 + 8·|u|)·2^-24 of |out|, u = 1.6·(x + 0.045·x³) with x = y + y_bias.
// Traffic      5·tokens·width·sizeof(T) (6 with hidden) and the state once in and once out; chunked: 3·tokens·width·sizeof(T) more, and the
//              workspace 16·width bytes per chunk three times. pos once per thread and token.
#include "include/lru.cuh"
#include "include/rg_lru_params.cuh"
#include "include/scan_chunks.cuh"
#include "include/vec.cuh"

// Tokens whose inputs are asked for before the first of them is used.
constexpr int AHEAD = 4;

// The channels of one thread.
template <typename T, int VEC>
struct Channels {
    const T* z;
    const T* gates;
    const RgLruParams& p;
    i32 c;
    f32 decay[VEC];

    GK_DEVICE Channels(const RgLruParams& params, i32 column)
        : z(static_cast<const T*>(params.z) + column), gates(static_cast<const T*>(params.gates) + column), p(params), c(column) {
        f32 lambda[VEC];
        load_floats<VEC>(static_cast<const T*>(p.lambda) + c, lambda);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) decay[i] = lru_decay(lambda[i]);
    }

    // The inputs of one token, as stored.
    struct Inputs {
        Vec<T, VEC> z, input_gate, recurrence_gate, branch;
    };

    // Asks for the inputs of AHEAD tokens of the span, from t on; padding (and what lies past the span) has position -1.
    template <bool WITH_BRANCH>
    GK_DEVICE void fetch(const Span& span, i32 t, i32 (&position)[AHEAD], Inputs (&in)[AHEAD]) const {
        #pragma unroll
        for (int n = 0; n < AHEAD; ++n) position[n] = t + n < span.last ? p.rows.pos[t + n] : -1;
        #pragma unroll
        for (int n = 0; n < AHEAD; ++n) {
            if (position[n] < 0) continue;
            const i64 token = t + n;
            in[n].z = load_vec<VEC>(z + token * p.z_stride);
            in[n].input_gate = load_vec<VEC>(gates + token * p.gates_stride);
            in[n].recurrence_gate = load_vec<VEC>(gates + token * p.gates_stride + p.width);
            if constexpr (WITH_BRANCH) in[n].branch = load_vec<VEC>(static_cast<const T*>(p.y) + token * p.y_stride + c);
        }
    }

    GK_DEVICE LruTerms terms(const Inputs& in, int i, bool starts) const {
        return lru_terms(to_float(in.z[i]), to_float(in.input_gate[i]), to_float(in.recurrence_gate[i]), decay[i], starts);
    }

    // The h that the row's slot carries in; zero where it is fresh.
    GK_DEVICE void carried(i32 row, f32 (&h)[VEC]) const {
        #pragma unroll
        for (int i = 0; i < VEC; ++i) h[i] = 0.0f;
        if (p.state.base == nullptr) return;
        const i32 slot = p.rows.slot[row];
        if (p.rows.seen[slot] > 0) load_floats<VEC>(reinterpret_cast<const f32*>(slot_address(p.state, slot)) + c, h);
    }

    GK_DEVICE void keep(i32 row, const f32 (&h)[VEC]) const {
        if (p.state.base != nullptr) store_floats<VEC>(reinterpret_cast<f32*>(slot_address(p.state, p.rows.slot[row])) + c, h);
    }

    // Walks the span from h, writing outputs; h ends as the state after the span. True if any token was not padding.
    GK_DEVICE bool walk(const Span& span, f32 (&h)[VEC]) const {
        f32 bias[VEC] = {};
        if (p.y_bias != nullptr) load_floats<VEC>(static_cast<const T*>(p.y_bias) + c, bias);
        bool any = false;
        for (i32 t = span.first; t < span.last; t += AHEAD) {
            i32 position[AHEAD];
            Inputs in[AHEAD];
            fetch<true>(span, t, position, in);
            #pragma unroll
            for (int n = 0; n < AHEAD; ++n) {
                if (t + n >= span.last) break;
                T* out = static_cast<T*>(p.out) + (t + n) * p.out_stride + c;
                T* hidden = p.hidden == nullptr ? nullptr : static_cast<T*>(p.hidden) + (t + n) * p.hidden_stride + c;
                if (position[n] < 0) {
                    store_fill<VEC>(out, 0.0f);
                    if (hidden != nullptr) store_fill<VEC>(hidden, 0.0f);
                    continue;
                }
                any = true;
                f32 result[VEC];
                #pragma unroll
                for (int i = 0; i < VEC; ++i) {
                    h[i] = lru_advance(h[i], terms(in[n], i, position[n] == 0), position[n] == 0);
                    result[i] = h[i] * gelu_tanh(to_float(in[n].branch[i]) + bias[i]);
                }
                store_floats<VEC>(out, result);
                if (hidden != nullptr) store_floats<VEC>(hidden, h);
            }
        }
        return any;
    }

    // The span as h → a·h + v.
    GK_DEVICE void summarize(const Span& span, f32 (&a)[VEC], f32 (&v)[VEC]) const {
        #pragma unroll
        for (int i = 0; i < VEC; ++i) { a[i] = 1.0f; v[i] = 0.0f; }
        for (i32 t = span.first; t < span.last; t += AHEAD) {
            i32 position[AHEAD];
            Inputs in[AHEAD];
            fetch<false>(span, t, position, in);
            #pragma unroll
            for (int n = 0; n < AHEAD; ++n) {
                if (position[n] < 0) continue;
                #pragma unroll
                for (int i = 0; i < VEC; ++i) {
                    const LruTerms step = terms(in[n], i, position[n] == 0);
                    a[i] = position[n] == 0 ? 0.0f : a[i] * step.a;   // a start's 0 stays, whatever came before it
                    v[i] = lru_advance(v[i], step, position[n] == 0);
                }
            }
        }
    }

    // Where the workspace keeps the pair (A, V), or (h, V), of one place.
    GK_DEVICE f32* pair(i64 place) const { return p.workspace + place * 2 * p.width + c; }
};

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 1) rg_lru(RgLruParams p) {
    i32 row;
    const i32 c = column_of<VEC>(p.width, row);
    if (c >= p.width) return;
    const Channels<T, VEC> channels(p, c);
    f32 h[VEC];
    channels.carried(row, h);
    if (channels.walk({row, p.rows.row_start[row], p.rows.row_start[row + 1]}, h)) channels.keep(row, h);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rg_lru_summarize(RgLruParams p) {
    i32 place;
    const i32 c = column_of<VEC>(p.width, place);
    if (c >= p.width) return;
    const Span span = chunk_at(p.rows, p.chunk, place);
    if (span.first == span.last) return;
    const Channels<T, VEC> channels(p, c);
    f32 a[VEC], v[VEC];
    channels.summarize(span, a, v);
    store_floats<VEC>(channels.pair(place), a);
    store_floats<VEC>(channels.pair(place) + p.width, v);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256) rg_lru_carry(RgLruParams p) {
    i32 row;
    const i32 c = column_of<VEC>(p.width, row);
    if (c >= p.width) return;
    const Channels<T, VEC> channels(p, c);
    const i32 tokens = p.rows.row_start[row + 1] - p.rows.row_start[row];
    const i32 first = first_place(p.rows, p.chunk, row);
    f32 h[VEC];
    channels.carried(row, h);
    for (i32 place = first; place < first + ceil_div(tokens, p.chunk); ++place) {
        f32* pair = channels.pair(place);
        f32 a[VEC], v[VEC];
        load_floats<VEC>(pair, a);
        load_floats<VEC>(pair + p.width, v);
        store_floats<VEC>(pair, h);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) h[i] = lru_advance(h[i], {a[i], v[i]}, a[i] == 0.0f);   // 0: started afresh, or faded out
    }
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 1) rg_lru_chunks(RgLruParams p) {
    i32 place;
    const i32 c = column_of<VEC>(p.width, place);
    if (c >= p.width) return;
    const Span span = chunk_at(p.rows, p.chunk, place);
    if (span.first == span.last) return;
    const Channels<T, VEC> channels(p, c);
    f32 h[VEC];
    load_floats<VEC>(channels.pair(place), h);
    channels.walk(span, h);
    if (span.last == p.rows.row_start[span.row + 1] && last_token(p.rows, span.row) >= 0) channels.keep(span.row, h);
}
