// Tiles of a product x · wᵀ by warpgroup products (wgmma, sm_90a only), their operands brought by tensor copies, the epilogue left to the kernel.
//
//   WarpgroupTiles   bf16, 128 x 256 results a tile. A block is persistent: it takes tile blockIdx.x, blockIdx.x + gridDim.x ... One thread of its third
//                    warpgroup copies stages of 64 along k, four of them ahead of the other two, which multiply 64 rows of x each with all 256 rows of w.
//                    k and the strides are multiples of 8, the addresses of 16 bytes. Dynamic shared memory: SHARED_BYTES, with room to start at a
//                    multiple of 1024.
//
// A stage is full when its bytes have come, and empty when the eight multiplying warps have waited for the products that read it; the copies of a
// block's next tile begin while it stores the last. Sixteen tiles of rows go through the tiles of columns together, so that the blocks that run at
// once share rows of both operands in the second-level cache.
// Order of the sum: k ascending in steps of 16; within a step it is the hardware's.
//
// Unproved: this compiles for sm_90a, but has not run on a GPU so far; tests ran it on the emulator.
#pragma once
#include "include/bulk_copy.cuh"
#include "include/mma.cuh"
#include "include/warpgroup.cuh"

struct WarpgroupTiles {
    static constexpr i32 ROWS = 128;
    static constexpr i32 COLUMNS = 256;
    static constexpr i32 THREADS = 384;
    static constexpr i32 MT = 1;     // a warp holds 16 of its group's 64 rows
    static constexpr i32 NT = COLUMNS / 8;
    using Accumulator = MmaAccumulator<MT, NT>;

    static GK_DEVICE i32 warp_row() { return 16 * warp_id(); }
    static GK_DEVICE i32 warp_column() { return 0; }

    // load(x_tile, w_tile, barrier, first_row, first_column, first_k) copies one stage, [128][64] and [256][64] under the swizzle of 128 bytes;
    // store(sum, first_row, first_column) takes a finished tile. Rows and columns that do not exist are zeros.
    template <typename Load, typename Store>
    static GK_DEVICE void run(bf16* shared, i32 rows, i32 columns, i32 k, const Load& load, const Store& store) {
        __shared__ Mbarrier full[STAGES], empty[STAGES];
        bf16* const stages = shared + (1024 - static_cast<u32>(__cvta_generic_to_shared(shared)) % 1024) % 1024 / sizeof(bf16);
        if (threadIdx.x == 0) {
            for (i32 stage = 0; stage < STAGES; ++stage) {
                mbarrier_init(&full[stage], 1);
                mbarrier_init(&empty[stage], MULTIPLYING / 32);
            }
            mbarrier_init_fence();
        }
        __syncthreads();

        const i64 row_tiles = ceil_div(rows, ROWS), tiles = row_tiles * ceil_div(columns, COLUMNS);
        const i32 steps = ceil_div(k, BK);
        u32 step = 0;   // of all the block's tiles
        if (threadIdx.x >= MULTIPLYING) {
            registers_decrease<24>();
            if (threadIdx.x != MULTIPLYING) return;
            for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                const Place at = place(tile, row_tiles, tiles);
                for (i32 i = 0; i < steps; ++i, ++step) {
                    const u32 stage = step % STAGES;
                    bf16* const x = stages + stage * STAGE;
                    mbarrier_wait(&empty[stage], step / STAGES % 2 ^ 1);
                    mbarrier_arrive_expect(&full[stage], STAGE * sizeof(bf16));
                    load(x, x + ROWS * BK, &full[stage], at.row, at.column, i * BK);
                }
            }
            return;
        }
        registers_increase<240>();
        for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const Place at = place(tile, row_tiles, tiles);
            Accumulator sum;
            sum.fill(0.0f);
            for (i32 i = 0; i < steps; ++i, ++step) {
                const u32 stage = step % STAGES;
                mbarrier_wait(&full[stage], step / STAGES % 2);
                const bf16* const x = stages + stage * STAGE;
                const u64 a = warpgroup_descriptor(x + warp_id() / 4 * 64 * BK, 16, 1024), b = warpgroup_descriptor(x + ROWS * BK, 16, 1024);
                warpgroup_fence();
                #pragma unroll
                for (i32 kt = 0; kt < BK / 16; ++kt) warpgroup_product(sum.v[0], warpgroup_advance(a, 32 * kt), warpgroup_advance(b, 32 * kt));
                warpgroup_commit();
                warpgroup_wait<1>();   // the products of the step before have read their stage
                if (i != 0 && lane_id() == 0) mbarrier_arrive(&empty[(step - 1) % STAGES]);
            }
            warpgroup_wait<0>();
            warpgroup_settle(sum.v[0]);
            if (lane_id() == 0) mbarrier_arrive(&empty[(step - 1) % STAGES]);
            store(sum, at.row, at.column);
        }
    }

private:
    static constexpr i32 BK = 64;
    static constexpr i32 STAGES = 4;
    static constexpr i32 STAGE = (ROWS + COLUMNS) * BK;
    static constexpr i32 MULTIPLYING = 256;   // threads
    static constexpr i32 GROUP = 16;          // tiles of rows

    struct Place {
        i32 row;
        i32 column;
    };

    static GK_DEVICE Place place(i64 tile, i64 row_tiles, i64 tiles) {
        const i64 group_tiles = GROUP * (tiles / row_tiles), first = tile / group_tiles * GROUP, in_group = tile % group_tiles;
        const i64 height = min_of<i64>(row_tiles - first, GROUP);
        return {static_cast<i32>(first + in_group % height) * ROWS, static_cast<i32>(in_group / height) * COLUMNS};
    }

public:
    static constexpr i32 SHARED_BYTES = STAGES * STAGE * static_cast<i32>(sizeof(bf16)) + 1024;
};
