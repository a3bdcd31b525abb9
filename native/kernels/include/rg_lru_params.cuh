// The arguments of the RG-LRU's kernels, forward and backward, whichever way they scan.
#pragma once
#include "include/rows.cuh"

struct RgLruParams {
    const void* z;
    const void* gates;
    const void* y;
    const void* y_bias;
    const void* lambda;
    void* out;
    void* hidden;
    f32* workspace;
    u32* progress;          // by look-back alone
    PackedRows rows;
    SlotMemory state;
    i64 z_stride;
    i64 gates_stride;
    i64 y_stride;
    i64 out_stride;
    i64 hidden_stride;
    i32 width;
    i32 chunk;
};

struct RgLruBackwardParams {
    const void* z;
    const void* gates;
    const void* y;
    const void* y_bias;
    const void* lambda;
    const void* hidden;
    const void* dout;
    void* dz;
    void* dgates;
    void* dy;
    f32* dlambda_parts;
    f32* carries;
    u32* progress;          // by look-back alone
    PackedRows rows;
    i64 z_stride;
    i64 gates_stride;
    i64 y_stride;
    i64 hidden_stride;
    i64 dout_stride;
    i64 dz_stride;
    i64 dgates_stride;
    i64 dy_stride;
    i32 width;
    i32 chunk;
};
