#include "blas/gemm.h"

#include "blas/scratch.h"
#include "executor/worker_pool.h"

#include <algorithm>

namespace blas {
namespace {

// A block of A rows is packed once for up to ColumnsAtOnce columns; sums of a block stay in the second-level cache.
constexpr std::int64_t RowsPerBlock = 128;
constexpr std::int64_t ColumnsAtOnce = 384;
constexpr std::int64_t BytesPerPanelRow = 1024;   // of k: a panel of B stays in the first-level cache
// Less work than this is not worth waking the workers for.
constexpr std::int64_t ParallelMultiplyAdds = 1 << 18;

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }
std::int64_t blocks_of(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

template <typename Body>
void for_each(std::int64_t count, bool parallel, const Body& body) {
    if (parallel && count > 1)
        emu::parallel_for(count, [&](long long index) { body(index); });
    else
        for (std::int64_t i = 0; i < count; ++i) body(i);
}

const void* shifted(const void* data, Element type, std::int64_t elements) { return static_cast<const char*>(data) + elements * size_of(type); }

// No sum at all: C = beta * C.
void scale(const Product& p, const Kernels& kernels) {
    const Scratch<float> zeros(p.rows);
    std::fill_n(zeros.data(), p.rows, 0.0f);
    for (std::int64_t j = 0; j < p.columns; ++j)
        for (std::int64_t i = 0; i < p.rows; i += RowsPerBlock)
            kernels.store(p.c, i, static_cast<int>(std::min(RowsPerBlock, p.rows - i)), j, 1, zeros.data(), p.rows);
}

void stream(const Product& p, const Kernels& kernels, bool parallel) {
    const std::int64_t rows = parallel ? std::clamp<std::int64_t>(round_up(p.rows / 16, 4), 4, RowsPerBlock) : RowsPerBlock;
    for_each(blocks_of(p.rows, rows), parallel, [&](std::int64_t block) {
        float sum[MaxStreamed * RowsPerBlock];
        const std::int64_t first = block * rows;
        const int count = static_cast<int>(std::min(rows, p.rows - first));
        kernels.stream(sum, RowsPerBlock, p.a, first, count, p.b, static_cast<int>(p.columns), p.k);
        kernels.store(p.c, first, count, 0, static_cast<int>(p.columns), sum, RowsPerBlock);
    });
}

void blocked(const Product& p, const Kernels& kernels, bool parallel) {
    const int tile_rows = kernels.tile_rows, tile_columns = kernels.tile_columns;
    const std::int64_t k_block = BytesPerPanelRow / 4 * kernels.word_k;
    const std::int64_t k_blocks = blocks_of(p.k, k_block);
    const std::int64_t words = round_up(p.k, kernels.word_k) / kernels.word_k;
    const std::int64_t words_per_block = k_block / kernels.word_k;
    const std::int64_t panels = blocks_of(p.columns, tile_columns);

    // All of B, panel by panel, each panel's words in order of k.
    const Scratch<std::uint32_t> packed_b(panels * words * tile_columns);
    for_each(panels, parallel, [&](std::int64_t panel) {
        const std::int64_t first = panel * tile_columns;
        for (std::int64_t block = 0; block < k_blocks; ++block) {
            const std::int64_t k = block * k_block;
            kernels.pack(packed_b.data() + (panel * words + block * words_per_block) * tile_columns, tile_columns, p.b, first,
                         static_cast<int>(std::min<std::int64_t>(tile_columns, p.columns - first)), k, static_cast<int>(std::min(k_block, p.k - k)));
        }
    });

    const std::int64_t column_groups = blocks_of(p.columns, ColumnsAtOnce);
    const std::int64_t columns_per_group = round_up(blocks_of(p.columns, column_groups), tile_columns);
    const std::int64_t wanted = std::max<std::int64_t>(1, blocks_of(parallel ? 8 : 1, column_groups));
    const std::int64_t rows_per_block = std::clamp<std::int64_t>(round_up(blocks_of(p.rows, wanted), tile_rows), tile_rows, round_up(RowsPerBlock, tile_rows));
    const std::int64_t row_blocks = blocks_of(p.rows, rows_per_block);
    for_each(row_blocks * column_groups, parallel, [&](std::int64_t task) {
        const std::int64_t first_row = task % row_blocks * rows_per_block, first_column = task / row_blocks * columns_per_group;
        const std::int64_t rows = std::min(rows_per_block, p.rows - first_row), columns = std::min(columns_per_group, p.columns - first_column);
        if (columns <= 0) return;
        const std::int64_t stride = round_up(rows, tile_rows);
        const Scratch<float> sum(stride * round_up(columns, tile_columns));
        const Scratch<std::uint32_t> packed_a(stride * words_per_block);
        for (std::int64_t block = 0; block < k_blocks; ++block) {
            const std::int64_t k = block * k_block, count = std::min(k_block, p.k - k);
            const int block_words = static_cast<int>(round_up(count, kernels.word_k) / kernels.word_k);
            for (std::int64_t i = 0; i < rows; i += tile_rows)
                kernels.pack(packed_a.data() + i * block_words, tile_rows, p.a, first_row + i, static_cast<int>(std::min<std::int64_t>(tile_rows, rows - i)), k,
                             static_cast<int>(count));
            for (std::int64_t j = 0; j < columns; j += tile_columns) {
                const std::uint32_t* b = packed_b.data() + ((first_column + j) / tile_columns * words + block * words_per_block) * tile_columns;
                for (std::int64_t i = 0; i < rows; i += tile_rows)
                    kernels.multiply(sum.data() + j * stride + i, stride, packed_a.data() + i * block_words, b, block_words, block > 0);
            }
        }
        kernels.store(p.c, first_row, static_cast<int>(rows), first_column, static_cast<int>(columns), sum.data(), stride);
    });
}

void run(const Product& p, const Kernels& kernels, bool parallel) {
    if (p.rows == 0 || p.columns == 0) return;
    if (p.k == 0 || p.c.alpha == 0) return scale(p, kernels);
    if (p.columns <= MaxStreamed && p.a.k_stride == 1 && p.b.k_stride == 1) return stream(p, kernels, parallel);
    blocked(p, kernels, parallel);
}

bool worth_threads(const Product& p) { return p.rows * p.columns * p.k >= ParallelMultiplyAdds; }

}

const Kernels& choose_kernels(Element type) {
    static const bool dot = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    static const bool fused = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (wide && dot && type == Element::BFloat16) return avx512_bf16_kernels();
    if (wide) return avx512_kernels();
    return fused ? avx2_kernels() : portable_kernels();
}

void multiply(const Product& product, const Kernels& kernels) { run(product, kernels, worth_threads(product)); }

void multiply(const Product& product) { multiply(product, choose_kernels(product.a.type)); }

void multiply_batch(const Product& first, std::int64_t stride_a, std::int64_t stride_b, std::int64_t stride_c, std::int64_t count) {
    const Kernels& kernels = choose_kernels(first.a.type);
    const bool inside = worth_threads(first);   // a large product fills the workers by itself; small ones go to them one by one
    const bool outside = !inside && first.rows * first.columns * first.k * count >= ParallelMultiplyAdds;
    for_each(count, outside, [&](std::int64_t i) {
        Product entry = first;
        entry.a.data = shifted(first.a.data, first.a.type, i * stride_a);
        entry.b.data = shifted(first.b.data, first.b.type, i * stride_b);
        entry.c.data = const_cast<void*>(shifted(first.c.data, first.c.type, i * stride_c));
        run(entry, kernels, inside);
    });
}

}
