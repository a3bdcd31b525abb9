// Products of a warpgroup (wgmma, sm_90a only): C[64, N] += A[64, 16] · B[16, N], bfloat16 operands, float32 accumulators, N = 64, 80, 128 or 256.
//
// A warpgroup is 128 threads of one block whose first is a multiple of 128; all of them call these together with the same operands. Warp w of it
// holds rows 16·w to 16·w + 15 of C, its fragments lying as MmaAccumulator<1, N / 8>'s; A in registers lies as MmaFragmentA's.
//
// Operands in shared memory are named by descriptors. K-major: rows of A (or of Bᵀ) lie with k contiguous. `Transposed`: A as [k][m], B as [k][n].
// With the swizzle of 128 bytes, as a tensor copy with that swizzle writes it, to a multiple of 1024 bytes:
//     K-major      tile [rows][64] of k: warpgroup_descriptor(tile, 16, 1024); the next 16 of k are 32 bytes on
//     transposed   tile [k][64] of rows, the next 64 rows of the operand L bytes on: warpgroup_descriptor(tile, L, 1024); the next 16 of k are 2048 bytes on
// whose 16-byte pieces have places as swizzle_128 says.
//
//     warpgroup_fence();                                             // the registers, and what was fenced to shared memory, are the product's
//     for (...) warpgroup_product<...>(c, a, b);
//     warpgroup_commit();
//     warpgroup_wait<0>();  warpgroup_settle(c);                     // only now look at c
//
// Order of the sum: the hardware's within one step, steps in order; on the emulator k ascends. Error of C: K · 2^-23 · Σ |a||b|.
//
// On the emulator a product is computed when a thread waits for it, from what the descriptors say then; until its own wait a thread's accumulators
// hold NaN in checked kernels. They see, too: operands that nobody wrote, that are outside shared memory, or whose writes no proxy fence has followed.
//
// Unproved: the PTX forms compile for sm_90a, but have not run on a GPU so far; tests ran their twins on the emulator.
#pragma once
#include "include/base.cuh"

// This thread's warpgroup in its block. Kernels take it from here to give warpgroups different work: the compiler is to know that it is the same in all
// lanes. A branch on threadIdx may be divergent for all it knows, and a ptxas that puts waits of its own in there (12.5 does) then waits after each product.
GK_DEVICE i32 warpgroup_id() {
    const i32 own = static_cast<i32>(threadIdx.x / 128u);
#if defined(GRIFFIN_EMULATOR)
    return own;
#else
    return __shfl_sync(0xffffffffu, own, 0);
#endif
}

enum class WarpgroupSwizzle : i32 { None, Bytes128, Bytes64, Bytes32 };

// Says where an operand lies in shared memory: distances in bytes, multiples of 16.
//     K-major      `stride`: to the next eight rows; `leading`: without a swizzle, to the next eight of k
//     transposed   `stride`: to the next eight of k; `leading`: to the rows after one width of the swizzle. Without a swizzle the two change places
GK_DEVICE u64 warpgroup_descriptor(const void* tile, i32 leading, i32 stride, WarpgroupSwizzle swizzle = WarpgroupSwizzle::Bytes128) {
    u32 low = static_cast<u32>(__cvta_generic_to_shared(tile) & 0x3ffff) >> 4 | static_cast<u32>(leading & 0x3ffff) >> 4 << 16;
#if !defined(GRIFFIN_EMULATOR)
    low = __shfl_sync(0xffffffffu, low, 0);   // the same in all lanes, which the compiler is to know: then what follows needs no registers of theirs
#endif
    return static_cast<u64>(stride & 0x3ffff) >> 4 << 32 | static_cast<u64>(swizzle) << 62 | low;
}

// The same layout, so many bytes on: the address is in the low word, and no carry leaves it.
GK_DEVICE u64 warpgroup_advance(u64 descriptor, i32 bytes) { return (descriptor & ~0xffffffffull) | (static_cast<u32>(descriptor) + static_cast<u32>(bytes >> 4)); }

// Where byte `offset` of a tile with rows of 128 bytes lies under that swizzle.
GK_DEVICE i32 swizzle_128(i32 offset) { return offset ^ (offset >> 7 & 7) << 4; }

// Before the first product after registers of one were touched, and after each commit.
GK_DEVICE void warpgroup_fence() {
#if defined(GRIFFIN_EMULATOR)
    emu_warpgroup_fence();
#else
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

GK_DEVICE void warpgroup_commit() {
#if defined(GRIFFIN_EMULATOR)
    emu_warpgroup_commit();
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Until at most so many of the newest committed groups are under way.
template <i32 GroupsLeft>
GK_DEVICE void warpgroup_wait() {
#if defined(GRIFFIN_EMULATOR)
    emu_warpgroup_wait(GroupsLeft);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GroupsLeft) : "memory");
#endif
}

// After the wait for a product and before the first look at its registers: keeps the compiler from looking earlier.
template <i32 NT>
GK_DEVICE void warpgroup_settle([[maybe_unused]] f32 (&c)[NT][4]) {
#if !defined(GRIFFIN_EMULATOR)
    #pragma unroll
    for (i32 nt = 0; nt < NT; ++nt) {
        #pragma unroll
        for (i32 e = 0; e < 4; ++e) asm volatile("" : "+f"(c[nt][e])::"memory");
    }
#endif
}

// The same of A in registers: before the first product that reads it, after what made it, and after the wait, before what overwrites it.
template <i32 KT>
GK_DEVICE void warpgroup_settle([[maybe_unused]] u32 (&a)[KT][4]) {
#if !defined(GRIFFIN_EMULATOR)
    #pragma unroll
    for (i32 kt = 0; kt < KT; ++kt) {
        #pragma unroll
        for (i32 r = 0; r < 4; ++r) asm volatile("" : "+r"(a[kt][r])::"memory");
    }
#endif
}

#if defined(GRIFFIN_EMULATOR)
template <bool TransposedA = false, bool TransposedB = false, i32 NT>
GK_DEVICE void warpgroup_product(f32 (&c)[NT][4], u64 a, u64 b, bool accumulate = true) {
    const EmuWarpgroupProduct product{&c[0][0], nullptr, a, b, 8 * NT, TransposedA, TransposedB, accumulate};
    emu_warpgroup_product(&product);
}

template <bool TransposedB = false, i32 NT>
GK_DEVICE void warpgroup_product(f32 (&c)[NT][4], const u32 (&a)[4], u64 b, bool accumulate = true) {
    const EmuWarpgroupProduct product{&c[0][0], a, 0, b, 8 * NT, false, TransposedB, accumulate};
    emu_warpgroup_product(&product);
}
#else
// Operand numbers of N / 2 accumulators, ten at a time, and the accumulators themselves.
#define GK_TENS(t) "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t "8, %" #t "9, "
#define GK_30 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " GK_TENS(1) GK_TENS(2)
#define GK_60 GK_30 GK_TENS(3) GK_TENS(4) GK_TENS(5)
#define GK_PLACES_64 GK_30 "%30, %31"
#define GK_PLACES_80 GK_30 "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39"
#define GK_PLACES_128 GK_60 "%60, %61, %62, %63"
#define GK_PLACES_256 GK_60 GK_TENS(6) GK_TENS(7) GK_TENS(8) GK_TENS(9) GK_TENS(10) GK_TENS(11) "%120, %121, %122, %123, %124, %125, %126, %127"
#define GK_C1(n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define GK_C4(n) GK_C1(n), GK_C1(n + 1), GK_C1(n + 2), GK_C1(n + 3)
#define GK_C_64 GK_C4(0), GK_C4(4)
#define GK_C_80 GK_C_64, GK_C1(8), GK_C1(9)
#define GK_C_128 GK_C_64, GK_C4(8), GK_C4(12)
#define GK_C_256 GK_C_128, GK_C4(16), GK_C4(20), GK_C4(24), GK_C4(28)

// A in shared memory: %i and %j are the descriptors, %k says whether c counts, %l and %m whether they are transposed.
#define GK_WGMMA_SHARED(columns, i, j, k, l, m)                                                                                        \
    if constexpr (NT == columns / 8)                                                                                                   \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " k ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {"     \
                 GK_PLACES_##columns "}, " i ", " j ", add, 1, 1, " l ", " m ";\n}"                                                    \
                 : GK_C_##columns                                                                                                      \
                 : "l"(a), "l"(b), "r"(static_cast<i32>(accumulate)), "n"(static_cast<i32>(TransposedA)), "n"(static_cast<i32>(TransposedB)))

// A in registers: %h to %k.
#define GK_WGMMA_REGISTERS(columns, h, i, j, k, l, m, n)                                                                               \
    if constexpr (NT == columns / 8)                                                                                                   \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " m ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {"     \
                 GK_PLACES_##columns "}, {" h ", " i ", " j ", " k "}, " l ", add, 1, 1, " n ";\n}"                                    \
                 : GK_C_##columns                                                                                                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<i32>(accumulate)), "n"(static_cast<i32>(TransposedB)))

// c += A · B, or c = A · B where `accumulate` is false.
template <bool TransposedA = false, bool TransposedB = false, i32 NT>
GK_DEVICE void warpgroup_product(f32 (&c)[NT][4], u64 a, u64 b, bool accumulate = true) {
    static_assert(NT == 8 || NT == 10 || NT == 16 || NT == 32, "N is 64, 80, 128 or 256");
    GK_WGMMA_SHARED(64, "%32", "%33", "%34", "%35", "%36");
    GK_WGMMA_SHARED(80, "%40", "%41", "%42", "%43", "%44");
    GK_WGMMA_SHARED(128, "%64", "%65", "%66", "%67", "%68");
    GK_WGMMA_SHARED(256, "%128", "%129", "%130", "%131", "%132");
}

// The same with A in registers, which stay as they are until the wait.
template <bool TransposedB = false, i32 NT>
GK_DEVICE void warpgroup_product(f32 (&c)[NT][4], const u32 (&a)[4], u64 b, bool accumulate = true) {
    static_assert(NT == 8 || NT == 10 || NT == 16 || NT == 32, "N is 64, 80, 128 or 256");
    GK_WGMMA_REGISTERS(64, "%32", "%33", "%34", "%35", "%36", "%37", "%38");
    GK_WGMMA_REGISTERS(80, "%40", "%41", "%42", "%43", "%44", "%45", "%46");
    GK_WGMMA_REGISTERS(128, "%64", "%65", "%66", "%67", "%68", "%69", "%70");
    GK_WGMMA_REGISTERS(256, "%128", "%129", "%130", "%131", "%132", "%133", "%134");
}
#undef GK_TENS
#undef GK_30
#undef GK_60
#undef GK_PLACES_64
#undef GK_PLACES_80
#undef GK_PLACES_128
#undef GK_PLACES_256
#undef GK_C1
#undef GK_C4
#undef GK_C_64
#undef GK_C_80
#undef GK_C_128
#undef GK_C_256
#undef GK_WGMMA_SHARED
#undef GK_WGMMA_REGISTERS
#endif
