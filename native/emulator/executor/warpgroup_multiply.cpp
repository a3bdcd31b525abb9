#include "executor/warpgroup_multiply.h"

namespace emu {

namespace {

// Eight columns at a time; whoever inlines this says with which instructions.
inline __attribute__((always_inline)) void multiply(float (*sums)[256], const float (*a)[16], const float (*b)[256], unsigned columns) {
    typedef float Floats __attribute__((vector_size(32), aligned(4)));
    for (unsigned row = 0; row < 64; row += 4)
        for (unsigned column = 0; column < columns; column += 8) {
            Floats sum[4];
            for (unsigned i = 0; i < 4; ++i) sum[i] = *reinterpret_cast<const Floats*>(&sums[row + i][column]);
            for (unsigned k = 0; k < 16; ++k) {
                const Floats right = *reinterpret_cast<const Floats*>(&b[k][column]);
                for (unsigned i = 0; i < 4; ++i) sum[i] += a[row + i][k] * right;
            }
            for (unsigned i = 0; i < 4; ++i) *reinterpret_cast<Floats*>(&sums[row + i][column]) = sum[i];
        }
}

__attribute__((target("avx2"))) void multiply_avx2(float (*sums)[256], const float (*a)[16], const float (*b)[256], unsigned columns) {
    multiply(sums, a, b, columns);
}

void multiply_portable(float (*sums)[256], const float (*a)[16], const float (*b)[256], unsigned columns) { multiply(sums, a, b, columns); }

} // namespace

void multiply_warpgroup_tile(float (*sums)[256], const float (*a)[16], const float (*b)[256], unsigned columns) {
    static const auto chosen = __builtin_cpu_supports("avx2") ? multiply_avx2 : multiply_portable;
    chosen(sums, a, b, columns);
}

} // namespace emu
