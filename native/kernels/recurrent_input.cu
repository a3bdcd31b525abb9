// The start of a recurrent block in a decode step: x|y = round(norm(in) · wᵀ), and the convolution step of the x half, its state shifted
//   in place: what conv1d_step does to the product. The convolution is depthwise, so that the block that made a channel's product can finish it
//   and owns its state: no other block reads it.
//
// Shapes       in T [rows, k], scale T [k], squares f32 [rows, parts]; w T [2·width, k], the rows of x first; input_bias T [width], may be null;
//              conv_weight T [width, taps]; conv_bias T [width]; z and y T [rows, width]; token r of the call belongs to slot[r].
// Kernel       recurrent_input<Core>; the cores, the norm and what they ask for are in skinny.cuh.
// Launch       grid (ceil(2·width / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it.
// Aliasing     none. A slot appears once in a call.
// Determinism  as skinny.cuh; the convolution adds in conv1d's order. Padding gets zeros as z and leaves the state alone.
// Error        normed input and the products as in gated_product; then as conv1d_step.
// Traffic      w once per Core::BATCH rows; in and scale once per tile; z and y once; the state once in and once out.
#include "include/conv_window.cuh"
#include "include/skinny.cuh"

struct RecurrentInputParams {
    SkinnyProductParams product;
    NormInputParams norm;
    const void* input_bias;
    const void* conv_weight;
    const void* conv_bias;
    void* z;
    void* y;
    PackedRows rows;
    SlotMemory state;
    i64 z_stride;
    i64 y_stride;
    i32 width;
    i32 taps;
};

// The convolution of one channel of one row, whose product is x.
template <typename T>
GK_DEVICE void convolve_product(const RecurrentInputParams& p, i32 row, i32 c, f32 x) {
    T* const z = static_cast<T*>(p.z) + row * p.z_stride + c;
    const i32 reach = min_of(available(p.rows, row, row), p.taps - 1);
    if (reach < 0) {
        *z = from_float<T>(0.0f);
        return;
    }
    const f32 input = p.input_bias == nullptr ? x : round_to<T>(x + to_float(static_cast<const T*>(p.input_bias)[c]));
    f32 newest[1] = {input}, sum[1] = {to_float(static_cast<const T*>(p.conv_bias)[c])};
    const T* const weight = static_cast<const T*>(p.conv_weight) + static_cast<i64>(c) * p.taps;
    conv_advance<T, 1>(weight, slot_address(p.state, p.rows.slot[row]), p.taps, reach, p.width, c, newest, sum);
    *z = from_float<T>(sum[0]);
}

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) recurrent_input(RecurrentInputParams p) {
    using T = typename Core::Element;
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * Core::ROWS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, NormInput{p.norm}, PlainRows{first, 2 * p.width}, skinny_shared);

    #pragma unroll 1
    for (i32 i = threadIdx.x; i < Core::ROWS * Core::BATCH; i += SKINNY_THREADS) {
        const i32 v = i % Core::ROWS, b = i / Core::ROWS, column = first + v, row = first_row + b;
        if (column >= 2 * p.width || row >= p.product.rows) continue;
        const f32 value = round_to<T>(tile.sum(v, b));
        if (column < p.width) convolve_product<T>(p, row, column, value);
        else static_cast<T*>(p.y)[row * p.y_stride + column - p.width] = from_float<T>(value);
    }
}
