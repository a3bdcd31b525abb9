// The innermost pieces of a matrix product, one set per instruction set. gemm.cpp blocks and threads around them.
#pragma once

#include <cstdint>

namespace blas {

enum class Element { BFloat16, Float32 };

constexpr int size_of(Element type) { return type == Element::BFloat16 ? 2 : 4; }

/// One side of a product. Element (row, k) lies at data + row * row_stride + k * k_stride elements; "row" is the index that survives in C.
struct Operand {
    const void* data;
    Element type;
    std::int64_t row_stride;
    std::int64_t k_stride;
};

/// C, column-major: element (i, j) at data + j * column_stride + i. Stored as round(alpha * sum + beta * C); beta 0 does not read C.
struct Destination {
    void* data;
    Element type;
    std::int64_t column_stride;
    float alpha;
    float beta;
};

/// The most columns that `stream` takes.
constexpr int MaxStreamed = 8;

/// Whether `stream` takes rows of A one after the other instead of a few side by side. Memory delivers one long run of addresses much faster than four
/// in turns, but the rows of B are then read once per row of A, so that they must be few and stay in the first-level cache.
constexpr bool one_by_one(int columns, std::int64_t row_bytes) { return columns <= 2 && columns * row_bytes <= 16384; }

struct Kernels {
    const char* name;
    int tile_rows;       // rows of a packed panel of A
    int tile_columns;    // rows of a packed panel of B
    int word_k;          // k's in one packed 32-bit word: 1 (a float) or 2 (two bfloat16)

    /// Packs `rows` <= tile rows from `first_row` on, k in [first_k, first_k + count), as words [k / word_k][tile]; missing rows and k's are zero.
    void (*pack)(std::uint32_t* panel, int tile, const Operand& source, std::int64_t first_row, int rows, std::int64_t first_k, int count);
    /// sum[j * stride + i] (+)= over `words` packed words of a[.][i] * b[.][j], for a whole tile.
    void (*multiply)(float* sum, std::int64_t stride, const std::uint32_t* a, const std::uint32_t* b, int words, bool accumulate);
    /// Without packing, for few columns and k contiguous on both sides: sum[j * stride + i] = A(first_row + i, .) . B(j, .), i < rows, j < columns.
    void (*stream)(float* sum, std::int64_t stride, const Operand& a, std::int64_t first_row, int rows, const Operand& b, int columns, std::int64_t k);
    /// Rows [first_row, +rows) and columns [first_column, +columns) of C from their sums.
    void (*store)(const Destination& c, std::int64_t first_row, int rows, std::int64_t first_column, int columns, const float* sum, std::int64_t stride);
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
/// For two bfloat16 operands only.
const Kernels& avx512_bf16_kernels();

}
