// Warp-wide steps. Every lane of the warp calls them (blocks are multiples of 32 threads), each is one rendezvous on the
// emulator, and the order of a reduction is the same butterfly on both machines: equal bits, and the same in every lane.
#pragma once
#include "include/base.cuh"

constexpr u32 FULL_WARP = 0xFFFFFFFFu;

struct SumOf { template <typename T> static GK_DEVICE T apply(T a, T b) { return a + b; } };
struct MaxOf { template <typename T> static GK_DEVICE T apply(T a, T b) { return a < b ? b : a; } };

GK_DEVICE int lane_id() { return static_cast<int>(threadIdx.x & 31u); }
GK_DEVICE int warp_id() { return static_cast<int>(threadIdx.x >> 5); }

#if defined(GRIFFIN_EMULATOR)
template <typename T, int N>
struct WarpValues { T v[N]; };

template <typename Op, int WIDTH, typename T, int N>
void warp_reduce_step(void* const* lanes, unsigned) {
    T now[32], next[32];
    for (int n = 0; n < N; ++n) {
        for (int i = 0; i < 32; ++i) now[i] = static_cast<WarpValues<T, N>*>(lanes[i])->v[n];
        for (int distance = WIDTH / 2; distance > 0; distance /= 2) {
            for (int i = 0; i < 32; ++i) next[i] = Op::apply(now[i], now[i ^ distance]);
            for (int i = 0; i < 32; ++i) now[i] = next[i];
        }
        for (int i = 0; i < 32; ++i) static_cast<WarpValues<T, N>*>(lanes[i])->v[n] = now[i];
    }
}
#endif

// N reductions at once, each over groups of WIDTH neighbouring lanes; every lane of a group gets its group's results.
template <typename Op, int WIDTH = 32, typename T, int N>
GK_DEVICE void warp_reduce(T (&v)[N]) {
#if defined(GRIFFIN_EMULATOR)
    WarpValues<T, N> operand;
    for (int n = 0; n < N; ++n) operand.v[n] = v[n];
    emu::warp_rendezvous(FULL_WARP, &operand, &warp_reduce_step<Op, WIDTH, T, N>);
    for (int n = 0; n < N; ++n) v[n] = operand.v[n];
#else
    #pragma unroll
    for (int distance = WIDTH / 2; distance > 0; distance /= 2) {
        #pragma unroll
        for (int n = 0; n < N; ++n) v[n] = Op::apply(v[n], __shfl_xor_sync(FULL_WARP, v[n], distance));
    }
#endif
}

template <typename Op, int WIDTH = 32, typename T>
GK_DEVICE T warp_reduce(T v) {
    T values[1] = {v};
    warp_reduce<Op, WIDTH>(values);
    return values[0];
}

template <int WIDTH = 32, typename T, int N>
GK_DEVICE void warp_sum(T (&v)[N]) { warp_reduce<SumOf, WIDTH>(v); }
template <int WIDTH = 32, typename T>
GK_DEVICE T warp_sum(T v) { return warp_reduce<SumOf, WIDTH>(v); }
template <int WIDTH = 32, typename T, int N>
GK_DEVICE void warp_max(T (&v)[N]) { warp_reduce<MaxOf, WIDTH>(v); }
template <int WIDTH = 32, typename T>
GK_DEVICE T warp_max(T v) { return warp_reduce<MaxOf, WIDTH>(v); }

// Whether it holds in every lane.
GK_DEVICE bool warp_all(bool holds) { return __all_sync(FULL_WARP, holds) != 0; }
