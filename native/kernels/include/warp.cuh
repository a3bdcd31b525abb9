// Warp-wide steps. Every lane of the warp calls them (blocks are multiples of 32 threads), each is one rendezvous on the
// emulator, and the order of a reduction is the same butterfly on both machines: equal bits, and the same in every lane.
#pragma once
#include "include/base.cuh"

constexpr u32 FULL_WARP = 0xFFFFFFFFu;

struct SumOf { template <typename T> static GK_DEVICE T apply(T a, T b) { return a + b; } };
struct MaxOf { template <typename T> static GK_DEVICE T apply(T a, T b) { return a < b ? b : a; } };
struct MinOf { template <typename T> static GK_DEVICE T apply(T a, T b) { return b < a ? b : a; } };

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

template <typename Op, typename T>
void warp_scan_step(void* const* lanes, unsigned) {
    T now[32], next[32];
    for (int i = 0; i < 32; ++i) now[i] = *static_cast<T*>(lanes[i]);
    for (int distance = 1; distance < 32; distance *= 2) {
        for (int i = 0; i < 32; ++i) next[i] = i >= distance ? Op::apply(now[i - distance], now[i]) : now[i];
        for (int i = 0; i < 32; ++i) now[i] = next[i];
    }
    for (int i = 0; i < 32; ++i) *static_cast<T*>(lanes[i]) = now[i];
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

// Inclusive scan over the lanes, in lane order.
template <typename Op, typename T>
GK_DEVICE T warp_scan(T v) {
#if defined(GRIFFIN_EMULATOR)
    emu::warp_rendezvous(FULL_WARP, &v, &warp_scan_step<Op, T>);
    return v;
#else
    #pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const T earlier = __shfl_up_sync(FULL_WARP, v, distance);
        if (lane_id() >= distance) v = Op::apply(earlier, v);
    }
    return v;
#endif
}

// The value that lane `source` holds. The source may differ from lane to lane.
template <typename T>
GK_DEVICE T warp_shuffle(T v, int source) { return __shfl_sync(FULL_WARP, v, source); }

// The value of one lane, in all of them.
template <typename T>
GK_DEVICE T warp_broadcast(T v, int source = 0) { return __shfl_sync(FULL_WARP, v, source); }

// The value of the lane whose number differs in the bits of `mask`.
template <typename T>
GK_DEVICE T warp_exchange(T v, int mask) { return __shfl_xor_sync(FULL_WARP, v, mask); }

// Bit i is lane i's predicate.
GK_DEVICE u32 warp_ballot(bool predicate) { return __ballot_sync(FULL_WARP, predicate); }
