// Tiles of a product x · wᵀ by warpgroup products (wgmma, sm_90a only), the epilogue left to the kernel: the same sums as MatMulTiles, and used by the
// same kernels. Four warps multiply 64 rows of x with 256 rows of w, both straight from shared memory; a block has two such groups.
//
//   WarpgroupTiles   bf16, 128 x 256 results a block of 256 threads, four stages of 64 along k, filled by asynchronous copies. k and the strides are
//                    multiples of 8, the addresses of 16 bytes. Dynamic shared memory: SHARED_BYTES, with room to start at a multiple of 1024.
//
// Layout of a stage: rows of 64 elements (128 bytes), their eight pieces of 16 bytes in the order piece ^ (row % 8), which is what the descriptor calls
// the 128-byte swizzle: eight lanes that copy a row, and the eight rows that one step of the product reads, meet every bank once.
// Order of the sum: k ascending in steps of 16; within a step it is the hardware's.
//
// Unproved: this compiles for sm_90a, but has not run on a GPU so far; tests ran it on the emulator.
#pragma once
#include "include/async_copy.cuh"
#include "include/bulk_copy.cuh"
#include "include/mma.cuh"
#include "include/warpgroup.cuh"

struct WarpgroupTiles {
    static constexpr i32 ROWS = 128;
    static constexpr i32 COLUMNS = 256;
    static constexpr i32 THREADS = 256;
    static constexpr i32 MT = 1;     // a warp holds 16 of its group's 64 rows
    static constexpr i32 NT = COLUMNS / 8;
    using Accumulator = MmaAccumulator<MT, NT>;

    static GK_DEVICE i32 warp_row() { return 16 * warp_id(); }
    static GK_DEVICE i32 warp_column() { return 0; }

    template <typename RowsX, typename RowsW>
    static GK_DEVICE Accumulator run(const RowsX& x, const RowsW& w, i32 k, bf16* shared) {
        bf16* const tiles = shared + (1024 - static_cast<u32>(__cvta_generic_to_shared(shared)) % 1024) % 1024 / sizeof(bf16);
        const i32 group_row = warp_id() / 4 * 64;
        Accumulator sum;
        sum.fill(0.0f);
        const auto load = [&](i32 step) {
            bf16* const stage = tiles + step % STAGES * STAGE;   // ROWS rows of x, then COLUMNS rows of w
            load_tile<ROWS>(stage, x, step * BK, k);
            load_tile<COLUMNS>(stage + ROWS * BK, w, step * BK, k);
        };
        const i32 steps = ceil_div(k, BK);
        for (i32 step = 0; step < AHEAD; ++step) {
            if (step < steps) load(step);
            async_commit();
        }
        for (i32 step = 0; step < steps; ++step) {
            async_wait<AHEAD - 1>();
            shared_proxy_fence();
            __syncthreads();   // this step's tile is there for all; both groups are done with the product of two steps ago, whose tile the load replaces
            if (step + AHEAD < steps) load(step + AHEAD);
            async_commit();
            const bf16* const stage = tiles + step % STAGES * STAGE;
            const u64 a = warpgroup_descriptor(stage + group_row * BK, 16, 1024), b = warpgroup_descriptor(stage + ROWS * BK, 16, 1024);
            warpgroup_fence();
            #pragma unroll
            for (i32 kt = 0; kt < BK / 16; ++kt) warpgroup_product(sum.v[0], warpgroup_advance(a, 32 * kt), warpgroup_advance(b, 32 * kt));
            warpgroup_commit();
            warpgroup_wait<1>();
        }
        warpgroup_wait<0>();
        warpgroup_settle(sum.v[0]);
        async_wait<0>();
        return sum;
    }

private:
    static constexpr i32 BK = 64;
    static constexpr i32 STAGES = 4;
    static constexpr i32 AHEAD = STAGES - 2;                           // one stage is read by the product under way, one by the last
    static constexpr i32 STAGE = (ROWS + COLUMNS) * BK;

public:
    static constexpr i32 SHARED_BYTES = STAGES * STAGE * static_cast<i32>(sizeof(bf16)) + 1024;

private:
    // Eight neighbouring lanes copy one row: 128 bytes at once.
    template <i32 TILE, typename Rows>
    static GK_DEVICE void load_tile(bf16* tile, const Rows& rows, i32 first_k, i32 k) {
        constexpr i32 pieces = BK / 8;
        #pragma unroll
        for (i32 first = 0; first < TILE * pieces; first += THREADS) {
            const i32 row = (first + static_cast<i32>(threadIdx.x)) / pieces, piece = static_cast<i32>(threadIdx.x) % pieces;
            const bf16* const from = rows(row);
            const bool inside = from != nullptr && first_k + 8 * piece < k;
            async_copy_16(tile + row * BK + 8 * (piece ^ row % 8), inside ? from + first_k + 8 * piece : rows.data, inside ? 16 : 0);
        }
    }
};
