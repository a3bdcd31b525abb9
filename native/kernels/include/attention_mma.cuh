// What the attention kernels on matrix instructions share: rows of shared tiles filled by asynchronous copies.
#pragma once
#include "include/async_copy.cuh"
#include "include/attention.cuh"
#include "include/mma.cuh"

// Starts the copy of rows of head_dim elements into shared memory; absent rows become zeros, and nothing of theirs is read.
template <int HEAD_DIM, int ROWS, int THREADS, typename Source>
GK_DEVICE void stage_rows_async(bf16* tile, const void* anywhere, const Source& source) {
    constexpr int PIECES = HEAD_DIM / 8;
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES;
        const int c = (i - row * PIECES) * 8;
        const bf16* from = source(row);
        async_copy_16(tile + row * mma_stride(HEAD_DIM) + c, from != nullptr ? from + c : anywhere, from != nullptr ? 16 : 0);
    }
    async_commit();
}
