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
// Unproved: this compiles for sm_90a, but has not run on a GPU so far, and the emulator does not run it.
#pragma once
#include "include/async_copy.cuh"
#include "include/mma.cuh"

#if !defined(GRIFFIN_EMULATOR)
// Says where a tile lies in shared memory: K-major, 128-byte swizzle, 1024 bytes from one group of eight rows to the next.
GK_DEVICE u64 warpgroup_descriptor(const bf16* tile) {
    const u64 address = static_cast<u64>(__cvta_generic_to_shared(tile));
    return (address & 0x3ffff) >> 4 | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

// Between writes of registers or, with the proxy fence, of shared memory, and the products that read them.
GK_DEVICE void warpgroup_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GK_DEVICE void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
GK_DEVICE void shared_proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <i32 GroupsLeft>
GK_DEVICE void warpgroup_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GroupsLeft) : "memory"); }

// c += A · Bᵀ over 16 of k: A 64 rows, B 256 rows. The fragments lie as MmaAccumulator's.
GK_DEVICE void warpgroup_m64n256k16(f32 (&c)[32][4], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, %128, %129, 1, 1, 1, 0, 0;"
            : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
              "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
              "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
              "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3]),
              "+f"(c[8][0]), "+f"(c[8][1]), "+f"(c[8][2]), "+f"(c[8][3]), "+f"(c[9][0]), "+f"(c[9][1]), "+f"(c[9][2]), "+f"(c[9][3]),
              "+f"(c[10][0]), "+f"(c[10][1]), "+f"(c[10][2]), "+f"(c[10][3]), "+f"(c[11][0]), "+f"(c[11][1]), "+f"(c[11][2]), "+f"(c[11][3]),
              "+f"(c[12][0]), "+f"(c[12][1]), "+f"(c[12][2]), "+f"(c[12][3]), "+f"(c[13][0]), "+f"(c[13][1]), "+f"(c[13][2]), "+f"(c[13][3]),
              "+f"(c[14][0]), "+f"(c[14][1]), "+f"(c[14][2]), "+f"(c[14][3]), "+f"(c[15][0]), "+f"(c[15][1]), "+f"(c[15][2]), "+f"(c[15][3]),
              "+f"(c[16][0]), "+f"(c[16][1]), "+f"(c[16][2]), "+f"(c[16][3]), "+f"(c[17][0]), "+f"(c[17][1]), "+f"(c[17][2]), "+f"(c[17][3]),
              "+f"(c[18][0]), "+f"(c[18][1]), "+f"(c[18][2]), "+f"(c[18][3]), "+f"(c[19][0]), "+f"(c[19][1]), "+f"(c[19][2]), "+f"(c[19][3]),
              "+f"(c[20][0]), "+f"(c[20][1]), "+f"(c[20][2]), "+f"(c[20][3]), "+f"(c[21][0]), "+f"(c[21][1]), "+f"(c[21][2]), "+f"(c[21][3]),
              "+f"(c[22][0]), "+f"(c[22][1]), "+f"(c[22][2]), "+f"(c[22][3]), "+f"(c[23][0]), "+f"(c[23][1]), "+f"(c[23][2]), "+f"(c[23][3]),
              "+f"(c[24][0]), "+f"(c[24][1]), "+f"(c[24][2]), "+f"(c[24][3]), "+f"(c[25][0]), "+f"(c[25][1]), "+f"(c[25][2]), "+f"(c[25][3]),
              "+f"(c[26][0]), "+f"(c[26][1]), "+f"(c[26][2]), "+f"(c[26][3]), "+f"(c[27][0]), "+f"(c[27][1]), "+f"(c[27][2]), "+f"(c[27][3]),
              "+f"(c[28][0]), "+f"(c[28][1]), "+f"(c[28][2]), "+f"(c[28][3]), "+f"(c[29][0]), "+f"(c[29][1]), "+f"(c[29][2]), "+f"(c[29][3]),
              "+f"(c[30][0]), "+f"(c[30][1]), "+f"(c[30][2]), "+f"(c[30][3]), "+f"(c[31][0]), "+f"(c[31][1]), "+f"(c[31][2]), "+f"(c[31][3])
            : "l"(a), "l"(b));
}

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
            const u64 a = warpgroup_descriptor(stage + group_row * BK), b = warpgroup_descriptor(stage + ROWS * BK);
            warpgroup_fence();
            #pragma unroll
            for (i32 kt = 0; kt < BK / 16; ++kt) warpgroup_m64n256k16(sum.v[0], a + kt * K_STEP, b + kt * K_STEP);
            warpgroup_commit();
            warpgroup_wait<1>();
        }
        warpgroup_wait<0>();
        async_wait<0>();
        return sum;
    }

private:
    static constexpr i32 BK = 64;
    static constexpr i32 STAGES = 4;
    static constexpr i32 AHEAD = STAGES - 2;                           // one stage is read by the product under way, one by the last
    static constexpr i32 STAGE = (ROWS + COLUMNS) * BK;
    static constexpr i32 K_STEP = 16 * sizeof(bf16) / 16;              // in the descriptor's units of 16 bytes

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
#endif
