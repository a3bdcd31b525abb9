// Rows of an embedding table: VEC columns of a token's row, scaled. A negative token has zeros, one past the table NaN, so that it cannot pass unseen.
#pragma once
#include "include/vec.cuh"

template <typename T, int VEC>
GK_DEVICE void embedded(const T* table, i64 table_stride, i32 vocabulary, i32 token, i32 c, f32 scale, f32 (&v)[VEC]) {
    if (token >= 0 && token < vocabulary) {
        load_floats<VEC>(table + token * table_stride + c, v);
        #pragma unroll
        for (int i = 0; i < VEC; ++i) v[i] *= scale;
        return;
    }
    #pragma unroll
    for (int i = 0; i < VEC; ++i) v[i] = token < 0 ? 0.0f : __int_as_float(0x7FC00000);
}
