// The emulator's twin of mma.cuh: one rendezvous of the warp computes the whole tile. Included by mma.cuh only.
//
// The step gathers the 32 lanes' accumulators into a row-major C, widens slabs of A and B to float32 and multiplies them with vector arithmetic,
// then hands the accumulators back. It reports the shared-memory reads that ldmatrix would make: lane i%32 reads 16-byte row i of the operand.
// Unproved: mma.cuh's PTX form has not run on a GPU so far, so nothing has yet compared this twin with the instructions.
#pragma once

#define GK_MMA_STEP __attribute__((no_sanitize("thread"))) inline
#if defined(__clang__)
#define GK_MMA_CONTRACT
#else
#define GK_MMA_CONTRACT __attribute__((optimize("fp-contract=fast")))
#endif

// Steps of k held widened at a time.
constexpr i32 mma_slab = 32;

template <i32 Width>
struct MmaVector;
template <>
struct MmaVector<8> {
    typedef f32 Floats __attribute__((vector_size(32)));
};
template <>
struct MmaVector<16> {
    typedef f32 Floats __attribute__((vector_size(64)));
};

GK_MMA_STEP f32 mma_widen(u32 bits_in_high_half) {
    f32 value;
    __builtin_memcpy(&value, &bits_in_high_half, sizeof value);
    return value;
}

GK_MMA_STEP void mma_note_rows([[maybe_unused]] const bf16* data, [[maybe_unused]] i32 stride, [[maybe_unused]] i32 rows, [[maybe_unused]] i32 columns) {
#if defined(GRIFFIN_CHECKED)
    for (i32 c = 0; c < columns; c += 8)
        for (i32 r = 0; r < rows; ++r) emu::note_access(r % 32, data + r * stride + c, 16, false);
#endif
}

// Where an operand comes from. widen_a fills a[m][k - k0] and widen_b fills b[k - k0][n] for k in [k0, k0 + count).
template <i32 M>
GK_MMA_STEP void mma_widen_a(f32 (*a)[mma_slab], const MmaRowsA* const* lanes, i32 k0, i32 count) {
    const MmaRowsA& source = *lanes[0];
    for (i32 m = 0; m < M; ++m)
        for (i32 k = 0; k < count; ++k) a[m][k] = mma_widen(static_cast<u32>(source.data[m * source.stride + k0 + k].bits) << 16);
}

template <i32 M>
GK_MMA_STEP void mma_widen_a(f32 (*a)[mma_slab], const MmaColumnsA* const* lanes, i32 k0, i32 count) {
    const MmaColumnsA& source = *lanes[0];
    for (i32 k = 0; k < count; ++k)
        for (i32 m = 0; m < M; ++m) a[m][k] = mma_widen(static_cast<u32>(source.data[(k0 + k) * source.stride + m].bits) << 16);
}

template <i32 M, i32 MT, i32 KT>
GK_MMA_STEP void mma_widen_a(f32 (*a)[mma_slab], const MmaFragmentA<MT, KT>* const* lanes, i32 k0, i32 count) {
    static_assert(M == 16 * MT, "fragment and accumulator disagree on the rows");
    for (i32 lane = 0; lane < 32; ++lane)
        for (i32 mt = 0; mt < MT; ++mt)
            for (i32 kt = 0; kt < count / 16; ++kt)
                for (i32 r = 0; r < 4; ++r) {
                    const u32 pair = lanes[lane]->v[mt][k0 / 16 + kt][r];
                    f32* to = &a[16 * mt + lane / 4 + 8 * (r % 2)][16 * kt + 2 * (lane % 4) + 8 * (r / 2)];
                    to[0] = mma_widen(pair << 16);
                    to[1] = mma_widen(pair & 0xffff0000u);
                }
}

template <i32 N>
GK_MMA_STEP void mma_widen_b(f32 (*b)[N], const MmaColumnsB* const* lanes, i32 k0, i32 count) {
    const MmaColumnsB& source = *lanes[0];
    for (i32 k = 0; k < count; ++k)
        for (i32 n = 0; n < N; ++n) b[k][n] = mma_widen(static_cast<u32>(source.data[(k0 + k) * source.stride + n].bits) << 16);
}

template <i32 N>
GK_MMA_STEP void mma_widen_b(f32 (*b)[N], const MmaRowsB* const* lanes, i32 k0, i32 count) {
    const MmaRowsB& source = *lanes[0];
    for (i32 n = 0; n < N; ++n)
        for (i32 k = 0; k < count; ++k) b[k][n] = mma_widen(static_cast<u32>(source.data[n * source.stride + k0 + k].bits) << 16);
}

template <i32 N, i32 NT, i32 KT>
GK_MMA_STEP void mma_widen_b(f32 (*b)[N], const MmaFragmentB<NT, KT>* const* lanes, i32 k0, i32 count) {
    static_assert(N == 8 * NT, "fragment and accumulator disagree on the columns");
    for (i32 lane = 0; lane < 32; ++lane)
        for (i32 nt = 0; nt < NT; ++nt)
            for (i32 kt = 0; kt < count / 16; ++kt)
                for (i32 r = 0; r < 2; ++r) {
                    const u32 pair = lanes[lane]->v[nt][k0 / 16 + kt][r];
                    const i32 n = 8 * nt + lane / 4, k = 16 * kt + 2 * (lane % 4) + 8 * r;
                    b[k][n] = mma_widen(pair << 16);
                    b[k + 1][n] = mma_widen(pair & 0xffff0000u);
                }
}

GK_MMA_STEP void mma_note_b(const MmaRowsB& b, i32 n, i32 k) { mma_note_rows(b.data, b.stride, n, k); }
GK_MMA_STEP void mma_note_b(const MmaColumnsB& b, i32 n, i32 k) { mma_note_rows(b.data, b.stride, k, n); }
template <i32 NT, i32 KT>
GK_MMA_STEP void mma_note_b(const MmaFragmentB<NT, KT>&, i32, i32) {}
GK_MMA_STEP void mma_note_a(const MmaRowsA& a, i32 m, i32 k) { mma_note_rows(a.data, a.stride, m, k); }
GK_MMA_STEP void mma_note_a(const MmaColumnsA& a, i32 m, i32 k) { mma_note_rows(a.data, a.stride, k, m); }
template <i32 MT, i32 KT>
GK_MMA_STEP void mma_note_a(const MmaFragmentA<MT, KT>&, i32, i32) {}

// A shared operand is one for the whole warp.
GK_MMA_STEP bool mma_same(const MmaRowsA& x, const MmaRowsA& y) { return x.data == y.data && x.stride == y.stride; }
GK_MMA_STEP bool mma_same(const MmaColumnsA& x, const MmaColumnsA& y) { return x.data == y.data && x.stride == y.stride; }
GK_MMA_STEP bool mma_same(const MmaRowsB& x, const MmaRowsB& y) { return x.data == y.data && x.stride == y.stride; }
GK_MMA_STEP bool mma_same(const MmaColumnsB& x, const MmaColumnsB& y) { return x.data == y.data && x.stride == y.stride; }
template <i32 MT, i32 KT>
GK_MMA_STEP bool mma_same(const MmaFragmentA<MT, KT>&, const MmaFragmentA<MT, KT>&) { return true; }
template <i32 NT, i32 KT>
GK_MMA_STEP bool mma_same(const MmaFragmentB<NT, KT>&, const MmaFragmentB<NT, KT>&) { return true; }

// c[m][n] += sum over count of a[m][k] * b[k][n], ascending in k. Contraction is safe here, and twice as fast: the products are exact anyway.
template <i32 M, i32 N>
GK_MMA_CONTRACT GK_MMA_STEP void mma_multiply(f32 (*c)[N], const f32 (*a)[mma_slab], const f32 (*b)[N], i32 count) {
#if defined(__clang__)
#pragma clang fp contract(fast)
#endif
    constexpr i32 width = N % 16 == 0 ? 16 : 8;
    constexpr i32 vectors = N / width % 2 == 0 ? 2 : 1;
    using Floats = typename MmaVector<width>::Floats;
    for (i32 n = 0; n < N; n += width * vectors)
        for (i32 m = 0; m < M; m += 8) {
            Floats sum[8][vectors];
#pragma GCC unroll 8
            for (i32 i = 0; i < 8; ++i)
#pragma GCC unroll 2
                for (i32 j = 0; j < vectors; ++j) sum[i][j] = *reinterpret_cast<const Floats*>(&c[m + i][n + j * width]);
            for (i32 k = 0; k < count; ++k)
#pragma GCC unroll 8
                for (i32 i = 0; i < 8; ++i)
#pragma GCC unroll 2
                    for (i32 j = 0; j < vectors; ++j) sum[i][j] += a[m + i][k] * *reinterpret_cast<const Floats*>(&b[k][n + j * width]);
#pragma GCC unroll 8
            for (i32 i = 0; i < 8; ++i)
#pragma GCC unroll 2
                for (i32 j = 0; j < vectors; ++j) *reinterpret_cast<Floats*>(&c[m + i][n + j * width]) = sum[i][j];
        }
}

template <i32 KT, i32 MT, i32 NT, typename A, typename B>
struct MmaTileStep {
    MmaAccumulator<MT, NT>* c;
    const A* a;
    const B* b;

    GK_MMA_STEP static void run(void* const* lanes, unsigned) {
        constexpr i32 M = 16 * MT, N = 8 * NT, K = 16 * KT;
        alignas(64) f32 c[M][N];
        alignas(64) f32 a[M][mma_slab];
        alignas(64) f32 b[mma_slab][N];
        const A* fragments[32];
        const B* columns[32];
        for (i32 lane = 0; lane < 32; ++lane) {
            const MmaTileStep& step = *static_cast<MmaTileStep*>(lanes[lane]);
            fragments[lane] = step.a;
            columns[lane] = step.b;
#if defined(GRIFFIN_CHECKED)
            if (!mma_same(*step.a, *fragments[0]) || !mma_same(*step.b, *columns[0])) __trap();
#endif
            for (i32 mt = 0; mt < MT; ++mt)
                for (i32 nt = 0; nt < NT; ++nt)
                    for (i32 e = 0; e < 4; e += 2)
                        __builtin_memcpy(&c[16 * mt + lane / 4 + 4 * e][8 * nt + 2 * (lane % 4)], &step.c->v[mt][nt][e], 8);
        }
        mma_note_a(*fragments[0], M, K);
        mma_note_b(*columns[0], N, K);
        for (i32 k = 0; k < K; k += mma_slab) {
            const i32 count = K - k < mma_slab ? K - k : mma_slab;
            mma_widen_a<M>(a, fragments, k, count);
            mma_widen_b<N>(b, columns, k, count);
            mma_multiply<M, N>(c, a, b, count);
        }
        for (i32 lane = 0; lane < 32; ++lane)
            for (i32 mt = 0; mt < MT; ++mt)
                for (i32 nt = 0; nt < NT; ++nt)
                    for (i32 e = 0; e < 4; e += 2)
                        __builtin_memcpy(&static_cast<MmaTileStep*>(lanes[lane])->c->v[mt][nt][e],
                                         &c[16 * mt + lane / 4 + 4 * e][8 * nt + 2 * (lane % 4)], 8);
        emu::count_matrix_ops(static_cast<unsigned long long>(M) * N * K);
    }
};

// Each lane reads its own elements: four lanes cover the 16 bytes of a row, as ldmatrix does.
template <i32 MT, i32 KT>
GK_DEVICE MmaFragmentA<MT, KT> mma_load_a(const MmaRowsA& a) {
    MmaFragmentA<MT, KT> fragment;
    for (i32 mt = 0; mt < MT; ++mt)
        for (i32 kt = 0; kt < KT; ++kt)
            for (i32 r = 0; r < 4; ++r) {
                const i32 row = 16 * mt + lane_id() / 4 + 8 * (r % 2);
                const i32 column = 16 * kt + 2 * (lane_id() % 4) + 8 * (r / 2);
                fragment.v[mt][kt][r] = *reinterpret_cast<const u32*>(a.data + row * a.stride + column);
            }
    return fragment;
}

template <i32 KT, i32 MT, i32 NT, typename A, typename B>
GK_DEVICE void mma_tile(MmaAccumulator<MT, NT>& c, const A& a, const B& b) {
    MmaTileStep<KT, MT, NT, A, B> step{&c, &a, &b};
    emu::warp_rendezvous(0xffffffffu, &step, MmaTileStep<KT, MT, NT, A, B>::run);
}
