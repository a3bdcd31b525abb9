// AVX-512 BF16: products of two bfloat16 operands by vdpbf16ps, which adds two products to each float32 lane. It takes denormals as zero.
#include "blas/kernels.h"
#include "blas/transpose_avx512.h"

#define BLAS_DOT __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))

namespace blas {
namespace {

constexpr int TileRows = 32;
constexpr int TileColumns = 12;

BLAS_DOT inline __m512 dot(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// Words of two neighbours along k.
BLAS_AVX512 void pack(std::uint32_t* panel, int tile, const Operand& source, std::int64_t first_row, int rows, std::int64_t first_k, int count) {
    const auto* from = static_cast<const std::uint16_t*>(source.data) + first_row * source.row_stride + first_k * source.k_stride;
    const int words = (count + 1) / 2;
    if (source.k_stride == 1) {
        pack_transposed(panel, tile, rows, words, [&](int row, int word, __mmask16) BLAS_AVX512 {
            const int left = count - 2 * word;
            const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
            return _mm512_maskz_loadu_epi16(mask, from + row * source.row_stride + 2 * word);
        });
        return;
    }
    if (source.row_stride == 1) {
        pack_adjacent(panel, tile, rows, words, [&](int word, int group, __mmask16 mask) BLAS_AVX512 {
            const std::uint16_t* p = from + 2 * word * source.k_stride + group;
            const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
            if (2 * word + 1 == count) return low;
            return _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p + source.k_stride)), 16));
        });
        return;
    }
    for (int word = 0; word < words; ++word)
        for (int r = 0; r < tile; ++r) {
            std::uint32_t pair = 0;
            if (r < rows) {
                const std::uint16_t* p = from + r * source.row_stride + 2 * word * source.k_stride;
                pair = p[0];
                if (2 * word + 1 < count) pair |= static_cast<std::uint32_t>(p[source.k_stride]) << 16;
            }
            panel[static_cast<std::int64_t>(word) * tile + r] = pair;
        }
}

BLAS_DOT void multiply(float* sum, std::int64_t stride, const std::uint32_t* a, const std::uint32_t* b, int words, bool accumulate) {
    __m512 c[TileColumns][2];
#pragma GCC unroll 12
    for (int j = 0; j < TileColumns; ++j)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) c[j][v] = accumulate ? _mm512_loadu_ps(sum + j * stride + 16 * v) : _mm512_setzero_ps();
    for (int k = 0; k < words; ++k, a += TileRows, b += TileColumns) {
        const __m512i low = _mm512_loadu_si512(a);
        const __m512i high = _mm512_loadu_si512(a + 16);
#pragma GCC unroll 12
        for (int j = 0; j < TileColumns; ++j) {
            const __m512i x = _mm512_set1_epi32(static_cast<int>(b[j]));
            c[j][0] = dot(c[j][0], low, x);
            c[j][1] = dot(c[j][1], high, x);
        }
    }
#pragma GCC unroll 12
    for (int j = 0; j < TileColumns; ++j)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) _mm512_storeu_ps(sum + j * stride + 16 * v, c[j][v]);
}

// Dot products of Rows rows of A with Columns rows of B: A is read once, at the speed of memory.
template <int Rows, int Columns>
BLAS_DOT void dot_rows(float* sum, std::int64_t stride, const std::uint16_t* a, std::int64_t a_stride, const std::uint16_t* b, std::int64_t b_stride,
                       std::int64_t count) {
    __m512 c[Rows][Columns];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) c[r][j] = _mm512_setzero_ps();
    for (std::int64_t k = 0; k < count; k += 32) {
        const std::int64_t left = count - k;
        const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
        __m512i weights[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) weights[r] = _mm512_maskz_loadu_epi16(mask, a + r * a_stride + k);
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) {
            const __m512i x = _mm512_maskz_loadu_epi16(mask, b + j * b_stride + k);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) c[r][j] = dot(c[r][j], weights[r], x);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) sum[j * stride + r] = _mm512_reduce_add_ps(c[r][j]);
}

// The dot product of a row of A with one of B, in four parts still to be added: two sums, so that one does not wait for the last.
BLAS_DOT inline __m128 dot_row(const std::uint16_t* a, const std::uint16_t* b, std::int64_t count) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    std::int64_t k = 0;
    for (; k + 64 <= count; k += 64) {
        even = dot(even, _mm512_loadu_si512(a + k), _mm512_loadu_si512(b + k));
        odd = dot(odd, _mm512_loadu_si512(a + k + 32), _mm512_loadu_si512(b + k + 32));
    }
    for (; k < count; k += 32) {
        const std::int64_t left = count - k;
        const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
        even = dot(even, _mm512_maskz_loadu_epi16(mask, a + k), _mm512_maskz_loadu_epi16(mask, b + k));
    }
    const __m512 sum = _mm512_add_ps(even, odd);
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Dot products of four rows of A, one after the other, with one of B.
BLAS_DOT void dot_four_rows(float* sum, const std::uint16_t* a, std::int64_t a_stride, const std::uint16_t* b, std::int64_t count) {
    __m128 row[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) row[r] = dot_row(a + r * a_stride, b, count);
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    _mm_storeu_ps(sum, _mm_add_ps(_mm_add_ps(row[0], row[1]), _mm_add_ps(row[2], row[3])));
}

template <int Columns>
BLAS_DOT void dot_all_rows(float* sum, std::int64_t stride, const Operand& a, std::int64_t first_row, int rows, const Operand& b, std::int64_t k) {
    constexpr int together = Columns <= 4 ? 4 : 3;
    const auto* weights = static_cast<const std::uint16_t*>(a.data) + first_row * a.row_stride;
    const auto* x = static_cast<const std::uint16_t*>(b.data);
    int r = 0;
    if (one_by_one(Columns, k * size_of(Element::BFloat16)))
        for (; r + 4 <= rows; r += 4)
            for (int j = 0; j < Columns; ++j) dot_four_rows(sum + r + j * stride, weights + r * a.row_stride, a.row_stride, x + j * b.row_stride, k);
    for (; r + together <= rows; r += together) dot_rows<together, Columns>(sum + r, stride, weights + r * a.row_stride, a.row_stride, x, b.row_stride, k);
    for (; r < rows; ++r) dot_rows<1, Columns>(sum + r, stride, weights + r * a.row_stride, a.row_stride, x, b.row_stride, k);
}

BLAS_DOT void stream(float* sum, std::int64_t stride, const Operand& a, std::int64_t first_row, int rows, const Operand& b, int columns, std::int64_t k) {
    switch (columns) {
        case 1: return dot_all_rows<1>(sum, stride, a, first_row, rows, b, k);
        case 2: return dot_all_rows<2>(sum, stride, a, first_row, rows, b, k);
        case 3: return dot_all_rows<3>(sum, stride, a, first_row, rows, b, k);
        case 4: return dot_all_rows<4>(sum, stride, a, first_row, rows, b, k);
        case 5: return dot_all_rows<5>(sum, stride, a, first_row, rows, b, k);
        case 6: return dot_all_rows<6>(sum, stride, a, first_row, rows, b, k);
        case 7: return dot_all_rows<7>(sum, stride, a, first_row, rows, b, k);
        default: return dot_all_rows<8>(sum, stride, a, first_row, rows, b, k);
    }
}
}

const Kernels& avx512_bf16_kernels() {
    static const Kernels kernels{"avx512-bf16", TileRows, TileColumns, 2, pack, multiply, stream, avx512_kernels().store};
    return kernels;
}

}
