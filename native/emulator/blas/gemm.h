// C = alpha * A * B + beta * C on the CPU: blocked, packed, threaded; float32 accumulation, one rounding at the store.
#pragma once

#include "blas/kernels.h"

namespace blas {

/// C(i, j) over A's row i and B's row j, i < rows, j < columns, summed over k. A and B have the same element type.
struct Product {
    std::int64_t rows;
    std::int64_t columns;
    std::int64_t k;
    Operand a;
    Operand b;
    Destination c;
};

/// The widest kernels that this processor has for the element type.
const Kernels& choose_kernels(Element type);

/// Runs on the calling thread and the emulator's workers.
void multiply(const Product& product);
void multiply(const Product& product, const Kernels& kernels);

/// `count` products, entry i shifted by i strides (in elements).
void multiply_batch(const Product& first, std::int64_t stride_a, std::int64_t stride_b, std::int64_t stride_c, std::int64_t count);

}
