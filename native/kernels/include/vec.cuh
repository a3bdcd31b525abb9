// Vector accesses: N elements moved by one load or store of N·sizeof(T) bytes (2, 4, 8 or 16) on both machines.
// The address must be a multiple of that size: variants that use N > 1 ask for it on the host.
#pragma once
#include "include/bf16.cuh"

// The machine's own word of so many bytes; what makes an access a single one.
template <int BYTES>
struct Word;
#if defined(GRIFFIN_EMULATOR)
template <> struct Word<2> { typedef u16 type __attribute__((may_alias)); };
template <> struct Word<4> { typedef u32 type __attribute__((may_alias)); };
template <> struct Word<8> { typedef u64 type __attribute__((may_alias)); };
template <> struct Word<16> { typedef u32 type __attribute__((vector_size(16), may_alias)); };
#else
template <> struct Word<2> { using type = u16; };
template <> struct Word<4> { using type = u32; };
template <> struct Word<8> { using type = uint2; };
template <> struct Word<16> { using type = uint4; };
#endif

template <typename T, int N>
struct alignas(sizeof(T) * N) Vec {
    T v[N];
    GK_DEVICE T& operator[](int i) { return v[i]; }
    GK_DEVICE const T& operator[](int i) const { return v[i]; }
};

// Elements of T in one 16-byte access: 8 of bf16, 4 of f32.
template <typename T>
constexpr int VEC16 = 16 / static_cast<int>(sizeof(T));

template <int N, typename T>
GK_DEVICE Vec<T, N> load_vec(const T* p) {
    using W = typename Word<static_cast<int>(sizeof(T)) * N>::type;
    union { W word; Vec<T, N> vec; } u;
    u.word = *reinterpret_cast<const W*>(p);
    return u.vec;
}

// 16 bytes that are read once and that nobody writes while the kernel runs: a weight on its way past the caches. Not moved by the compiler
// past a barrier, so that a load issued early is under way while the block waits: that is why it is no ld.global.nc, which ptxas does move (past
// the wait of a dependent launch too). Unproved: the PTX form has not run on a GPU so far.
template <typename T>
GK_DEVICE Vec<T, VEC16<T>> load_streamed(const T* p) {
#if defined(GRIFFIN_EMULATOR)
    return load_vec<VEC16<T>>(p);
#else
    union { uint4 word; Vec<T, VEC16<T>> vec; } u;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(u.word.x), "=r"(u.word.y), "=r"(u.word.z), "=r"(u.word.w) : "l"(__cvta_generic_to_global(p)));
    return u.vec;
#endif
}

template <int N, typename T>
GK_DEVICE void store_vec(T* p, const Vec<T, N>& x) {
    using W = typename Word<static_cast<int>(sizeof(T)) * N>::type;
    union { W word; Vec<T, N> vec; } u;
    u.vec = x;
    *reinterpret_cast<W*>(p) = u.word;
}

// Elements that one access of at most 16 bytes can move, of N: more (f32 beside bf16) go in several accesses.
template <typename T, int N>
constexpr int PIECE = N < VEC16<T> ? N : VEC16<T>;

// Widens to f32, from out[first] on.
template <int M, int N, typename T>
GK_DEVICE void widen(const Vec<T, M>& x, int first, f32 (&out)[N]) {
    #pragma unroll
    for (int i = 0; i < M; ++i) out[first + i] = to_float(x.v[i]);
}

#if !defined(GRIFFIN_EMULATOR)
// A pair of bf16 is one word, and each half an instruction away from f32; taken apart as 16-bit numbers, the upper one costs two.
template <int M, int N>
GK_DEVICE void widen(const Vec<bf16, M>& x, int first, f32 (&out)[N]) {
    if constexpr (M % 2 == 0) {
        union { Vec<bf16, M> vec; u32 pairs[M / 2]; } u;
        u.vec = x;
        #pragma unroll
        for (int i = 0; i < M / 2; ++i) {
            out[first + 2 * i] = __uint_as_float(u.pairs[i] << 16);
            out[first + 2 * i + 1] = __uint_as_float(u.pairs[i] & 0xFFFF0000u);
        }
    } else {
        #pragma unroll
        for (int i = 0; i < M; ++i) out[first + i] = to_float(x.v[i]);
    }
}
#endif

// Vector loads, widened to f32.
template <int N, typename T>
GK_DEVICE void load_floats(const T* p, f32 (&out)[N]) {
    constexpr int M = PIECE<T, N>;
    #pragma unroll
    for (int first = 0; first < N; first += M) widen(load_vec<M>(p + first), first, out);
}

// One rounding per element, vector stores.
template <int N, typename T>
GK_DEVICE void store_floats(T* p, const f32 (&x)[N]) {
    constexpr int M = PIECE<T, N>;
    #pragma unroll
    for (int first = 0; first < N; first += M) {
        Vec<T, M> y;
        #pragma unroll
        for (int i = 0; i < M; ++i) y.v[i] = from_float<T>(x[first + i]);
        store_vec<M>(p + first, y);
    }
}

// N equal values: what padding rows get.
template <int N, typename T>
GK_DEVICE void store_fill(T* p, f32 value) {
    f32 x[N];
    #pragma unroll
    for (int i = 0; i < N; ++i) x[i] = value;
    store_floats<N>(p, x);
}
