// The end of a block for many rows, and all that the norm after it needs: x ← round(x + (round(in · wᵀ) + bias)), and of the new x
//
//   scaled[r, c] = round(x · (1 + scale[c]))        factors[r] = 1 / sqrt(mean over c of x² + eps)
//
// so that norm(x) · Wᵀ = factors · (scaled · Wᵀ): the product that follows (matmul.cu, gated_matmul.cu) multiplies its float32 sums by the factor of
// their row, and no kernel norms anything. scaled · factor is as far from the exact norm as rms_norm's own result, half an ulp of T, but not the same bits.
//
// Shapes       in T [rows, k]; w T [width, k]; bias T [width], may be null; scale T [width]; x, scaled T [rows, width];
//              squares f32 [rows, ceil(width / 32)], adjacent rows: the sum of x² over 32 columns each; factors f32 [rows]; inner strides 1.
// Kernels      residual_matmul_mma       bf16; k, width and all strides multiples of 8, addresses of 16 bytes.
//              residual_matmul_warpgroup  Tiles = WarpgroupTiles; as residual_matmul_mma, for sm_90a.
//              residual_matmul_general   anything. No TF32.
//              residual_factors          squares into factors, after either.
// Launch       residual_matmul_mma       Tiles of matmul_tiles.cuh whose warps cover multiples of 32 columns: grid (ceil(rows / Tiles::ROWS),
//                                        ceil(width / Tiles::COLUMNS)), block (Tiles::THREADS), dynamic shared Tiles::SHARED_BYTES.
//              residual_matmul_warpgroup  grid min(tiles of 128 x 256, multiprocessors), block (384), dynamic shared WarpgroupTiles::SHARED_BYTES; the maps'
//                                        boxes are 64 of k by 128 rows of in, 64 by 256 of w, with the swizzle of 128 bytes.
//              residual_matmul_general   grid (ceil(rows / 64), ceil(width / 64)), block (256).
//              residual_factors          grid (ceil(rows / 8)), block (256): a warp a row.
// Aliasing     x in place; scaled is not x.
// Determinism  the product as matmul.cu, so that x has the bits of matmul and rms_norm's residual. Squares add up by eights of neighbouring columns, then in
//              a butterfly, then the parts of a row in a fixed order: none of it depends on the rows or on the tile. Kernels differ from each other as matmul.cu's do.
// Error        x: the product one ulp of T plus k · 2^-23 · Σ |in · w|, then one rounding of the sum. scaled: one rounding. factors: (20 + width / 1024) · 2^-24
//              relative, from the x that was stored.
// Traffic      in ceil(width / Tiles::COLUMNS) times and w ceil(rows / Tiles::ROWS) times, as matmul.cu; x read once and written once, scaled and squares written once,
//              all in whole sectors; bias and scale once per tile and warp row. Squares are read once. Against product and norm apart it saves the writing
//              and reading of the product: 2·rows·width elements, and the launch.
#include "include/matmul_tiles.cuh"
#include "include/quad.cuh"
#include "include/vec.cuh"
#include "include/warpgroup_tiles.cuh"

struct ResidualMatMulParams {
    const void* in;
    const void* w;
    const void* bias;
    const void* scale;
    void* x;
    void* scaled;
    f32* squares;
    i64 in_stride;
    i64 w_stride;
    i64 x_stride;
    i64 scaled_stride;
    i32 rows;
    i32 width;
    i32 k;
};

struct ResidualMatMulTensorParams {
    TensorMap in;
    TensorMap w;
    ResidualMatMulParams plain;
};

struct ResidualFactorsParams {
    const f32* squares;
    f32* factors;
    i32 rows;
    i32 width;
    f32 eps;
};

constexpr i32 PART = 32;   // columns of one sum of squares

// Adds N neighbouring columns' products, rounded already, to x, and stores it and scaled.
template <typename T, i32 N>
GK_DEVICE f32 add_residual(const ResidualMatMulParams& p, i32 row, i32 column, const f32 (&product)[N], const f32 (&bias)[N], const f32 (&scale)[N]) {
    T* const x = static_cast<T*>(p.x) + row * p.x_stride + column;
    f32 v[N], squares = 0.0f;
    load_floats<N>(x, v);
    #pragma unroll
    for (i32 i = 0; i < N; ++i) {
        v[i] = round_to<T>(v[i] + (product[i] + bias[i]));
        squares = fmaf(v[i], v[i], squares);
    }
    store_floats<N>(x, v);
    #pragma unroll
    for (i32 i = 0; i < N; ++i) v[i] *= 1.0f + scale[i];
    store_floats<N>(static_cast<T*>(p.scaled) + row * p.scaled_stride + column, v);
    return squares;
}

// What all rows share of N neighbouring columns: bias, or zeros, and scale.
template <typename T, i32 N>
GK_DEVICE void load_columns(const ResidualMatMulParams& p, i32 column, f32 (&bias)[N], f32 (&scale)[N]) {
    #pragma unroll
    for (i32 i = 0; i < N; ++i) bias[i] = 0.0f;
    if (p.bias != nullptr) load_floats<N>(static_cast<const T*>(p.bias) + column, bias);
    load_floats<N>(static_cast<const T*>(p.scale) + column, scale);
}

template <typename Tiles>
GK_DEVICE void store_tile(const ResidualMatMulParams& p, const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) {
    static_assert(Tiles::NT % 4 == 0, "a warp covers whole parts");
    constexpr i32 VISITS = 2 * Tiles::MT;   // rows of a lane
    const i32 parts = ceil_div(p.width, PART);
    #pragma unroll
    for (i32 g = 0; g < Tiles::NT / 4; ++g) {
        // Each lane's two columns of four fragments become eight neighbouring columns, so that a quad moves 64 bytes of a row.
        u32 words[VISITS][4];
        f32 squares[VISITS];
        #pragma unroll
        for (i32 v = 0; v < VISITS; ++v) {
            squares[v] = 0.0f;
            #pragma unroll
            for (i32 i = 0; i < 4; ++i) words[v][i] = mma_pack(sum.v[v / 2][4 * g + i][v % 2 * 2], sum.v[v / 2][4 * g + i][v % 2 * 2 + 1]);
        }
        quad_transpose(words);
        const i32 part = first_column + Tiles::warp_column() + g * PART, column = part + 8 * (lane_id() % 4);
        if (column < p.width) {
            f32 bias[8], scale[8];
            load_columns<bf16>(p, column, bias, scale);
            #pragma unroll
            for (i32 v = 0; v < VISITS; ++v) {
                const i32 row = first_row + Tiles::warp_row() + sum.row(v / 2, v % 2 * 2);
                if (row >= p.rows) continue;
                f32 product[8];
                #pragma unroll
                for (i32 i = 0; i < 4; ++i) {
                    product[2 * i] = __uint_as_float(words[v][i] << 16);
                    product[2 * i + 1] = __uint_as_float(words[v][i] & 0xffff0000u);
                }
                squares[v] = add_residual<bf16>(p, row, column, product, bias, scale);
            }
        }
        warp_sum<4>(squares);
        if (lane_id() % 4 != 0 || part >= p.width) continue;
        #pragma unroll
        for (i32 v = 0; v < VISITS; ++v) {
            const i32 row = first_row + Tiles::warp_row() + sum.row(v / 2, v % 2 * 2);
            if (row < p.rows) p.squares[static_cast<i64>(row) * parts + part / PART] = squares[v];
        }
    }
}

template <typename Tiles>
__global__ void __launch_bounds__(Tiles::THREADS) residual_matmul_mma(ResidualMatMulParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    const i32 first_row = blockIdx.x * Tiles::ROWS, first_column = blockIdx.y * Tiles::COLUMNS;
    const typename Tiles::Accumulator sum = Tiles::run(
        RowsOf<bf16>{static_cast<const bf16*>(p.in), p.in_stride, first_row, p.rows},
        RowsOf<bf16>{static_cast<const bf16*>(p.w), p.w_stride, first_column, p.width}, p.k, matmul_tiles[0].v);
    store_tile<Tiles>(p, sum, first_row, first_column);
}

template <typename Tiles>
__global__ void __launch_bounds__(Tiles::THREADS, 1) residual_matmul_warpgroup(const __grid_constant__ ResidualMatMulTensorParams p) {
    extern __shared__ Vec<bf16, 8> matmul_tiles[];
    Tiles::run(
        matmul_tiles[0].v, p.plain.rows, p.plain.width, p.plain.k,
        [&](bf16* in, bf16* w, Mbarrier* full, i32 first_row, i32 first_column, i32 first_k) {
            tensor_copy(in, p.in, full, first_k, first_row);
            tensor_copy(w, p.w, full, first_k, first_column);
        },
        [&](const typename Tiles::Accumulator& sum, i32 first_row, i32 first_column) { store_tile<Tiles>(p.plain, sum, first_row, first_column); });
}

template <typename T>
__global__ void __launch_bounds__(GeneralTile::THREADS) residual_matmul_general(ResidualMatMulParams p) {
    constexpr i32 PARTS = GeneralTile::COLUMNS / PART;
    const i32 first_row = blockIdx.x * GeneralTile::ROWS, first_column = blockIdx.y * GeneralTile::COLUMNS;
    f32 sum[4][4] = {};
    GeneralTile::run(RowsOf<T>{static_cast<const T*>(p.in), p.in_stride, first_row, p.rows}, RowsOf<T>{static_cast<const T*>(p.w), p.w_stride, first_column, p.width}, p.k, sum);
    f32 squares[4 * PARTS] = {};
    #pragma unroll
    for (i32 j = 0; j < 4; ++j) {
        const i32 column = first_column + GeneralTile::column(j);
        if (column >= p.width) continue;
        f32 bias[1], scale[1];
        load_columns<T>(p, column, bias, scale);
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            const i32 row = first_row + GeneralTile::row(i);
            const f32 product[1] = {round_to<T>(sum[i][j])};
            if (row < p.rows) squares[i * PARTS + j / 2] += add_residual<T>(p, row, column, product, bias, scale);
        }
    }
    warp_sum<16>(squares);   // sixteen lanes share four rows
    if (lane_id() % 16 != 0) return;
    #pragma unroll
    for (i32 s = 0; s < 4 * PARTS; ++s) {
        const i32 row = first_row + GeneralTile::row(s / PARTS), part = first_column / PART + s % PARTS, parts = ceil_div(p.width, PART);
        if (row < p.rows && part < parts) p.squares[static_cast<i64>(row) * parts + part] = squares[s];
    }
}

template <i32 THREADS>
__global__ void __launch_bounds__(THREADS) residual_factors(ResidualFactorsParams p) {
    const i32 row = static_cast<i32>(blockIdx.x) * (THREADS / 32) + warp_id();
    if (row >= p.rows) return;
    const i32 parts = ceil_div(p.width, PART);
    const f32* const squares = p.squares + static_cast<i64>(row) * parts;
    f32 sum = 0.0f;
    for (i32 i = lane_id(); i < parts; i += 32) sum += squares[i];
    sum = warp_sum(sum);
    if (lane_id() == 0) p.factors[row] = 1.0f / sqrtf(sum / static_cast<f32>(p.width) + p.eps);
}
