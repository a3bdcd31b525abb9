// Tiles of a product x · wᵀ, the epilogue left to the kernel: sums[r, c] = Σ_k x[row(r), k] · w[row(c), k] in float32, k ascending.
//
//   MatMulTiles<BM, BN, WM, WN>   bf16, BM x BN results a block and WM x WN a warp, three stages of shared memory filled by asynchronous copies.
//                                 k and the strides are multiples of 8, the addresses of 16 bytes. Dynamic shared memory: SHARED_BYTES. The sums of
//                                 all shapes have equal bits.
//   GeneralTile                   anything: 64 x 64 results a block of 256 threads, 4 x 4 a thread.
//
// Where an operand's rows come from is the caller's map: operator() gives the address of a tile's row, or null for one that does not exist;
// data is the address of one that does.
#pragma once
#include "include/async_copy.cuh"
#include "include/mma.cuh"

// Neighbouring rows of a matrix.
template <typename T>
struct RowsOf {
    const T* data;
    i64 stride;
    i32 first;
    i32 count;
    GK_DEVICE const T* operator()(i32 row) const { return first + row < count ? data + (first + row) * stride : nullptr; }
};

template <i32 BM, i32 BN, i32 WM, i32 WN>
struct MatMulTiles {
    static constexpr i32 ROWS = BM;
    static constexpr i32 COLUMNS = BN;
    static constexpr i32 THREADS = 32 * (BM / WM) * (BN / WN);
    static constexpr i32 MT = WM / 16;
    static constexpr i32 NT = WN / 8;
    using Accumulator = MmaAccumulator<MT, NT>;

    static GK_DEVICE i32 warp_row() { return warp_id() % (BM / WM) * WM; }
    static GK_DEVICE i32 warp_column() { return warp_id() / (BM / WM) * WN; }

    template <typename RowsX, typename RowsW>
    static GK_DEVICE Accumulator run(const RowsX& x, const RowsW& w, i32 k, bf16* tiles) {
        Accumulator sum;
        sum.fill(0.0f);
        const auto load = [&](i32 step) {
            bf16* const stage = tiles + step % STAGES * STAGE;   // BM rows of x, then BN rows of w
            load_tile<BM>(stage, x, step * BK, k);
            load_tile<BN>(stage + BM * STRIDE, w, step * BK, k);
        };
        const i32 steps = ceil_div(k, BK);
        for (i32 step = 0; step < STAGES - 1; ++step) {
            if (step < steps) load(step);
            async_commit();
        }
        for (i32 step = 0; step < steps; ++step) {
            async_wait<STAGES - 2>();
            __syncthreads();   // this step's tile is there for all, and nobody still reads the one that the next load replaces
            if (step + STAGES - 1 < steps) load(step + STAGES - 1);
            async_commit();
            const bf16* const stage = tiles + step % STAGES * STAGE;
            mma_tile<BK / 16>(sum, MmaRowsA{stage + warp_row() * STRIDE, STRIDE}, MmaRowsB{stage + (BM + warp_column()) * STRIDE, STRIDE});
        }
        async_wait<0>();
        return sum;
    }

private:
    static constexpr i32 BK = 32;
    static constexpr i32 STAGES = 3;
    static constexpr i32 STRIDE = mma_stride(BK);
    static constexpr i32 STAGE = (BM + BN) * STRIDE;

public:
    static constexpr i32 SHARED_BYTES = STAGES * STAGE * static_cast<i32>(sizeof(bf16));

private:
    // TILE rows, k's [first_k, +BK), into shared memory; what does not exist becomes zero. A warp copies eight whole rows; eight neighbouring lanes
    // copy one column of them, which meets every bank once.
    template <i32 TILE, typename Rows>
    static GK_DEVICE void load_tile(bf16* tile, const Rows& rows, i32 first_k, i32 k) {
        constexpr i32 pieces = BK / 8;
        #pragma unroll
        for (i32 first = 0; first < TILE * pieces; first += THREADS) {
            const i32 i = first + static_cast<i32>(threadIdx.x);
            if (TILE * pieces % THREADS != 0 && i >= TILE * pieces) break;
            const i32 row = i / (8 * pieces) * 8 + i % 8, column = i / 8 % pieces * 8;
            const bf16* const from = rows(row);
            const bool inside = from != nullptr && first_k + column < k;
            async_copy_16(tile + row * STRIDE + column, inside ? from + first_k + column : rows.data, inside ? 16 : 0);
        }
    }
};

struct GeneralTile {
    static constexpr i32 THREADS = 256;
    static constexpr i32 ROWS = 64;
    static constexpr i32 COLUMNS = 64;

    // Threads of a warp take neighbouring columns; a thread's four columns are 16 apart.
    static GK_DEVICE i32 row(i32 i) { return static_cast<i32>(threadIdx.x) / 16 * 4 + i; }
    static GK_DEVICE i32 column(i32 j) { return static_cast<i32>(threadIdx.x) % 16 + 16 * j; }

    // Sums of rows that do not exist are of other rows, and not to be used.
    template <typename T, typename RowsW>
    static GK_DEVICE void run(const RowsOf<T>& x, const RowsW& w, i32 k, f32 (&sum)[4][4]) {
        const T* from_x[4];
        const T* from_w[4];
        #pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            from_x[i] = x(row(i));
            from_w[i] = w(column(i));
            if (from_x[i] == nullptr) from_x[i] = x.data;
            if (from_w[i] == nullptr) from_w[i] = w.data;
        }
        for (i32 step = 0; step < k; ++step) {
            f32 a[4], b[4];
            #pragma unroll
            for (i32 i = 0; i < 4; ++i) {
                a[i] = to_float(from_x[i][step]);
                b[i] = to_float(from_w[i][step]);
            }
            #pragma unroll
            for (i32 i = 0; i < 4; ++i) {
                #pragma unroll
                for (i32 j = 0; j < 4; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
            }
        }
    }
};
