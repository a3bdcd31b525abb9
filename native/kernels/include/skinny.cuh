// Skinny products: few rows of activations times a large weight, the prologue and the epilogue of the caller around them.
//   sums[v, b] = Σ_k w[row(v), k] · x[b, k],  x plain, or normed on the way: round(x · inverse[b] · (1 + scale[k])) as rms_norm rounds it
//
// A block of 256 threads takes ROWS rows of the weight (which ones, the caller's map says) and BATCH rows of x, and leaves PARTS partial
// sums of each of its ROWS · BATCH results in shared memory; SkinnyTile adds them in a fixed order. K is divided among the block's warps.
//   SkinnyMma<MT, NT, STEPS>   bf16, K a multiple of 8, 16-byte aligned rows. The weights are the 16-row operand of mma and the batch its
//                              8 columns. Both go from global memory to registers in the fragments' own layout: each lane reads 16 bytes,
//                              four lanes 64 bytes of a row. That reorders k within groups of 32, equally in both operands. A warp has
//                              STEPS such groups under way for each of 16·MT rows, and the next STEPS behind them.
//   SkinnyFma<T, VEC, BATCH>   any K that VEC divides; four rows of the weight a warp, half of K each, one group ahead.
//
// inverse[b] comes from partial sums of squares, [rows, parts], that the kernel before left: reading them costs parts · 4 bytes of a row,
// where summing anew would read the row twice and put a block-wide reduction between the loads and the first product.
//
// A block asks for its first weights before it waits for the kernels before its own (dependent_launch.cuh): launched as a dependent kernel it has
// 16 KB of them under way when the activations are there.
//
// Determinism  the order of every sum depends on K, parts and the variant alone, not on what the other rows hold.
// Traffic      of a block: its rows of w once, x and scale once, the partial sums once. The grid's second dimension walks tiles of BATCH rows:
//              w is requested once per tile of rows, x once per tile of w.
#pragma once
#include "include/dependent_launch.cuh"
#include "include/mma.cuh"
#include "include/vec.cuh"

struct SkinnyProductParams {
    const void* x;          // T [rows, k]
    const void* w;          // T [any, k]
    i64 x_stride;
    i64 w_stride;
    i32 rows;
    i32 k;
};

struct NormInputParams {
    const void* scale;      // T [k]
    const f32* squares;     // [rows, parts]: their sum is that of the row's squares
    i32 parts;
    f32 eps;
};

constexpr i32 SKINNY_THREADS = 256;
constexpr i32 SKINNY_WARPS = SKINNY_THREADS / 32;

// What happens to x on the way: nothing, or the norm.
struct PlainInput {
    static constexpr bool NORMED = false;
};
struct NormInput {
    static constexpr bool NORMED = true;
    const NormInputParams& norm;
};

// 1 / rms of the block's rows of x, in shared memory; a barrier at the end.
template <i32 BATCH>
GK_DEVICE void row_inverses(f32* inverses, const NormInputParams& norm, i32 first_row, i32 rows, i32 k) {
    for (i32 b = warp_id(); b < BATCH; b += SKINNY_WARPS) {
        const f32* squares = norm.squares + static_cast<i64>(min_of(first_row + b, rows - 1)) * norm.parts;
        f32 sum = 0.0f;
        for (i32 i = lane_id(); i < norm.parts; i += 32) sum += squares[i];
        sum = warp_sum(sum);
        if (lane_id() == 0) inverses[b] = 1.0f / sqrtf(sum / static_cast<f32>(k) + norm.eps);
    }
    __syncthreads();
}

// The partial sums of a tile, [PARTS][BATCH][STRIDE].
template <i32 ROWS, i32 BATCH, i32 PARTS>
struct SkinnyTile {
    static constexpr i32 STRIDE = ROWS + 4;   // accumulators of a warp meet every bank once
    static constexpr i32 FLOATS = PARTS * BATCH * STRIDE;
    f32* parts;

    GK_DEVICE f32& part(i32 index, i32 row, i32 b) const { return parts[(index * BATCH + b) * STRIDE + row]; }
    GK_DEVICE f32 sum(i32 row, i32 b) const {
        f32 total = part(0, row, b);
        #pragma unroll
        for (i32 i = 1; i < PARTS; ++i) total += part(i, row, b);
        return total;
    }
};

// Leaves a warp's accumulators as partial sum number `index`.
template <i32 MT, i32 NT, i32 PARTS>
GK_DEVICE void store_part(const SkinnyTile<16 * MT, 8 * NT, PARTS>& tile, i32 index, const MmaAccumulator<MT, NT>& sum) {
    #pragma unroll
    for (i32 mt = 0; mt < MT; ++mt) {
        #pragma unroll
        for (i32 nt = 0; nt < NT; ++nt) {
            #pragma unroll
            for (i32 e = 0; e < 4; ++e) tile.part(index, sum.row(mt, e), sum.column(nt, e)) = sum.v[mt][nt][e];
        }
    }
}

template <i32 MT, i32 NT, i32 STEPS>
struct SkinnyMma {
    using Element = bf16;
    static constexpr i32 ROWS = 16 * MT;
    static constexpr i32 BATCH = 8 * NT;
    static constexpr i32 MIN_BLOCKS = MT * NT <= 4 ? 2 : 1;   // on a multiprocessor
    static constexpr i32 GROUP = 32;          // elements of k that four lanes cover
    using Tile = SkinnyTile<ROWS, BATCH, SKINNY_WARPS>;
    using Words = Vec<u32, 4>;                // eight elements

    // What one lane holds of STEPS groups.
    template <bool NORMED>
    struct Piece {
        Words w[STEPS][2 * MT];
        Words x[STEPS][NT];
        Words scale[NORMED ? STEPS : 1];
    };

    template <bool NORMED>
    struct Source {
        const bf16* w[2 * MT];
        const bf16* x[NT];
        const bf16* scale;
        i32 left;                             // elements of k from the lane's first on

        GK_DEVICE void load_weights(Piece<NORMED>& piece, i32 chunk) const {
            #pragma unroll
            for (i32 s = 0; s < STEPS; ++s) {
                const i32 k = (chunk * STEPS + s) * GROUP;
                if (k >= left) continue;
                #pragma unroll
                for (i32 i = 0; i < 2 * MT; ++i) piece.w[s][i] = load_streamed(reinterpret_cast<const u32*>(w[i] + k));
            }
        }

        GK_DEVICE void load_input(Piece<NORMED>& piece, i32 chunk) const {
            #pragma unroll
            for (i32 s = 0; s < STEPS; ++s) {
                const i32 k = (chunk * STEPS + s) * GROUP;
                if (k >= left) continue;
                #pragma unroll
                for (i32 nt = 0; nt < NT; ++nt) piece.x[s][nt] = load_vec<4>(reinterpret_cast<const u32*>(x[nt] + k));
                if constexpr (NORMED) piece.scale[s] = load_vec<4>(reinterpret_cast<const u32*>(scale + k));
            }
        }
    };

    // Two elements of x, normed.
    static GK_DEVICE u32 normed(u32 x, u32 scale, f32 inverse) {
        return mma_pack(__uint_as_float(x << 16) * inverse * (1.0f + __uint_as_float(scale << 16)),
                        __uint_as_float(x & 0xFFFF0000u) * inverse * (1.0f + __uint_as_float(scale & 0xFFFF0000u)));
    }

    template <bool NORMED>
    static GK_DEVICE void multiply(MmaAccumulator<MT, NT>& sum, const Piece<NORMED>& piece, [[maybe_unused]] const f32 (&inverse)[NT]) {
        MmaFragmentA<MT, 2 * STEPS> a;
        MmaFragmentB<NT, 2 * STEPS> b;
        #pragma unroll
        for (i32 s = 0; s < STEPS; ++s) {
            #pragma unroll
            for (i32 i = 0; i < 4; ++i) {
                const i32 kt = 2 * s + i / 2, half = i % 2;
                #pragma unroll
                for (i32 mt = 0; mt < MT; ++mt) {
                    a.v[mt][kt][2 * half] = piece.w[s][2 * mt].v[i];
                    a.v[mt][kt][2 * half + 1] = piece.w[s][2 * mt + 1].v[i];
                }
                #pragma unroll
                for (i32 nt = 0; nt < NT; ++nt) {
                    if constexpr (NORMED) b.v[nt][kt][half] = normed(piece.x[s][nt].v[i], piece.scale[s].v[i], inverse[nt]);
                    else b.v[nt][kt][half] = piece.x[s][nt].v[i];
                }
            }
        }
        mma_tile<2 * STEPS>(sum, a, b);
    }

    template <typename Input, typename RowMap>
    static GK_DEVICE Tile run(const SkinnyProductParams& p, const Input& input, const RowMap& rows, f32* shared) {
        const Tile tile{shared};
        const i32 lane = lane_id(), offset = lane % 4 * 8, first_row = static_cast<i32>(blockIdx.y) * BATCH;
        Source<Input::NORMED> source;
        #pragma unroll
        for (i32 i = 0; i < 2 * MT; ++i) source.w[i] = static_cast<const bf16*>(p.w) + rows(8 * i + lane / 4) * p.w_stride + offset;
        #pragma unroll
        for (i32 nt = 0; nt < NT; ++nt)
            source.x[nt] = static_cast<const bf16*>(p.x) + min_of(first_row + 8 * nt + lane / 4, p.rows - 1) * p.x_stride + offset;
        if constexpr (Input::NORMED) source.scale = static_cast<const bf16*>(input.norm.scale) + offset;
        source.left = p.k - offset;

        Piece<Input::NORMED> piece = {};
        launch_dependents();
        source.load_weights(piece, warp_id());
        dependency_wait();
        source.load_input(piece, warp_id());
        f32 inverse[NT] = {};
        if constexpr (Input::NORMED) {
            f32* const inverses = shared + Tile::FLOATS;
            row_inverses<BATCH>(inverses, input.norm, first_row, p.rows, p.k);
            #pragma unroll
            for (i32 nt = 0; nt < NT; ++nt) inverse[nt] = inverses[8 * nt + lane / 4];
        }
        MmaAccumulator<MT, NT> sum;
        sum.fill(0.0f);
        #pragma unroll 1
        for (i32 chunk = warp_id(); chunk < ceil_div(p.k, STEPS * GROUP); chunk += SKINNY_WARPS) {
            Piece<Input::NORMED> next = {};
            source.load_weights(next, chunk + SKINNY_WARPS);
            source.load_input(next, chunk + SKINNY_WARPS);
            multiply<Input::NORMED>(sum, piece, inverse);
            piece = next;
        }
        store_part(tile, warp_id(), sum);
        __syncthreads();
        return tile;
    }
};

template <typename T, i32 VEC, i32 TILE>
struct SkinnyFma {
    using Element = T;
    static constexpr i32 WARP_ROWS = 4;
    static constexpr i32 GROUPS = 4;          // of rows; the other half of the warps takes the other half of k
    static constexpr i32 PARTS = SKINNY_WARPS / GROUPS;
    static constexpr i32 ROWS = GROUPS * WARP_ROWS;
    static constexpr i32 BATCH = TILE;
    static constexpr i32 MIN_BLOCKS = BATCH <= 4 ? 2 : 1;
    using Tile = SkinnyTile<ROWS, BATCH, PARTS>;

    static GK_DEVICE Vec<T, VEC> load_weights(const T* w) {
        if constexpr (VEC == VEC16<T>) return load_streamed(w);
        else return load_vec<VEC>(w);
    }

    template <typename Input, typename RowMap>
    static GK_DEVICE Tile run(const SkinnyProductParams& p, const Input& input, const RowMap& rows, f32* shared) {
        constexpr i32 STEP = PARTS * 32 * VEC;
        const Tile tile{shared};
        const i32 group = warp_id() % GROUPS * WARP_ROWS, part = warp_id() / GROUPS, first_row = static_cast<i32>(blockIdx.y) * BATCH;
        const i32 first = (part * 32 + lane_id()) * VEC;
        launch_dependents();
        const T* w[WARP_ROWS];
        Vec<T, VEC> weights[WARP_ROWS] = {};
        #pragma unroll
        for (i32 r = 0; r < WARP_ROWS; ++r) {
            w[r] = static_cast<const T*>(p.w) + rows(group + r) * p.w_stride;
            if (first < p.k) weights[r] = load_weights(w[r] + first);
        }
        dependency_wait();
        f32* const inverses = shared + Tile::FLOATS;
        if constexpr (Input::NORMED) row_inverses<BATCH>(inverses, input.norm, first_row, p.rows, p.k);

        f32 sum[WARP_ROWS * BATCH] = {};
        #pragma unroll 1
        for (i32 k = first; k < p.k; k += STEP) {
            Vec<T, VEC> next[WARP_ROWS] = {};
            #pragma unroll
            for (i32 r = 0; r < WARP_ROWS; ++r)
                if (k + STEP < p.k) next[r] = load_weights(w[r] + k + STEP);
            [[maybe_unused]] f32 scale[VEC];
            if constexpr (Input::NORMED) load_floats<VEC>(static_cast<const T*>(input.norm.scale) + k, scale);
            #pragma unroll
            for (i32 b = 0; b < BATCH; ++b) {
                f32 x[VEC];
                load_floats<VEC>(static_cast<const T*>(p.x) + min_of(first_row + b, p.rows - 1) * p.x_stride + k, x);
                #pragma unroll
                for (i32 i = 0; i < VEC; ++i) {
                    if constexpr (Input::NORMED) x[i] = round_to<T>(x[i] * inverses[b] * (1.0f + scale[i]));
                    #pragma unroll
                    for (i32 r = 0; r < WARP_ROWS; ++r) sum[b * WARP_ROWS + r] = fmaf(to_float(weights[r].v[i]), x[i], sum[b * WARP_ROWS + r]);
                }
            }
            #pragma unroll
            for (i32 r = 0; r < WARP_ROWS; ++r) weights[r] = next[r];
        }
        warp_sum(sum);
        #pragma unroll
        for (i32 i = 0; i < WARP_ROWS * BATCH; ++i)
            if (lane_id() == i) tile.part(part, group + i % WARP_ROWS, i / WARP_ROWS) = sum[i];
        __syncthreads();
        return tile;
    }
};

// Row maps. Rows past the end repeat the last; their results are not used.
struct PlainRows {
    i32 first;
    i32 count;
    GK_DEVICE i64 operator()(i32 v) const { return min_of(first + v, count - 1); }
};

// Two rows of the weight belong together, eight pairs to 16 rows of the tile: pair `first + 8·(v / 16) + v % 8` has its first row at v, its
// second at v + 8.
GK_DEVICE i32 pair_of_row(i32 first, i32 v) { return first + v / 16 * 8 + v % 8; }
GK_DEVICE i32 row_of_pair(i32 pair) { return pair / 8 * 16 + pair % 8; }
