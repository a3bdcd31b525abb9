// AVX2 and FMA.
#include "blas/kernels.h"

#define BLAS_TARGET __attribute__((target("avx2,fma")))
#define BLAS_WIDTH 8
#define BLAS_COLUMNS 6

namespace blas {
namespace {
#include "blas/kernels_vector.h"
}

const Kernels& avx2_kernels() {
    static const Kernels kernels{"avx2", TileRows, TileColumns, 1, pack, multiply, stream, store};
    return kernels;
}

}
