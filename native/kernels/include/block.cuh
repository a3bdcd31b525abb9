// Block-wide steps over BLOCK threads (1, or a multiple of 32 up to 1024; threads in x). Every thread calls them and gets the
// result. One rendezvous on the emulator; the order is fixed (butterfly in each warp, then warp by warp) and equal on both
// machines, so the bits are too. A block of one thread needs no step at all.
#pragma once
#include "include/warp.cuh"

#if defined(GRIFFIN_EMULATOR)
template <typename Op, typename T, int N>
void block_reduce_step(void* const* threads, int count) {
    T total[N] = {};
    for (int first = 0; first < count; first += 32) {
        warp_reduce_step<Op, 32, T, N>(threads + first, FULL_WARP);
        const T* part = static_cast<WarpValues<T, N>*>(threads[first])->v;
        for (int n = 0; n < N; ++n) total[n] = first == 0 ? part[n] : Op::apply(total[n], part[n]);
    }
    for (int i = 0; i < count; ++i)
        for (int n = 0; n < N; ++n) static_cast<WarpValues<T, N>*>(threads[i])->v[n] = total[n];
}
#endif

// N reductions in one step.
template <int BLOCK, typename Op, typename T, int N>
GK_DEVICE void block_reduce(T (&v)[N]) {
    static_assert(BLOCK == 1 || (BLOCK % 32 == 0 && BLOCK <= 1024), "a block step needs whole warps");
    if constexpr (BLOCK == 32) {
        warp_reduce<Op>(v);
    } else if constexpr (BLOCK > 32) {
#if defined(GRIFFIN_EMULATOR)
        WarpValues<T, N> operand;
        for (int n = 0; n < N; ++n) operand.v[n] = v[n];
        emu::block_rendezvous(&operand, &block_reduce_step<Op, T, N>);
        for (int n = 0; n < N; ++n) v[n] = operand.v[n];
#else
        __shared__ T parts[BLOCK / 32][N];
        warp_reduce<Op>(v);
        if (lane_id() == 0) {
            #pragma unroll
            for (int n = 0; n < N; ++n) parts[warp_id()][n] = v[n];
        }
        __syncthreads();
        #pragma unroll
        for (int n = 0; n < N; ++n) {
            v[n] = parts[0][n];
            for (int w = 1; w < BLOCK / 32; ++w) v[n] = Op::apply(v[n], parts[w][n]);
        }
        __syncthreads();   // the next step may reuse `parts`
#endif
    }
}

template <int BLOCK, typename Op, typename T>
GK_DEVICE T block_reduce(T v) {
    T values[1] = {v};
    block_reduce<BLOCK, Op>(values);
    return values[0];
}

template <int BLOCK, typename T>
GK_DEVICE T block_sum(T v) { return block_reduce<BLOCK, SumOf>(v); }
template <int BLOCK, typename T>
GK_DEVICE T block_max(T v) { return block_reduce<BLOCK, MaxOf>(v); }
