// Packs row-major words into panels by 16x16 transpositions in registers. Functions only; each including file is compiled for AVX-512 by attributes.
#pragma once

#include <cstdint>
#include <immintrin.h>

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"   // g++ 12 says it of its own _mm512_undefined_epi32 inside these intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define BLAS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

namespace blas {
namespace {

BLAS_AVX512 inline void transpose16(__m512i (&r)[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// load(row, word, mask): words [word, word + 16) of a row, zero where the mask has no bit. Writes panel[word][tile] for all `words`.
template <typename Load>
BLAS_AVX512 inline void pack_transposed(std::uint32_t* panel, int tile, int rows, int words, Load load) {
    for (int group = 0; group < tile; group += 16) {
        const int lanes = tile - group < 16 ? tile - group : 16;
        const int present = rows - group < 0 ? 0 : rows - group < lanes ? rows - group : lanes;
        const auto stored = static_cast<__mmask16>((1u << lanes) - 1);
        for (int word = 0; word < words; word += 16) {
            const int left = words - word < 16 ? words - word : 16;
            const auto mask = static_cast<__mmask16>((1u << left) - 1);
            __m512i r[16];
            for (int i = 0; i < 16; ++i) r[i] = i < present ? load(group + i, word, mask) : _mm512_setzero_si512();
            transpose16(r);
            for (int i = 0; i < left; ++i) _mm512_mask_storeu_epi32(panel + static_cast<std::int64_t>(word + i) * tile + group, stored, r[i]);
        }
    }
}

// load(word, group, mask): the words of rows [group, group + 16) at one place along k, for operands whose rows are neighbours in memory; zero where the
// mask has no bit. Writes panel[word][tile] for all `words`.
template <typename Load>
BLAS_AVX512 inline void pack_adjacent(std::uint32_t* panel, int tile, int rows, int words, Load load) {
    for (int group = 0; group < tile; group += 16) {
        const int lanes = tile - group < 16 ? tile - group : 16;
        const int present = rows - group < 0 ? 0 : rows - group < lanes ? rows - group : lanes;
        const auto stored = static_cast<__mmask16>((1u << lanes) - 1);
        const auto mask = static_cast<__mmask16>((1u << present) - 1);
        for (int word = 0; word < words; ++word) _mm512_mask_storeu_epi32(panel + static_cast<std::int64_t>(word) * tile + group, stored, load(word, group, mask));
    }
}

}
}
