// Baseline x86-64: SSE2, two vectors by four columns.
#include "blas/kernels.h"

#define BLAS_TARGET
#define BLAS_WIDTH 4
#define BLAS_COLUMNS 4

namespace blas {
namespace {
#include "blas/kernels_vector.h"
}

const Kernels& portable_kernels() {
    static const Kernels kernels{"portable", TileRows, TileColumns, 1, pack, multiply, stream, store};
    return kernels;
}

}
