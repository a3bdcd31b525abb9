// Warp-tile matrix products: C[m,n] += sum_k A[m,k] * B[k,n], bfloat16 operands, float32 accumulators (mma.sync m16n8k16, ldmatrix).
//
// A warp owns a C tile of (16*MT) x (8*NT), spread over its 32 lanes. Element e (0..3) of fragment (mt, nt) in lane l is
//     row    16*mt + l/4 + 8*(e/2)      -> MmaAccumulator::row(mt, e)
//     column  8*nt + 2*(l%4) + e%2      -> MmaAccumulator::column(nt, e)
// so a row's elements sit in the four lanes of one quad (l/4 equal): reduce a row with shuffles by 1 and 2.
//
// Operands of one call, which covers K = 16*KT:
//     A  MmaRowsA{data, stride}   shared memory, [m][k], k contiguous
//        MmaColumnsA{data, stride} shared memory, [k][m], m contiguous (a transposed operand: gradients of weights)
//        MmaFragmentA<MT, KT>     registers: mma_load_a<MT, KT>(...) once, or mma_pack_a(accumulators) to feed C back in as A (P*V)
//     B  MmaRowsB{data, stride}   shared memory, [n][k], k contiguous (a weight [out, in], keys [key][dim])
//        MmaColumnsB{data, stride} shared memory, [k][n], n contiguous (values [key][dim], block-diagonal weights [in][out])
//        MmaFragmentB<NT, KT>     registers
// Data pointers are 16-byte aligned, strides are in elements and multiples of 8; a stride that is an ODD multiple of 8 has no bank conflicts
// (mma_stride(k) gives one). All 32 lanes of the warp call together with the same operands; the block's x size is a multiple of 32.
//
// Order of the sum: unspecified on a GPU within one k16 step, steps ascending; the emulator adds in ascending k with one rounding per term
// (a product of two bfloat16 is exact in float32). Error of C: at most K * 2^-23 * sum |a||b| on both.
//
// Unproved: the PTX forms here (mma, ldmatrix, cvt to a pair) compile, but have not run on a GPU so far; tests ran their twins on the emulator.
// On the emulator one call is one rendezvous of the warp, whatever the tile: prefer large KT.
#pragma once
#include "include/base.cuh"
#include "include/bf16.cuh"
#include "include/warp.cuh"

// The least conflict-free row stride, in elements, for a shared tile with rows of `columns` elements.
GK_DEVICE constexpr i32 mma_stride(i32 columns) { return ((columns + 7) / 8 | 1) * 8; }

template <i32 MT, i32 NT>
struct MmaAccumulator {
    f32 v[MT][NT][4];

    GK_DEVICE void fill(f32 value) {
#pragma unroll
        for (i32 mt = 0; mt < MT; ++mt)
#pragma unroll
            for (i32 nt = 0; nt < NT; ++nt)
#pragma unroll
                for (i32 e = 0; e < 4; ++e) v[mt][nt][e] = value;
    }

    static GK_DEVICE i32 row(i32 mt, i32 e) { return 16 * mt + lane_id() / 4 + 8 * (e / 2); }
    static GK_DEVICE i32 column(i32 nt, i32 e) { return 8 * nt + 2 * (lane_id() % 4) + e % 2; }
};

// A rows of 16*MT x 16*KT in registers; each u32 holds two neighbours along k, the lower k in the low half. Lane l holds in v[mt][kt][r]
// row 16*mt + l/4 + 8*(r%2), columns 16*kt + 2*(l%4) + 8*(r/2) and the next.
template <i32 MT, i32 KT>
struct MmaFragmentA {
    u32 v[MT][KT][4];
};

// B rows of 8*NT x 16*KT in registers, paired along k in the same way. Lane l holds in v[nt][kt][r] row (n) 8*nt + l/4, columns
// 16*kt + 2*(l%4) + 8*r and the next.
template <i32 NT, i32 KT>
struct MmaFragmentB {
    u32 v[NT][KT][2];
};

struct MmaRowsA {
    const bf16* data;
    i32 stride;
};
struct MmaColumnsA {
    const bf16* data;
    i32 stride;
};
struct MmaRowsB {
    const bf16* data;
    i32 stride;
};
struct MmaColumnsB {
    const bf16* data;
    i32 stride;
};

GK_DEVICE u32 mma_pack(f32 low, f32 high) {
#if defined(GRIFFIN_EMULATOR)
    return static_cast<u32>(to_bf16(low).bits) | static_cast<u32>(to_bf16(high).bits) << 16;
#else
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}

GK_DEVICE void mma_unpack(u32 pair, f32 (&v)[2]) {
    v[0] = __uint_as_float(pair << 16);
    v[1] = __uint_as_float(pair & 0xFFFF0000u);
}

// Rounds accumulators to bfloat16 and hands them on as an A operand with k = their columns. Needs no exchange between lanes.
template <i32 MT, i32 NT>
GK_DEVICE MmaFragmentA<MT, NT / 2> mma_pack_a(const MmaAccumulator<MT, NT>& c) {
    static_assert(NT % 2 == 0, "an A fragment is 16 columns wide");
    MmaFragmentA<MT, NT / 2> a;
#pragma unroll
    for (i32 mt = 0; mt < MT; ++mt)
#pragma unroll
        for (i32 kt = 0; kt < NT / 2; ++kt)
#pragma unroll
            for (i32 r = 0; r < 4; ++r) {
                const f32* pair = &c.v[mt][2 * kt + r / 2][2 * (r % 2)];
                a.v[mt][kt][r] = mma_pack(pair[0], pair[1]);
            }
    return a;
}

#if defined(GRIFFIN_EMULATOR)
#include "include/mma_emulated.cuh"
#else

GK_DEVICE void mma_load_matrices(u32 (&r)[4], const bf16* row) {
    const u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

GK_DEVICE void mma_load_matrices_transposed(u32 (&r)[4], const bf16* row) {
    const u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Volatile, so that no compiler moves it to where its sums are used, which some lanes may pass by: all 32 have to meet here.
GK_DEVICE void mma_m16n8k16(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Lane l gives ldmatrix the address of row l%8 of 8x8 matrix l/8. For A the four matrices are (rows 0-7, k 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
template <i32 KT>
GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaRowsA& a, i32 mt, i32 kt) {
    const i32 lane = lane_id();
    mma_load_matrices(r, a.data + (16 * mt + lane % 16) * a.stride + 16 * kt + lane / 16 * 8);
}

// The same four matrices, each stored with its rows and columns exchanged.
template <i32 KT>
GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaColumnsA& a, i32 mt, i32 kt) {
    const i32 lane = lane_id();
    mma_load_matrices_transposed(r, a.data + (16 * kt + lane / 16 * 8 + lane % 8) * a.stride + 16 * mt + lane / 8 % 2 * 8);
}

template <i32 KT, i32 MT>
GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaFragmentA<MT, KT>& a, i32 mt, i32 kt) {
#pragma unroll
    for (i32 i = 0; i < 4; ++i) r[i] = a.v[mt][kt][i];
}

// B fragments of two neighbouring n8 tiles: r[0], r[1] of the first, r[2], r[3] of the second. With one tile left (`single`) the second repeats the first.
GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaRowsB& b, i32 nt, i32 kt, bool single) {
    const i32 lane = lane_id();
    const i32 n = 8 * nt + lane % 8 + (single ? 0 : lane / 16 * 8);
    mma_load_matrices(r, b.data + n * b.stride + 16 * kt + lane / 8 % 2 * 8);
}

GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaColumnsB& b, i32 nt, i32 kt, bool single) {
    const i32 lane = lane_id();
    mma_load_matrices_transposed(r, b.data + (16 * kt + lane % 16) * b.stride + 8 * nt + (single ? 0 : lane / 16 * 8));
}

template <i32 NT, i32 KT>
GK_DEVICE void mma_fragment(u32 (&r)[4], const MmaFragmentB<NT, KT>& b, i32 nt, i32 kt, bool single) {
#pragma unroll
    for (i32 i = 0; i < 4; ++i) r[i] = b.v[single ? nt : nt + i / 2][kt][i % 2];
}

// Loads A once, to be used by several products. The tile must have landed and be visible to the warp.
template <i32 MT, i32 KT>
GK_DEVICE MmaFragmentA<MT, KT> mma_load_a(const MmaRowsA& a) {
    MmaFragmentA<MT, KT> fragment;
#pragma unroll
    for (i32 mt = 0; mt < MT; ++mt)
#pragma unroll
        for (i32 kt = 0; kt < KT; ++kt) mma_fragment<KT>(fragment.v[mt][kt], a, mt, kt);
    return fragment;
}

// c += A * B over K = 16*KT.
template <i32 KT, i32 MT, i32 NT, typename A, typename B>
GK_DEVICE void mma_tile(MmaAccumulator<MT, NT>& c, const A& a, const B& b) {
#pragma unroll
    for (i32 kt = 0; kt < KT; ++kt) {
        u32 fragment[MT][4];
#pragma unroll
        for (i32 mt = 0; mt < MT; ++mt) mma_fragment<KT>(fragment[mt], a, mt, kt);
#pragma unroll
        for (i32 nt = 0; nt < NT; nt += 2) {
            u32 pair[4];
            mma_fragment(pair, b, nt, kt, nt + 1 == NT);
#pragma unroll
            for (i32 mt = 0; mt < MT; ++mt) {
                mma_m16n8k16(c.v[mt][nt], fragment[mt], pair[0], pair[1]);
                if (nt + 1 < NT) mma_m16n8k16(c.v[mt][nt + 1], fragment[mt], pair[2], pair[3]);
            }
        }
    }
}
#endif
