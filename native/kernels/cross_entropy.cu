// Soft-capped softmax cross-entropy and its gradient, one row of logits after another: callers may hand over any chunk of the rows
//
//   y_c = cap · tanh(x_c / cap), or x_c where cap is 0 ;  m = max y ;  Z = Σ exp(y_c - m) ;  nll = ln Z + (m - y_target)
//   dlogits_c = round(scale · (exp(y_c - m) / Z - [c = target]) · (1 - (y_c / cap)²)), without the last factor where cap is 0
//
// A row with a target below 0 is not scored: nll 0, gradient 0, logits not read. A NaN among a scored row's logits makes its nll and its gradient NaN,
// and so does +infinity where cap is 0, and a target that is not below `width`: nothing wrong is silently finite.
//
// Shapes       logits f32 [rows, width], nll f32 [rows], target i32 [rows], scale f32 [1], dlogits T [rows, width] or null (then scale is not read);
//              inner strides 1.
// Launch       grid (rows), block (THREADS). VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     dlogits may be exactly logits where T is f32.
// Determinism  the sum has a fixed order that depends on THREADS, VEC and width alone: equal bits at any row count.
// Error        with E = (16·max|y| + 64·VEC + width / (64·THREADS·VEC) + 32) · 2^-24:  nll E + 4·|nll|·2^-24 ;  dlogits one rounding plus
//              |scale| · (p·E + 32·2^-24), p the exact probability.
// Traffic      8·rows·width bytes read, rows·width·sizeof(T) written; 4·rows·width read without dlogits.
#include "include/block.cuh"
#include "include/vec.cuh"

struct CrossEntropyParams {
    const f32* logits;
    const i32* targets;
    const f32* scale;
    f32* nll;
    void* dlogits;
    i64 logits_stride;
    i64 dlogits_stride;
    i32 width;
    f32 cap;
};

GK_DEVICE f32 not_a_number() { return __uint_as_float(0x7FC00000u); }

// tanh(x / cap), and x itself where there is no cap.
GK_DEVICE f32 squash(f32 x, f32 cap) { return cap > 0.0f ? tanhf(x / cap) : x; }

// The capped logit that `squash` stands for.
GK_DEVICE f32 capped(f32 squashed, f32 cap) { return cap > 0.0f ? cap * squashed : squashed; }

// Σ exp(y - maximum) as it grows; the maximum of nothing subtracts as 0.
struct RunningSum {
    f32 maximum = __uint_as_float(0xFF800000u);
    f32 total = 0.0f;
    f32 part = 0.0f;      // not yet in `total`: short sums lose less

    GK_DEVICE f32 base() const { return maximum == __uint_as_float(0xFF800000u) ? 0.0f : maximum; }

    GK_DEVICE void raise(f32 to) {
        if (!(to > maximum)) return;
        const f32 factor = expf(maximum - to);
        total *= factor;
        part *= factor;
        maximum = to;
    }
};

template <typename T, int VEC, int THREADS>
__global__ void __launch_bounds__(THREADS) cross_entropy(CrossEntropyParams p) {
    constexpr int PART = 64;
    const i64 row = blockIdx.x;
    const f32* logits = p.logits + row * p.logits_stride;
    T* gradient = p.dlogits != nullptr ? static_cast<T*>(p.dlogits) + row * p.dlogits_stride : nullptr;
    const i32 first = static_cast<i32>(threadIdx.x) * VEC;
    const i32 target = p.targets[row];
    if (target < 0) {
        if (threadIdx.x == 0) p.nll[row] = 0.0f;
        if (gradient == nullptr) return;
        for (i32 c = first; c < p.width; c += THREADS * VEC) store_fill<VEC>(gradient + c, 0.0f);
        return;
    }
    const bool known = target < p.width;
    f32 target_logit = not_a_number();                              // of the thread that writes the loss
    if (known && threadIdx.x == 0) target_logit = capped(squash(logits[target], p.cap), p.cap);

    RunningSum sum;
    i32 items = 0;
    for (i32 c = first; c < p.width; c += THREADS * VEC) {
        f32 y[VEC];
        load_floats<VEC>(logits + c, y);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) y[i] = capped(squash(y[i], p.cap), p.cap);
        f32 largest = y[0];
        #pragma unroll
        for (int i = 1; i < VEC; ++i) largest = fmaxf(largest, y[i]);
        sum.raise(largest);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) sum.part += expf(y[i] - sum.base());
        if (++items % PART == 0) {
            sum.total += sum.part;
            sum.part = 0.0f;
        }
    }
    sum.total += sum.part;
    sum.part = 0.0f;
    sum.raise(block_max<THREADS>(sum.maximum));
    const f32 total = block_sum<THREADS>(sum.total);
    if (threadIdx.x == 0) p.nll[row] = logf(total) + (sum.base() - target_logit);
    if (gradient == nullptr) return;

    const f32 scale = known ? *p.scale : not_a_number();
    const f32 inverse = 1.0f / total;
    for (i32 c = first; c < p.width; c += THREADS * VEC) {
        f32 x[VEC];
        load_floats<VEC>(logits + c, x);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            const f32 squashed = squash(x[i], p.cap);
            const f32 slope = p.cap > 0.0f ? (1.0f - squashed) * (1.0f + squashed) : 1.0f;
            const f32 probability = expf(capped(squashed, p.cap) - sum.base()) * inverse;
            x[i] = (c + i == target ? probability - 1.0f : probability) * slope * scale;
        }
        store_floats<VEC>(gradient + c, x);
    }
}
