// AVX-512: float32 products, and bfloat16 ones on processors without the dot-product instructions.
#include "blas/kernels.h"
#include "blas/transpose_avx512.h"

#define BLAS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define BLAS_WIDTH 16
#define BLAS_COLUMNS 12

namespace blas {
namespace {
#include "blas/kernels_vector.h"

BLAS_TARGET void pack_rows(std::uint32_t* panel, int tile, const Operand& source, std::int64_t first_row, int rows, std::int64_t first_k, int count) {
    if (source.k_stride != 1 && source.row_stride != 1) {
        pack(panel, tile, source, first_row, rows, first_k, count);
    } else if (source.k_stride != 1 && source.type == Element::Float32) {
        const auto* from = static_cast<const std::uint32_t*>(source.data) + first_row + first_k * source.k_stride;
        pack_adjacent(panel, tile, rows, count, [&](int k, int group, __mmask16 mask) BLAS_TARGET {
            return _mm512_maskz_loadu_epi32(mask, from + k * source.k_stride + group);
        });
    } else if (source.k_stride != 1) {
        const auto* from = static_cast<const std::uint16_t*>(source.data) + first_row + first_k * source.k_stride;
        pack_adjacent(panel, tile, rows, count, [&](int k, int group, __mmask16 mask) BLAS_TARGET {
            return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + k * source.k_stride + group)), 16);
        });
    } else if (source.type == Element::Float32) {
        const auto* from = static_cast<const std::uint32_t*>(source.data) + first_row * source.row_stride + first_k;
        pack_transposed(panel, tile, rows, count, [&](int row, int k, __mmask16 mask) BLAS_TARGET {
            return _mm512_maskz_loadu_epi32(mask, from + row * source.row_stride + k);
        });
    } else {
        const auto* from = static_cast<const std::uint16_t*>(source.data) + first_row * source.row_stride + first_k;
        pack_transposed(panel, tile, rows, count, [&](int row, int k, __mmask16 mask) BLAS_TARGET {
            return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + row * source.row_stride + k)), 16);
        });
    }
}
}

const Kernels& avx512_kernels() {
    static const Kernels kernels{"avx512", TileRows, TileColumns, 1, pack_rows, multiply, stream, store};
    return kernels;
}

}
