// The backward pass of rms_norm, with s = 1 / sqrt(mean(x²) + eps) taken from x again, g = 1 + scale, q = Σ_j g_j·dy_j·x_j
//   dx = round([dx +] s·g·dy - x·s³·q / width)         (the old dx is added where `accumulate` is not 0)
//   parts[n] = Σ dy·x·s over the rows of part n;  partial_sums adds the parts to dscale.
//
// Shapes       x, dy, dx T [rows, width]; scale T [width]; parts f32 [ceil(rows / rows_per_part), width]; inner strides 1.
// Launch       grid (parts), block (THREADS): a block takes the rows of one part, one after another.
//              rms_norm_backward keeps a row and its column sums in registers: ITEMS·THREADS·VEC >= width.
//              rms_norm_backward_wide takes any width, reads the row again for its second pass, and keeps the column sums in parts.
//              A block of one thread has no barriers. VEC > 1 needs width, strides and addresses in multiples of VEC elements.
// Aliasing     dx may be exactly dy.
// Determinism  the sums have a fixed order that depends on THREADS, VEC, width and, for dscale, the number of rows.
// Error        f32 throughout: (width / 4 + 32)·2^-24 of |dx| + |s·g·dy| + |x|·s³·Σ|g·dy·x| / width, then one rounding to T;
//              parts (rows_per_part + width / 4 + 32)·2^-24 of Σ |dy·x·s|.
// Traffic      3·rows·width·sizeof(T), one more where dx is added to; scale and a row of parts once per part.
//              rms_norm_backward_wide requests x and dy once more, and scale, and a row of parts both ways, per row.
#include "include/block.cuh"
#include "include/vec.cuh"

struct RmsNormBackwardParams {
    const void* x;
    const void* scale;
    const void* dy;
    void* dx;
    f32* parts;
    i64 x_stride;
    i64 dy_stride;
    i64 dx_stride;
    i32 rows;
    i32 rows_per_part;
    i32 width;
    i32 accumulate;
    f32 eps;
};

// Row pointers of one block, and what both kernels do to VEC elements at column c.
template <typename T, int VEC>
struct NormGradientRow {
    const T* x;
    const T* dy;
    T* dx;

    GK_DEVICE NormGradientRow(const RmsNormBackwardParams& p, i64 row)
        : x(static_cast<const T*>(p.x) + row * p.x_stride), dy(static_cast<const T*>(p.dy) + row * p.dy_stride),
          dx(static_cast<T*>(p.dx) + row * p.dx_stride) {}

    GK_DEVICE void take(i32 c, f32 (&v)[VEC], f32 (&d)[VEC]) const {
        load_floats<VEC>(x + c, v);
        load_floats<VEC>(dy + c, d);
    }

    GK_DEVICE void finish(i32 c, const f32 (&v)[VEC], const f32 (&d)[VEC], const f32 (&g)[VEC], f32 inverse, f32 pull, i32 accumulate) const {
        f32 old[VEC] = {};
        if (accumulate) load_floats<VEC>(dx + c, old);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) old[i] += fmaf(g[i] * d[i], inverse, -(v[i] * pull));
        store_floats<VEC>(dx + c, old);
    }
};

// g = 1 + scale.
template <typename T, int VEC>
GK_DEVICE void load_gain(const RmsNormBackwardParams& p, i32 c, f32 (&g)[VEC]) {
    load_floats<VEC>(static_cast<const T*>(p.scale) + c, g);
    #pragma unroll
    for (int i = 0; i < VEC; ++i) g[i] += 1.0f;
}

// Sums of one row, in as many lanes as a vector has: x² and g·dy·x.
template <int VEC>
struct NormSums {
    f32 squares[VEC] = {};
    f32 products[VEC] = {};

    GK_DEVICE void add(const f32 (&v)[VEC], const f32 (&d)[VEC], const f32 (&g)[VEC]) {
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            squares[i] = fmaf(v[i], v[i], squares[i]);
            products[i] = fmaf(g[i] * d[i], v[i], products[i]);
        }
    }

    // s, and s³·q / width.
    template <int THREADS>
    GK_DEVICE void reduce(const RmsNormBackwardParams& p, f32& inverse, f32& pull) const {
        f32 sums[2] = {};
        #pragma unroll
        for (int i = 0; i < VEC; ++i) {
            sums[0] += squares[i];
            sums[1] += products[i];
        }
        block_reduce<THREADS, SumOf>(sums);
        const f32 width = static_cast<f32>(p.width);
        inverse = 1.0f / sqrtf(sums[0] / width + p.eps);
        pull = inverse * inverse * inverse * (sums[1] / width);
    }
};

template <typename T, int VEC, int THREADS, int ITEMS>
__global__ void __launch_bounds__(THREADS) rms_norm_backward(RmsNormBackwardParams p) {
    f32 g[ITEMS][VEC], column[ITEMS][VEC] = {};
    #pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
        if (c < p.width) load_gain<T>(p, c, g[item]);
    }
    const i64 first = static_cast<i64>(blockIdx.x) * p.rows_per_part;
    const i64 last = min_of<i64>(first + p.rows_per_part, p.rows);
    for (i64 n = first; n < last; ++n) {
        const NormGradientRow<T, VEC> row(p, n);
        f32 v[ITEMS][VEC], d[ITEMS][VEC], inverse, pull;
        NormSums<VEC> sums;
        #pragma unroll
        for (int item = 0; item < ITEMS; ++item) {
            const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
            if (c < p.width) {
                row.take(c, v[item], d[item]);
                sums.add(v[item], d[item], g[item]);
            }
        }
        sums.template reduce<THREADS>(p, inverse, pull);
        #pragma unroll
        for (int item = 0; item < ITEMS; ++item) {
            const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
            if (c < p.width) {
                row.finish(c, v[item], d[item], g[item], inverse, pull, p.accumulate);
                #pragma unroll
                for (int i = 0; i < VEC; ++i) column[item][i] = fmaf(d[item][i] * v[item][i], inverse, column[item][i]);
            }
        }
    }
    #pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        const i32 c = (item * THREADS + static_cast<i32>(threadIdx.x)) * VEC;
        if (c < p.width) store_floats<VEC>(p.parts + static_cast<i64>(blockIdx.x) * p.width + c, column[item]);
    }
}

template <typename T, int VEC, int THREADS>
__global__ void __launch_bounds__(THREADS) rms_norm_backward_wide(RmsNormBackwardParams p) {
    f32* column = p.parts + static_cast<i64>(blockIdx.x) * p.width;
    const i64 first = static_cast<i64>(blockIdx.x) * p.rows_per_part;
    const i64 last = min_of<i64>(first + p.rows_per_part, p.rows);
    for (i64 n = first; n < last; ++n) {
        const NormGradientRow<T, VEC> row(p, n);
        f32 v[VEC], d[VEC], g[VEC], inverse, pull;
        NormSums<VEC> sums;
        for (i32 c = threadIdx.x * VEC; c < p.width; c += THREADS * VEC) {
            row.take(c, v, d);
            load_gain<T>(p, c, g);
            sums.add(v, d, g);
        }
        sums.template reduce<THREADS>(p, inverse, pull);
        for (i32 c = threadIdx.x * VEC; c < p.width; c += THREADS * VEC) {
            f32 part[VEC] = {};
            if (n > first) load_floats<VEC>(column + c, part);
            row.take(c, v, d);
            load_gain<T>(p, c, g);
            row.finish(c, v, d, g, inverse, pull, p.accumulate);
            #pragma unroll
            for (int i = 0; i < VEC; ++i) part[i] = fmaf(d[i] * v[i], inverse, part[i]);
            store_floats<VEC>(column + c, part);
        }
    }
}
