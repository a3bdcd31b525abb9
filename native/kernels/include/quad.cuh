// Steps of quads: the four neighbouring lanes that share a row of an MmaAccumulator. Every lane of the warp calls them, as in warp.cuh.
#pragma once
#include "include/warp.cuh"

#if defined(GRIFFIN_EMULATOR)
template <int N>
void quad_transpose_step(void* const* lanes, unsigned) {
    for (int n = 0; n < N; ++n) {
        for (int first = 0; first < 32; first += 4) {
            u32 words[4][4];
            for (int lane = 0; lane < 4; ++lane)
                for (int i = 0; i < 4; ++i) words[lane][i] = (*static_cast<u32(*)[N][4]>(lanes[first + lane]))[n][i];
            for (int lane = 0; lane < 4; ++lane)
                for (int i = 0; i < 4; ++i) (*static_cast<u32(*)[N][4]>(lanes[first + lane]))[n][i] = words[i][lane];
        }
    }
}
#endif

// N transpositions at once: afterwards v[n][i] of lane q in its quad is what lane i had in v[n][q]. Four pieces of a row that lie in the lanes column by
// column become one piece of neighbouring columns a lane.
template <int N>
GK_DEVICE void quad_transpose(u32 (&v)[N][4]) {
#if defined(GRIFFIN_EMULATOR)
    emu::warp_rendezvous(FULL_WARP, &v, &quad_transpose_step<N>);
#else
    const bool upper = (lane_id() & 2) != 0, odd = (lane_id() & 1) != 0;
    #pragma unroll
    for (int n = 0; n < N; ++n) {
        u32(&w)[4] = v[n];
        const u32 a = __shfl_xor_sync(FULL_WARP, upper ? w[0] : w[2], 2), b = __shfl_xor_sync(FULL_WARP, upper ? w[1] : w[3], 2);
        (upper ? w[0] : w[2]) = a;
        (upper ? w[1] : w[3]) = b;
        const u32 c = __shfl_xor_sync(FULL_WARP, odd ? w[0] : w[1], 1), d = __shfl_xor_sync(FULL_WARP, odd ? w[2] : w[3], 1);
        (odd ? w[0] : w[1]) = c;
        (odd ? w[2] : w[3]) = d;
    }
#endif
}
